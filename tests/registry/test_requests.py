"""What people ask for: one answer each, in words, and what follows from it in the same decision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import AuditRecorded, DeploymentDecided, ManageModel, ModelVersionChanged
from millrace.contracts.rollout_policy import Rollout, Space, Spaces
from services.registry.core import Policy, decide
from tests.registry.life import CANARY, GATES, ONE_PERSON, PLAIN, TWO_PEOPLE, Life, folded, told
from tests.registry.runs import make_run


def reign(count: int = 2, policy: Policy = PLAIN) -> Life:
    """A model whose versions 1 to ``count`` took over at once, one after another."""
    life = Life()
    life.train(count)
    life.policy = policy
    return life


def rolling_out() -> Life:
    """A model whose version 2 is beside its champion, version 1, as a canary."""
    life = reign(1, CANARY)
    life.train()
    assert {1: 0.9, 2: 0.1} == life.shares()
    return life


def test_a_rollback_goes_to_the_champion_before_as_a_new_epoch_in_one_decision():
    """The answer, the deployment, and both versions' facts; the chain of causes leads to the request."""
    life = reign(2)

    answer = life.ask("ROLLBACK", reason="it is noisy")
    decision = life.decisions[-1]

    assert ["rollback ACCEPTED", "ROLLED_BACK 3", "PROMOTED 1 production", "RETIRED 2 production"] == told(decision)
    assert ("audit/manage/1", "ada", "manage/1", 1, 3) == (
        answer.audit_id, answer.actor, answer.caused_by, answer.version, answer.epoch,
    )  # fmt: skip
    assert ("manage/1", "ada", "it is noisy (asked by ada)") == (
        decision[1].caused_by, decision[1].decided_by, decision[1].reason,
    )  # fmt: skip
    assert ["deployment/tiny/3"] * 2 == [event.caused_by for event in decision[2:]]
    assert "version/tiny/1/PROMOTED/2" == decision[2].change_id


def test_a_rollback_ends_a_rollout():
    """Without a version the champion keeps all; with one it is that version."""
    life = rolling_out()
    answer = life.ask("ROLLBACK")

    assert (3, {1: 1.0}, {1: "PROMOTED", 2: "RETIRED"}) == (answer.epoch, life.shares(), life.statuses())

    life = reign(2, CANARY)
    life.train()
    life.ask("ROLLBACK", 1)

    assert ({1: 1.0}, None) == (life.shares(), life.state.rollout_id)
    assert {1: "PROMOTED", 2: "RETIRED", 3: "RETIRED"} == life.statuses()


def test_a_second_rollback_goes_further_back_not_forth():
    """After 3 -> 2 the champion before is 1, not 3; and before the first there is none."""
    life = reign(3)

    assert [2, 1] == [life.ask("ROLLBACK").version for _ in range(2)]
    assert "no version served before version 1; name the one to go back to" == life.ask("ROLLBACK").reason
    assert {1: 1.0} == life.shares()


def refused(life: Life, *what: object, **more: object) -> str:
    """The words of a refusal, which changed nothing."""
    before = (life.state.versions, life.state.deployment, life.state.frozen, life.state.approvals)
    answer = life.ask(*what, **more)

    assert "REFUSED" == answer.outcome
    assert before == (life.state.versions, life.state.deployment, life.state.frozen, life.state.approvals)
    return answer.reason


NOBODY = "requested_by is {!r}; say who asks, with the name of a person"
STALE = "epoch 2 is in force, 5 was expected; look again (millrace status) and repeat"
ALL = "approve, reject, promote, rollback, abort, freeze, unfreeze, kill, retire"
REFUSALS = [
    (("ROLLBACK",), {"expected_epoch": 5}, STALE),
    (("ROLLBACK", 9), {}, "there is no version 9; tiny has versions 1 to 2"),
    (("ROLLBACK", 2), {}, "version 2 is champion already, and no rollout is under way"),
    (("PROMOTE", 2), {}, "version 2 is champion already"),
    (("PROMOTE",), {}, "promote needs a version; millrace models lists them"),
    (("PROMOTE", 1), {"space": "moon"}, "there is no space 'moon'; use one of development, test, production"),
    (("ABORT",), {}, "no rollout is under way; to go to another version: millrace rollback"),
    (("UNFREEZE",), {}, "tiny is not frozen"),
    (("RETIRE", 2), {}, "version 2 has a part of the traffic; millrace rollback or millrace abort first"),
    (("RETIRE", 1), {}, "version 1 is retired already"),
    (("APPROVE", 2), {}, "version 2 is champion already"),
    (("APPROVE", 1), {}, "version 1 is retired; millrace promote brings it back"),
    (("REJECT", 1), {}, "version 1 is retired; millrace promote brings it back"),
    (("FREEZE",), {"by": "registry"}, NOBODY.format("registry")),
    (("FREEZE",), {"by": " "}, NOBODY.format(" ")),
    (("UNKNOWN",), {}, f"the action UNKNOWN is not known here; use one of {ALL}"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "more", "words"), REFUSALS, ids=[" ".join(map(str, row[0])) for row in REFUSALS])
def test_what_cannot_be_done_is_refused_in_words(what, more, words):
    """A refusal says what was seen and what to do instead, and changes nothing."""
    assert words == refused(reign(2), *what, **more)


def test_nothing_can_be_rolled_back_before_the_first_deployment():
    """There is nothing to go back to, and no version to name."""
    life = Life()

    assert "nothing of tiny is deployed yet" == refused(life, "ROLLBACK")
    assert "there is no version 1; tiny has no version yet" == refused(life, "PROMOTE", 1)


def test_nobody_goes_back_to_a_rejected_version_or_to_other_features():
    """A rejection is for good; features that nobody computes cannot be served."""
    life = reign(1, ONE_PERSON)
    life.train()
    life.ask("REJECT", 2)
    rejected = "version 2 was rejected, which is for good; train again"

    assert [rejected] * 3 == [refused(life, action, 2) for action in ("ROLLBACK", "PROMOTE", "APPROVE")]

    life = reign(1)
    life.train(feature_set="77aa", against=None)
    words = "version 1 needs feature set 3f9a, which nobody computes any more; the champion, version 2, needs 77aa"

    assert [words] * 2 == [refused(life, action, 1) for action in ("ROLLBACK", "PROMOTE")]
    assert "no version served before version 2; name the one to go back to" == refused(life, "ROLLBACK")


def test_who_never_was_champion_is_promoted_not_rolled_back_to():
    """A rollback asks nobody for approval, so it goes only where traffic was before."""
    life = reign(1, ONE_PERSON)
    life.train()

    assert "version 2 never was champion; millrace promote is for that" == refused(life, "ROLLBACK", 2)


def test_the_same_request_is_answered_once():
    """Redelivered or sent again with the same id: one answer, one consequence."""
    life = reign(3)
    life.ask("ROLLBACK")
    request = life.of(ManageModel)[0]

    assert [] == life.tell(request)
    assert [] == life.tell(request.model_copy(update={"action": "FREEZE"}))
    assert {2: 1.0} == life.shares()


def test_requests_for_other_models_are_none_of_its_business():
    """Their registry answers."""
    life = reign(2)
    life.ask("FREEZE")
    other = life.of(ManageModel)[0].model_copy(update={"request_id": "manage/other", "model": "other"})

    assert [] == life.tell(other)


def test_an_abort_ends_the_rollout_and_the_champion_keeps_all():
    """The candidate is retired with the reason, so that its request counts as answered."""
    life = rolling_out()
    answer = life.ask("ABORT", reason="wrong data")

    assert ["abort ACCEPTED", "ABORTED 3", "RETIRED 2 test"] == told(life.decisions[-1])
    assert "rollout/tiny/2 is aborted, version 1 has all traffic, with epoch 3 (wrong data)" == answer.reason
    assert ("aborted: wrong data (asked by ada)",) == life.decisions[-1][-1].reasons


def test_a_kill_aborts_and_freezes_as_one_decision():
    """Nothing new comes in before somebody unfreezes; then what waited goes on."""
    life = rolling_out()
    life.ask("KILL")

    assert ["kill ACCEPTED", "ABORTED 3", "RETIRED 2 test"] == told(life.decisions[-1])
    assert "kill" == life.state.frozen.action
    assert ["REGISTERED 3 development"] == told(life.train())

    answer = life.ask("UNFREEZE")

    assert ["unfreeze ACCEPTED", "PROMOTED 3 test", "ROLLOUT_STARTED 4", "start-rollout ACCEPTED"] == told(
        life.decisions[-1]
    )
    assert 4 == answer.epoch


def test_a_kill_without_a_rollout_only_freezes():
    """Nothing is deployed anew that is deployed already."""
    life = reign(2)

    assert None is life.ask("KILL").epoch
    assert (2, True) == (life.state.epoch, life.state.frozen is not None)


def test_in_a_frozen_model_people_still_decide():
    """What is asked for is done: a promotion, its rollout's start, a rollback."""
    life = reign(2)
    life.ask("FREEZE")
    life.train()

    assert {1: "RETIRED", 2: "PROMOTED", 3: "REGISTERED"} == life.statuses()

    life.ask("PROMOTE", 3, by="bob")

    assert {3: 1.0} == life.shares()

    life.ask("ROLLBACK")

    assert {2: 1.0} == life.shares()


def test_a_promotion_at_once_ends_the_rollout():
    """Of the candidate itself, or of another version; the loser is retired."""
    life = rolling_out()
    life.ask("PROMOTE", 2, immediate=True)

    assert [
        "promote ACCEPTED",
        "PROMOTED 2 production",
        "RETIRED 1 production",
        "DEPLOYED 3",
        "deploy ACCEPTED",
    ] == told(life.decisions[-1])
    assert {2: 1.0} == life.shares()

    life = reign(2, CANARY)
    life.train()
    life.ask("PROMOTE", 1, immediate=True)

    assert ({1: 1.0}, {1: "PROMOTED", 2: "RETIRED", 3: "RETIRED"}) == (life.shares(), life.statuses())


def test_a_former_champion_is_promoted_again_by_a_rollout_and_waits_for_the_one_under_way():
    """It enters test again; the request, not its admission, is the cause."""
    life = reign(2, CANARY)
    life.train()

    assert "version 1 is to enter production; it waits for the end of rollout/tiny/3 (they say so)" == (
        life.ask("PROMOTE", 1).reason
    )
    assert {2: 0.9, 3: 0.1} == life.shares()

    life.ask("ABORT")

    assert {2: 0.9, 1: 0.1} == life.shares()
    assert ("version/tiny/1/PROMOTED/test/2", "manage/1") == (
        life.state.deployment.caused_by,
        life.of(ModelVersionChanged)[-2].caused_by,
    )
    assert "version 1 is being rolled out already; ask for it at once (immediate) to end that" == refused(
        life, "PROMOTE", 1
    )


def test_what_was_promoted_and_rolled_back_does_not_come_back_by_itself():
    """A request counts for the life of the version in which it was made; time may stand still meanwhile."""
    life = reign(2)
    life.ask("PROMOTE", 1)
    life.ask("ROLLBACK", 2)

    assert [] == life.wait(3600)
    assert ({2: 1.0}, {1: "RETIRED", 2: "PROMOTED"}) == (life.shares(), life.statuses())


def test_a_version_that_nobody_needs_is_retired():
    """It waits for an approval no more."""
    life = reign(1, ONE_PERSON)
    life.train()
    life.ask("RETIRE", 2, reason="too large")

    assert ["retire ACCEPTED", "RETIRED 2 development"] == told(life.decisions[-1])
    assert ("retired by ada: too large",) == life.decisions[-1][-1].reasons


ACTIONS = ("APPROVE", "REJECT", "PROMOTE", "ROLLBACK", "ABORT", "FREEZE", "UNFREEZE", "KILL", "RETIRE", "UNKNOWN")
asked = st.tuples(
    st.sampled_from(ACTIONS), st.none() | st.integers(1, 4), st.sampled_from(["ada", "bob", "eve"]), st.booleans(),
    st.sampled_from([None, "test", "production"]),
)  # fmt: skip
policies = st.sampled_from([PLAIN, CANARY, ONE_PERSON, TWO_PEOPLE, Policy(GATES, Rollout(strategy="bandit"), Spaces(
    test=Space(approvals=1)))])  # fmt: skip


@given(
    steps=st.lists(st.sampled_from(["train", "serve", "fail"]) | asked, max_size=15), policy=policies, seed=st.randoms()
)
def test_whatever_people_ask_there_is_one_champion_and_one_answer_each(steps, policy, seed):
    """Any sequence: epochs grow by one, ids are unique, one version reigns, and the log folds to the same state."""
    life = Life(policy)
    for step in steps:
        match step:
            case "train":
                life.train()
            case "serve":
                life.serve()
            case "fail":
                traffic = sorted(life.shares()) or [1]
                life.serve(fails=traffic[-1])
            case "better" | "broken" if life.state.rollout_id is not None:
                life.measure(400, better=80, errors=300 if step == "broken" else 0)
            case "silence":
                life.wait(90_000)
            case (action, version, by, immediate, space):
                life.ask(action, version, by=by, immediate=immediate, space=space)
    changes, audits = life.of(ModelVersionChanged), life.of(AuditRecorded)
    promoted = [one for one in life.state.versions.values() if (one.status, one.space) == ("PROMOTED", "production")]
    answers = [audit.caused_by for audit in audits if audit.caused_by.startswith("manage/")]

    assert list(range(1, life.state.epoch + 1)) == [event.epoch for event in life.of(DeploymentDecided)]
    assert len({change.change_id for change in changes}) == len(changes)
    assert sorted(f"manage/{number + 1}" for number in range(life.asked)) == sorted(answers)
    assert ([] if life.state.champion is None else [life.state.champion]) == [one.number for one in promoted]
    assert all(abs(sum(part.share for part in event.traffic) - 1) < 1e-9 for event in life.of(DeploymentDecided))

    assert not {number for number, status in life.statuses().items() if status == "REJECTED"} & set(life.shares())

    topics = [[event for event in life.log if event.schema_name == name] for name in {e.schema_name for e in life.log}]
    seed.shuffle(topics)

    rebuilt = folded(*(event for topic in topics for event in topic))

    assert life.state == rebuilt
    assert () == decide(rebuilt, policy, life.now_ms, {})


def test_a_request_is_answered_before_the_runs_that_wait():
    """A rollback must not wait for anything."""
    life = reign(2)
    state = folded(make_run("run-9", against=2), state=life.state)
    state = folded(life_request(life), state=state)

    assert ["rollback ACCEPTED"] == told(list(decide(state, PLAIN, life.now_ms, {"run-9": None})))[:1]


def life_request(life: Life) -> ManageModel:
    """A rollback, not told yet."""
    return ManageModel(
        request_id="manage/9", model="tiny", action="ROLLBACK", version=None, space=None, expected_epoch=None,
        immediate=False, reason="now", requested_by="ada", requested_at_ms=life.now_ms,
    )  # fmt: skip
