"""Folding and deciding: once per run, epochs that grow, one champion, chains of causes."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts import schemas
from millrace.contracts.events import AlertRaised, DeploymentDecided, Event, ModelVersionChanged, RunProgress
from services.registry.core import State, decide, evolve, refusal, unchecked
from tests.registry.life import NOW_MS, PLAIN, Life, folded, told
from tests.registry.runs import make_run

PROGRESS = RunProgress(stage="fitting", step=1, steps=2, message="tree 1 of 2", values={})


def settled(state: State, now_ms: int = NOW_MS) -> tuple[State, list[Event]]:
    """Decide about all that waits, as the shell does: the state after it, and the log of it."""
    life = Life(state=state)
    life.now_ms = now_ms
    log = life.tell()
    return life.state, log


def grown(*runs: Event) -> tuple[State, list[Event]]:
    """The state and what was written after these runs, decided one after the other."""
    life, log = Life(), []
    for run in runs:
        log += life.tell(run)
    return life.state, log


def test_a_first_model_is_registered_promoted_deployed_and_audited():
    """One decision is one tuple of events, in the order of cause and effect."""
    _, log = grown(make_run())

    assert [
        "REGISTERED 1 development", "PROMOTED 1 test", "PROMOTED 1 production", "DEPLOYED 1", "deploy ACCEPTED"
    ] == told(log)  # fmt: skip


def test_all_of_a_first_model_is_one_decision():
    """With no approvals and no rollout asked for, everything is written in one transaction."""
    life = Life()
    life.train(2)

    assert [5, 6] == [len(decision) for decision in life.decisions]


def test_a_later_model_retires_the_champion():
    """The old champion's end belongs to the same decision, and names who replaced it."""
    state, log = grown(make_run(), make_run("run-2", against=1))
    retired = [event for event in log if isinstance(event, ModelVersionChanged) and event.status == "RETIRED"]

    assert [(1, "run-1", ("replaced by version 2",), "version/tiny/2/PROMOTED")] == [
        (event.version, event.run_id, event.reasons, event.caused_by) for event in retired
    ]
    assert {1: "RETIRED", 2: "PROMOTED"} == {number: version.status for number, version in state.versions.items()}


def test_a_first_model_of_other_features_replaces_the_champion():
    """Features were changed: the run was compared with nothing, because the champion needs what nobody computes."""
    state, log = grown(make_run(), make_run("run-2", feature_set="77aa"))

    assert {1: "RETIRED", 2: "PROMOTED"} == {number: version.status for number, version in state.versions.items()}
    assert "version 1 needs feature set 3f9a and cannot be compared" in log[-1].reason


def test_ids_and_causes_are_those_of_the_contract():
    """Ids follow the schemas' examples; every event names its cause, back to the run."""
    examples = {
        name: json.loads(schemas.examples(name)[f"ok-{example}.json"])
        for name, example in [
            ("model-version-changed", "registered"), ("deployment-decided", "first"), ("audit-recorded", "deploy")
        ]
    }  # fmt: skip
    registered, tested, promoted, deployed, audited = grown(make_run())[1]

    assert [
        examples["model-version-changed"]["change_id"].replace("electricity", "tiny"),
        "version/tiny/1/PROMOTED/test",
        "version/tiny/1/PROMOTED",
        examples["deployment-decided"]["deployment_id"].replace("electricity", "tiny"),
        examples["audit-recorded"]["audit_id"].replace("electricity", "tiny"),
    ] == [registered.change_id, tested.change_id, promoted.change_id, deployed.deployment_id, audited.audit_id]
    assert ["run-1", registered.change_id, registered.change_id, promoted.change_id, deployed.deployment_id] == [
        event.caused_by for event in (registered, tested, promoted, deployed, audited)
    ]


def test_a_rejection_leaves_everything_as_it_was():
    """A rejected run gets no version number and no deployment, only its reasons."""
    before, _ = grown(make_run())
    after, log = settled(evolve(before, make_run("run-2", against=1, metrics={"accuracy": 0.7})))

    assert [("version/tiny/run-2/REJECTED", None, "run-2")] == [
        (event.change_id, event.version, event.caused_by) for event in log
    ]
    assert (before.versions, before.deployment) == (after.versions, after.deployment)


@pytest.mark.parametrize(
    ("changes", "fault", "words"),
    [
        ({}, "artefact ab is damaged", "artefact ab is damaged"),
        ({"artifact_sha256": None}, None, "the run names no artefact"),
    ],
)
def test_without_a_whole_artefact_nothing_is_admitted(changes, fault, words):
    """Good metrics do not help a model whose file is not there; an operator is told."""
    run = make_run(**changes)

    rejected, alert = decide(folded(run), PLAIN, NOW_MS, {"run-1": fault})

    assert ("REJECTED", (words,)) == (rejected.status, rejected.reasons)
    assert isinstance(alert, AlertRaised)
    assert "alert/artifact-refused/run-1" == alert.alert_id


def test_a_run_that_is_decided_is_not_decided_again():
    """A redelivered run asks nothing any more."""
    state, _ = grown(make_run())

    state = evolve(state, make_run())

    assert {} == state.pending
    assert () == decide(state, PLAIN, NOW_MS, {"run-1": None})


def test_a_run_waits_until_its_files_were_looked_at_and_so_do_those_after_it():
    """Oldest first, however quick the store is about the others."""
    state = folded(make_run(), make_run("run-2"))

    assert "run-1" == unchecked(state, {}).run_id
    assert () == decide(state, PLAIN, NOW_MS, {"run-2": None})
    assert "run-2" == unchecked(state, {"run-1": None}).run_id


@pytest.mark.parametrize(
    "run",
    [
        make_run(status="STARTED"),
        make_run(status="STARTED", progress=PROGRESS),
        make_run(status="SUCCEEDED", progress=PROGRESS),
        make_run(status="FAILED"),
        make_run(model="other"),
    ],
    ids=["started", "at work", "at work, misspoken", "failed", "of another model"],
)
def test_only_succeeded_runs_of_this_model_wait_for_a_decision(run):
    """Everything else is no question to the registry."""
    assert {} == folded(run).pending


def test_scoring_since_is_carried_forward_for_ever():
    """The time from which samples are scored is that of the first deployment."""
    first, _ = settled(folded(make_run()), now_ms=1000)
    second, _ = settled(evolve(first, make_run("run-2", against=1)), now_ms=2000)

    assert (1000, 2000) == (second.deployment.scoring_since_ms, second.deployment.decided_at_ms)


def test_times_of_decisions_do_not_go_back():
    """A wall clock that was set back does not put a new deployment before the old one."""
    first, _ = settled(folded(make_run()), now_ms=2000)
    second, _ = settled(evolve(first, make_run("run-2", against=1)), now_ms=1000)

    assert 2000 == second.deployment.decided_at_ms


def test_an_epoch_that_does_not_grow_is_ignored_and_reported():
    """An old deployment event that is replayed changes nothing."""
    state, log = grown(make_run(), make_run("run-2", against=1))
    old = next(event for event in log if isinstance(event, DeploymentDecided))

    assert state == evolve(state, old)
    assert "deployment/tiny/1 has epoch 1, but epoch 2 is known; epochs only grow" == refusal(state, old)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "version/tiny/1/REGISTERED decides about run run-1, but version/tiny/1/REGISTERED did already"),
        ({"run_id": "run-9"}, "version/tiny/1/REGISTERED is REGISTERED, but version 1 is known already"),
        ({"run_id": "run-9", "version": None}, "version/tiny/1/REGISTERED is REGISTERED without a version"),
        (
            {"status": "RETIRED", "version": 7},
            "version/tiny/1/REGISTERED is RETIRED, but version 7 was never registered",
        ),
        ({"status": "RETIRED"}, "version/tiny/1/REGISTERED is known already; a repetition changes nothing"),
    ],
)
def test_a_second_decision_is_ignored_and_reported(change, words):
    """Whatever a damaged or doubled log says: one version per run, one run per version."""
    state, log = grown(make_run())
    event = log[0].model_copy(update=change)

    assert state == evolve(state, event)
    assert words == refusal(state, event)


run_ids = st.sampled_from([f"run-{number}" for number in range(5)])
runs = st.builds(
    lambda run_id, against, value, status: make_run(
        run_id, against=against, metrics={"accuracy": value}, status=status, artifact_sha256="ab" * 32
    ),
    run_id=run_ids,
    against=st.none() | st.integers(1, 4),
    value=st.sampled_from([0.5, 0.7, 0.85, 0.95]),
    status=st.sampled_from(["STARTED", "SUCCEEDED", "SUCCEEDED", "FAILED"]),
)


@given(delivered=st.lists(runs, max_size=20))
def test_whatever_is_delivered_each_run_is_decided_once_and_one_version_serves(delivered):
    """Any order and any repetition: a version per run at most, epochs grow by one, exactly one champion."""
    state, log = grown(*delivered)
    changes = [event for event in log if isinstance(event, ModelVersionChanged)]
    decided = [event.run_id for event in changes if event.status in {"REGISTERED", "REJECTED"}]
    epochs = [event.epoch for event in log if isinstance(event, DeploymentDecided)]
    promoted = [number for number, version in state.versions.items() if version.status == "PROMOTED"]

    assert len(set(decided)) == len(decided)
    assert {run.run_id for run in delivered if run.status == "SUCCEEDED"} == set(decided)
    assert list(range(1, len(epochs) + 1)) == epochs
    assert list(range(1, len(epochs) + 1)) == list(state.versions)
    assert ([] if state.champion is None else [state.champion]) == promoted


@given(delivered=st.lists(runs, max_size=12), again=st.lists(runs, max_size=6), seed=st.randoms(use_true_random=False))
def test_a_restart_knows_the_same_whatever_order_the_topics_are_read_in(delivered, again, seed):
    """The fold of the log is the state that wrote it; redelivered runs find their decisions."""
    state, log = grown(*delivered)
    merged = [[event for event in log if isinstance(event, kind)] for kind in (ModelVersionChanged, DeploymentDecided)]
    merged.append([*delivered])
    seed.shuffle(merged)
    rebuilt = folded(*(event for topic in merged for event in topic))
    known = [run for run in again if run.run_id in state.decided]

    assert (state.decided, state.versions, state.deployment) == (rebuilt.decided, rebuilt.versions, rebuilt.deployment)
    assert {} == folded(*known, state=rebuilt).pending


@given(delivered=st.lists(runs, max_size=12), doubled=st.integers(0, 30))
def test_a_log_with_a_decision_written_twice_means_the_same(delivered, doubled):
    """The worst that an unclear commit can leave behind is a repetition, and that is recognised."""
    _, log = grown(*delivered)
    decisions = [place for place, event in enumerate(log) if isinstance(event, ModelVersionChanged)
                 and event.status in {"REGISTERED", "REJECTED"}]  # fmt: skip
    ends = [*decisions[1:], len(log)]
    if not decisions:
        return
    start, end = list(zip(decisions, ends, strict=True))[doubled % len(decisions)]

    assert folded(*log) == folded(*log[:end], *log[start:end], *log[end:])
    assert all(left < right for left, right in pairwise(decisions))
