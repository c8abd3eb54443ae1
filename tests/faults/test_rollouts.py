"""Faults 2, 14, 20 and 21 in rollouts, with real processes: nothing bad takes over, and nothing is decided twice."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.contracts import topics
from tests.conftest import Broker
from tests.faults import rollout_models as candidates
from tests.faults.feed import Feed
from tests.faults.judge import Live, aborted, finish
from tests.faults.rollout_judge import decided_once, kept
from tests.faults.rollout_stage import MALLORY, Answers, Stage

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SEED = 21
KILLED = -signal.SIGKILL
ALL = ("registry", "serving", "ingest", "monitor")
AFTER = 100  # events that are answered after the end, before anybody looks back


# ---- a bad canary ------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "erring": (candidates.erring, "error share"),
    "no number": (candidates.no_number, "share of missing scores"),
    "worse": (candidates.worse, "worse than the champion"),
    "hanging": (candidates.hanging, "error share"),
}


def test_a_bad_canary_is_stopped_before_it_hurts(broker: Broker, tmp_path: Path) -> None:
    """It errs, says NaN, is wrong or hangs: rolled back by the guardrail meant for it; each event is answered."""
    with Stage.create(broker, tmp_path, step_rows=20_000) as stage:
        _, serving, *_ = [stage.start(name) for name in ALL]
        stage.begin(candidates.sound("champion"))
        live = Live.both(stage.scene)
        answers = Answers(stage, live[0])
        with Feed(stage.scene, SEED, rate=500).start() as feed:
            answers.wait_epoch(1, AFTER)
            for number, (make, _) in enumerate(BAD.values()):
                stage.admit(make(), against=1)
                assert "ROLLOUT_STARTED" == stage.decided(2 * number + 2).kind
                assert "ROLLED_BACK" == stage.decided(2 * number + 3).kind
                answers.wait_epoch(2 * number + 3, AFTER)
        books = finish(stage.scene, feed, live)
        deployments, evidence = stage.deployments(), stage.log(topics.ROLLOUT_EVIDENCE)
        predictions = kept(stage.scene, books, deployments)
        decided_once(deployments, evidence)

        for number, (name, (_, words)) in enumerate(BAD.items()):
            version, epoch = number + 2, 2 * number + 2
            ended = deployments[epoch]
            assert words in ended["reason"], f"{name}: {ended['reason']}"
            assert [1] == [part["version"] for part in ended["traffic"]]
            touched = sum(one["version"] == version for one in predictions)
            print(f"{name}: answered {touched} of {len(predictions)} events")  # noqa: T201 - what it is about
        faults = {
            what: {arm["version"] for one in evidence for arm in one["arms"] if arm[what]}
            for what in ("error_rows", "missing_rows")
        }
        assert {2, 5} <= faults["error_rows"], "the runtime raised, and the deadline passed"
        assert 3 in faults["missing_rows"], "there was no number"
        assert serving.said("variant failed"), "what failed is in the log"
        assert {2, 3, 4, 5} & {one["version"] for one in predictions}, "somebody was tried at all"


# ---- kill -9 while a good one is tried ---------------------------------------------------------------------------


@pytest.mark.matrix
def test_a_canary_that_lives_through_kills_of_everybody_is_promoted_once(broker: Broker, tmp_path: Path) -> None:
    """Registry, serving and monitor die in the middle of it: every step is decided once, every event answered once."""
    with Stage.create(broker, tmp_path, unit="entity") as stage:
        registry = stage.start("registry", "registry.mid-decision=kill@3", "commit.after-end=kill")
        serving = stage.start("serving", "commit.mid-send=kill@40")
        monitor = stage.start("monitor", "commit.mid-send=kill@4")
        stage.start("ingest").wait_ready()
        stage.begin(candidates.sound("champion"))
        stage.admit(candidates.sound("challenger"), against=1)
        stage.serves(2)  # all of the kills that are to come meet the canary: no event comes before it
        live = Live.both(stage.scene)
        answers = Answers(stage, live[0])
        with Feed(stage.scene, SEED, rate=200).start() as feed:
            for service, deaths in ((serving, 1), (monitor, 1), (registry, 2)):
                service.wait_deaths(deaths)
            assert "PROMOTED" == stage.decided(4).kind, stage.story()
            answers.wait_epoch(4, AFTER)
        books = finish(stage.scene, feed, live)
        deployments = stage.deployments()
        predictions = kept(stage.scene, books, deployments, healthy=True)
        decided_once(deployments, stage.log(topics.ROLLOUT_EVIDENCE))

        assert ["registry.mid-decision", "commit.after-end"] == registry.reached()
        assert [[KILLED] * 2, [KILLED], [KILLED]] == [service.exits[:-1] for service in (registry, serving, monitor)], (
            "each died as often as it was to, and of nothing else"
        )
        assert aborted(stage.scene, stage.scene.topic(topics.PREDICTIONS)), "serving died in a commit"
        assert ["DEPLOYED", "ROLLOUT_STARTED", "ADVANCED", "PROMOTED"] == [one["kind"] for one in deployments]
        assert [None, 0.2, 0.5, None] == [
            {part["variant"]: part["share"] for part in one["traffic"]}.get("candidate") for one in deployments
        ]
        assert [1, 2] == [deployments[at]["traffic"][0]["version"] for at in (0, 3)]
        assert {(2, 1), (2, 2), (3, 1), (3, 2), (4, 2)} == {(one["epoch"], one["version"]) for one in predictions}


# ---- nobody says what was right ----------------------------------------------------------------------------------

GIVE_UP_S = 6


@pytest.mark.matrix
def test_without_labels_a_canary_never_grows_and_is_given_up(broker: Broker, tmp_path: Path) -> None:
    """Thousands of events and not one label: it keeps the share that it began with, until the time is up."""
    with Stage.create(broker, tmp_path, give_up_s=GIVE_UP_S) as stage:
        for name in ALL:
            stage.start(name)
        stage.begin(candidates.sound("champion"))
        live = Live.both(stage.scene)
        answers = Answers(stage, live[0])
        with Feed(stage.scene, SEED, labels=False).start() as feed:
            answers.wait_epoch(1, AFTER)
            stage.admit(candidates.sound("challenger"), against=1)
            ended = stage.decided(3)
            answers.wait_epoch(3, AFTER)
        books = finish(stage.scene, feed, live)
        deployments, evidence = stage.deployments(), stage.log(topics.ROLLOUT_EVIDENCE)
        predictions = kept(stage.scene, books, deployments, healthy=True)
        decided_once(deployments, evidence)

        assert ["DEPLOYED", "ROLLOUT_STARTED", "ROLLED_BACK"] == [one["kind"] for one in deployments]
        assert "no label has come in" in ended.reason
        assert ended.decided_at_ms - deployments[1]["decided_at_ms"] >= 1000 * GIVE_UP_S
        assert sum(one["epoch"] == 2 for one in predictions) >= 2_000, "it had every chance to go wrong"
        assert evidence, "the monitor told how many there were"
        assert {0} == {arm["labelled_rows"] for one in evidence for arm in one["arms"]}


# ---- people ------------------------------------------------------------------------------------------------------

LOAD = 3_000.0  # events a second


def test_a_rollback_that_is_asked_for_under_load_takes_effect_once(broker: Broker, tmp_path: Path) -> None:
    """All events go to version 2, thousands a second; the request brings version 1 back, in order, with one answer."""
    with Stage.create(broker, tmp_path) as stage:
        for name in ("registry", "serving", "ingest"):
            stage.start(name)
        stage.begin(candidates.sound("champion"))
        live = Live.both(stage.scene)
        answers = Answers(stage, live[0])
        with Feed(stage.scene, SEED, rate=LOAD, labels=False).start() as feed:
            stage.admit(candidates.flipped(), against=1)
            answers.wait_epoch(2, AFTER)
            stage.ask("PROMOTE", version=2, immediate=True)
            answers.wait_epoch(3, round(LOAD))
            asked = stage.ask("ROLLBACK", expected_epoch=3)
            answers.wait_epoch(4, round(LOAD))
        books = finish(stage.scene, feed, live)
        deployments = stage.deployments()
        predictions = kept(stage.scene, books, deployments, healthy=True)
        decided_once(deployments)
        audits = [one for one in stage.log(topics.AUDIT_EVENTS) if one["caused_by"] == asked.request_id]

        assert ["DEPLOYED", "ROLLOUT_STARTED", "DEPLOYED", "ROLLED_BACK"] == [one["kind"] for one in deployments]
        assert [("ACCEPTED", 4, "ada")] == [(one["outcome"], one["epoch"], one["actor"]) for one in audits]
        assert asked.request_id == deployments[3]["caused_by"]
        assert {(3, 2), (4, 1)} == {(one["epoch"], one["version"]) for one in predictions if one["epoch"] >= 3}
        for number in range(stage.scene.project.partitions):
            after = [one for one in predictions if (one["epoch"], one["sample_partition"]) == (4, number)]
            took_ms = after[0]["predicted_at_ms"] - asked.requested_at_ms
            print(f"partition {number}: {took_ms} ms from the request to the first answer")  # noqa: T201 - a figure


# ---- two registries ----------------------------------------------------------------------------------------------


@pytest.mark.matrix
def test_a_registry_that_sleeps_through_its_decision_does_not_repeat_it(broker: Broker, tmp_path: Path) -> None:
    """It stops before it writes; another one decides; it wakes, is fenced, and has said nothing."""
    with Stage.create(broker, tmp_path) as stage:
        sleeper = stage.start("registry", "registry.mid-decision=stop@2")
        stage.start("serving")
        stage.begin(candidates.sound("champion"))
        stage.admit(candidates.sound("challenger"), against=1)
        sleeper.wait_stopped()
        heir = stage.start("registry")
        assert "ROLLOUT_STARTED" == stage.decided(2).kind
        assert heir.said("deployment", epoch=2), "the other one has decided"
        sleeper.kill(signal.SIGCONT)
        sleeper.wait_deaths(1)
        sleeper.wait_ready()
        asked = stage.ask("ROLLBACK")
        assert "ROLLED_BACK" == stage.decided(3).kind
        stage.scene.stop()
        deployments, versions = stage.deployments(), stage.log(topics.MODEL_VERSIONS)
        audits = [one for one in stage.log(topics.AUDIT_EVENTS) if one["caused_by"] == asked.request_id]
        decided_once(deployments)

        assert ["registry.mid-decision"] == sleeper.reached()
        assert 1 == sleeper.exits[0], "it ended because it was fenced"
        assert any("fenced" in str(line) for line in sleeper.lines()), sleeper.tail()
        assert [1, 2, 3] == [one["epoch"] for one in deployments]
        assert len(versions) == len({one["change_id"] for one in versions})
        assert 1 == len(audits)


# ---- forged and old deployments ----------------------------------------------------------------------------------


def test_nobody_but_the_registry_changes_what_serves(broker: Broker, tmp_path: Path) -> None:
    """Not signed, or for another space: refused, and answered with a newer epoch. Old ones change nothing."""
    with Stage.create(broker, tmp_path) as stage:
        registry, serving, _ = [stage.start(name) for name in ("registry", "serving", "ingest")]
        stage.begin(candidates.sound("champion"))
        first = stage.decided(1)
        live = Live.both(stage.scene)
        answers = Answers(stage, live[0])
        with Feed(stage.scene, SEED, labels=False).start() as feed:
            answers.wait_epoch(1, AFTER)
            reasons = []
            for epoch, space in ((2, None), (4, "test")):
                stage.scene.publish(topics.DEPLOYMENTS, stage.forge(candidates.flipped(), epoch, space))
                reasons += [one["reason"] for one in stage.reported(epoch, "FAILED")]
                stage.serves(epoch + 1)
                answers.wait_epoch(epoch + 1, AFTER)
            stage.scene.publish(topics.DEPLOYMENTS, first, stage.decided(3))
            stage.smuggle(stage.forge(candidates.flipped(), 1_000, None))
            answers.wait_epoch(5, answers.under(5) + AFTER)
            serving.kill(signal.SIGKILL)
            serving.wait_deaths(1)
            answers.wait_epoch(5, answers.under(5) + AFTER)
            stage.admit(candidates.sound("challenger"), against=1)
            answers.wait_epoch(6, AFTER)
        books = finish(stage.scene, feed, live)
        ours = {one["epoch"]: one for one in stage.deployments() if one["decided_by"] != MALLORY}
        predictions = kept(stage.scene, books, list(ours.values()))

        assert any("is not signed" in reason for reason in reasons), reasons
        assert any("for the space 'test'" in reason for reason in reasons), reasons
        assert [1, 2, 3, 4, 5, 1, 3, 6] == [one["epoch"] for one in stage.deployments()]
        assert {(1, 1), (3, 1), (5, 1), (6, 1), (6, 2)} == {(one["epoch"], one["version"]) for one in predictions}
        ignored = [one for one in registry.said("event-ignored") if "epochs only grow" in one["message"]]
        assert 2 == len(ignored), "an operator was told of both"
        assert [KILLED, 0] == serving.exits
