"""Who has to agree before a version enters test and production, and what it waits for."""

import pytest

from millrace.contracts.events import AlertRaised, ModelVersionChanged
from millrace.contracts.rollout_policy import Rollout, Space, Spaces
from services.registry.core import Policy
from tests.registry.life import CANARY, GATES, ONE_PERSON, PLAIN, TWO_PEOPLE, Life, told


def test_two_different_people_have_to_agree():
    """The same person twice counts once; the second one's approval and its consequences are one decision."""
    life = Life(TWO_PEOPLE)

    assert ["REGISTERED 1 development", "PROMOTED 1 test", "alert approval-awaited"] == told(life.train())
    assert (
        "approved that version 1 enters production by ada; 1 more of 2 is needed, by somebody else (they say so)"
        == (life.ask("APPROVE", 1).reason)
    )
    assert life.ask("APPROVE", 1).reason.endswith("1 more of 2 is needed, by somebody else (they say so)")
    assert None is life.state.deployment

    answer = life.ask("APPROVE", 1, by="bob")

    assert ["approve ACCEPTED", "PROMOTED 1 production", "DEPLOYED 1", "deploy ACCEPTED"] == told(life.decisions[-1])
    assert ("approved that version 1 enters production by ada and bob (they say so)", 1) == (
        answer.reason,
        answer.epoch,
    )
    promoted, deployed = life.decisions[-1][1:3]
    assert (("ada", "bob"), "manage/3") == (promoted.approved_by, promoted.caused_by)
    assert deployed.reason.endswith("; approved by ada and bob")


def test_who_is_not_named_may_not_approve():
    """The words say who may."""
    life = Life(TWO_PEOPLE)
    life.train()

    answer = life.ask("APPROVE", 1, by="eve")

    assert ("REFUSED", "eve is not among those who may approve for production: ada, bob, cyd") == (
        answer.outcome, answer.reason,
    )  # fmt: skip
    assert None is life.ask("PROMOTE", 1, by="eve").epoch


def test_asking_for_a_promotion_is_ones_own_approval():
    """One more person is needed, if the one who asks may approve."""
    life = Life(TWO_PEOPLE)
    life.train()

    assert "version 1 is to enter production; it waits for 1 approval to enter production (they say so)" == (
        life.ask("PROMOTE", 1).reason
    )

    life.ask("APPROVE", 1, by="bob")

    assert {1: 1.0} == life.shares()


def test_each_space_is_entered_on_its_own():
    """One approval for test, another for production; an approval for production alone does not let it skip test."""
    life = Life(ONE_PERSON)

    assert ["REGISTERED 1 development", "alert approval-awaited"] == told(life.train())
    assert life.ask("APPROVE", 1).reason == (
        "approved that version 1 enters production by ada; it waits for 1 approval to enter test (they say so)"
    )
    assert "development" == life.state.versions[1].space

    life.ask("APPROVE", 1, space="test", by="bob")

    assert ["approve ACCEPTED", "PROMOTED 1 test", "PROMOTED 1 production", "DEPLOYED 1", "deploy ACCEPTED"] == told(
        life.decisions[-1]
    )
    assert [("bob",), ("ada",)] == [change.approved_by for change in life.of(ModelVersionChanged)[1:]]


def test_the_alert_says_whose_approval_is_awaited_and_offers_the_newest():
    """Older ones wait as well."""
    life = Life(TWO_PEOPLE)
    life.train(2)
    first, second = life.of(AlertRaised)

    assert ["alert/approval-awaited/tiny/1/production", "alert/approval-awaited/tiny/2/production"] == [
        first.alert_id, second.alert_id,
    ]  # fmt: skip
    assert (
        "version 2 waits for the approval of two different people to enter production: ada or bob or cyd; "
        "millrace approve tiny 2; older ones wait as well: 1" == second.message
    )
    assert "approve needs a version; version 2 waits for an approval" == life.ask("APPROVE").reason


def test_the_older_of_two_that_wait_may_be_approved_but_not_once_a_newer_one_is_champion():
    """The way out is a promotion that somebody asks for."""
    life = Life(Policy(GATES, spaces=Spaces(production=Space(approvals=1))))
    life.train(3)
    life.ask("APPROVE", 2)

    assert {2: 1.0} == life.shares()
    assert "version 1 is older than the champion, version 2; to have it all the same: millrace promote tiny 1" == (
        life.ask("APPROVE", 1).reason
    )

    life.ask("APPROVE", 3)

    assert ({3: 1.0}, {1: "PROMOTED", 2: "RETIRED", 3: "PROMOTED"}) == (life.shares(), life.statuses())

    life.ask("PROMOTE", 1)

    assert {1: 1.0} == life.shares()


def test_a_rejection_ends_the_wait_and_keeps_its_reasons():
    """The run is answered by it, and the version never comes back."""
    life = Life(TWO_PEOPLE)
    life.train()
    life.ask("APPROVE", 1)
    life.ask("REJECT", 1, by="bob", reason="unfair to the north")

    change = life.of(ModelVersionChanged)[-1]

    assert ("REJECTED", "version/tiny/1/REJECTED", ("rejected by bob: unfair to the north",), "manage/2") == (
        change.status, change.change_id, change.reasons, change.caused_by,
    )  # fmt: skip
    assert "REFUSED" == life.ask("APPROVE", 1, by="cyd").outcome


@pytest.mark.parametrize(
    ("policy", "space", "words"),
    [
        (Policy(GATES, spaces=Spaces(production=Space(approvals=1))), "test", "version 1 has entered test already"),
        (ONE_PERSON, "development", "nobody has to approve that a version enters development"),
    ],
)
def test_an_approval_that_nobody_needs_is_refused(policy, space, words):
    """Whoever gives it thinks of something else."""
    life = Life(policy)
    life.train()

    assert ("REFUSED", words) == (life.ask("APPROVE", 1, space=space).outcome, life.log[-1].reason)


def test_development_may_ask_for_an_approval_too():
    """It is registered, and stays there until somebody agrees."""
    life = Life(Policy(GATES, spaces=Spaces(development=Space(approvals=1))))

    assert ["REGISTERED 1 development", "alert approval-awaited"] == told(life.train())

    life.ask("APPROVE", 1, space="development")

    assert {1: 1.0} == life.shares()


def test_a_frozen_model_lets_nobody_in_by_itself_approved_or_not():
    """What was approved meanwhile goes on when it is unfrozen."""
    life = Life(ONE_PERSON)
    life.train()
    life.ask("FREEZE")
    life.ask("APPROVE", 1)

    assert life.ask("APPROVE", 1, space="test").reason.endswith(
        "it waits until tiny is not frozen any more (they say so)"
    )
    assert {1: "REGISTERED"} == life.statuses()

    life.ask("UNFREEZE")

    assert {1: 1.0} == life.shares()


def test_approved_candidates_are_rolled_out_and_the_approval_is_told_at_the_end():
    """The fact that it is champion names who approved, however long the rollout took."""
    life = Life()
    life.train()
    life.policy = Policy(GATES, CANARY.rollout, TWO_PEOPLE.spaces)
    life.train()
    life.ask("APPROVE", 2)
    life.ask("APPROVE", 2, by="cyd")

    assert {1: 0.9, 2: 0.1} == life.shares()
    assert life.state.deployment.reason.endswith("; approved by ada and cyd")

    life.measure(60, better=8)
    life.measure(400, better=80)

    promoted = [change for change in life.of(ModelVersionChanged) if change.change_id == "version/tiny/2/PROMOTED"]
    assert [("ada", "cyd")] == [change.approved_by for change in promoted]


def test_a_changed_policy_lets_in_only_the_newest_of_those_that_waited():
    """The others are superseded."""
    life = Life(TWO_PEOPLE)
    life.train(3)
    life.policy = PLAIN
    life.wait()

    assert ({3: 1.0}, {1: "RETIRED", 2: "RETIRED", 3: "PROMOTED"}) == (life.shares(), life.statuses())


def test_an_approval_from_before_a_version_ended_counts_no_more():
    """Who wants it back has to agree anew."""
    life = Life(Policy(GATES, Rollout(), Spaces(production=Space(approvals=2))))
    life.train()
    life.ask("APPROVE", 1)
    life.ask("APPROVE", 1, by="bob")
    life.train()
    life.ask("APPROVE", 2)
    life.ask("APPROVE", 2, by="bob")
    life.ask("PROMOTE", 1)

    assert {2: 1.0} == life.shares()

    life.ask("APPROVE", 1, by="bob")

    assert {1: 1.0} == life.shares()
