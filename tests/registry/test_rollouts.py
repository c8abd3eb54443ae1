"""From one champion to the next: steps by evidence, rollbacks by guardrails and by what serving reports."""

import pytest

from millrace.contracts.events import AlertRaised, DeploymentDecided, ModelVersionChanged
from millrace.contracts.rollout_policy import Guardrails, Rollout
from services.registry.core import Policy
from tests.registry.life import CANARY, GATES, Life, told
from tests.registry.runs import PASSED, make_run
from tests.registry.test_promote import LOST


def beside(policy: Policy = CANARY) -> Life:
    """A model whose version 2 has just begun to be rolled out beside version 1."""
    life = Life()
    life.train()
    life.policy = policy
    life.train()
    return life


def test_a_canary_goes_step_by_step_to_champion_with_its_chain_of_causes():
    """Each step is caused by the one before and names its evidence; the old champion is retired at the end."""
    life = beside()
    first = life.state.deployment

    assert ("ROLLOUT_STARTED", "version/tiny/2/PROMOTED/test", "rollout/tiny/2", "canary", 0) == (
        first.kind, first.caused_by, first.rollout_id, first.strategy, first.step,
    )  # fmt: skip
    assert [("champion", 1, 0.9), ("candidate", 2, 0.1)] == [
        (part.variant, part.version, part.share) for part in first.traffic
    ]
    assert [] == life.measure(20, better=2)

    assert ["ADVANCED 3", "advance ACCEPTED"] == told(life.measure(60, better=8, worse=2))
    assert {1: "PROMOTED", 2: "PROMOTED"} == life.statuses()
    assert "test" == life.state.versions[2].space

    assert ["PROMOTED 4", "PROMOTED 2 production", "RETIRED 1 production", "promote ACCEPTED"] == told(
        life.measure(400, better=80, worse=4)
    )
    steps = life.of(DeploymentDecided)[1:]

    assert ["deployment/tiny/2", "deployment/tiny/3"] == [step.caused_by for step in steps[1:]]
    assert [None, "evidence/tiny/rollout/tiny/2/2/0/60", "evidence/tiny/rollout/tiny/2/3/0/400"] == [
        step.evidence_id for step in steps
    ]
    assert (["rollout/tiny/2"] * 2 + [None], {2: 1.0}) == ([step.rollout_id for step in steps], life.shares())
    assert ["deployment/tiny/4", "version/tiny/2/PROMOTED"] == [
        change.caused_by for change in life.of(ModelVersionChanged)[-2:]
    ]


def test_a_guardrail_that_fails_rolls_back_and_retires_the_candidate():
    """With the reason, and an alert; it never comes back by itself."""
    life = beside()

    written = life.measure(60, errors=40)

    assert ["ROLLED_BACK 3", "RETIRED 2 test", "roll-back ACCEPTED", "alert rolled-back"] == told(written)
    assert ("deployment/tiny/2", "rollout/tiny/2", None) == (
        written[0].caused_by, life.of(DeploymentDecided)[1].rollout_id, written[0].rollout_id,
    )  # fmt: skip
    assert (f"rolled back: {written[0].reason}",) == written[1].reasons
    assert {1: 1.0} == life.shares()
    assert [] == life.wait(3600)


def test_without_labels_the_champion_has_it_all_again_after_a_while():
    """Time alone decides it; no record has to come."""
    life = beside(Policy(GATES, Rollout(strategy="canary", give_up_s=60)))

    assert [] == life.wait(59)
    assert ["ROLLED_BACK 3", "RETIRED 2 test", "roll-back ACCEPTED", "alert rolled-back"] == told(life.wait(2))


def test_a_frozen_rollout_neither_advances_nor_promotes_but_is_rolled_back():
    """Once it is unfrozen, the evidence that has come meanwhile counts."""
    life = beside()
    life.ask("FREEZE")

    assert [] == life.measure(60, better=8)

    life.ask("UNFREEZE")

    assert ("ADVANCED", 3) == (life.state.deployment.kind, life.state.epoch)

    life.ask("FREEZE")

    assert "ROLLED_BACK 4" == told(life.measure(60, errors=40))[0]


def test_a_shadow_gets_no_traffic_and_a_bandits_arm_has_its_version_in_its_name():
    """The champion is always the first part, and live."""
    shadow = beside(Policy(GATES, Rollout(strategy="shadow"))).state.deployment
    bandit = beside(Policy(GATES, Rollout(strategy="bandit", unit="event"))).state.deployment

    assert [("champion", 1.0, "LIVE"), ("candidate", 0.0, "SHADOW")] == [
        (part.variant, part.share, part.mode) for part in shadow.traffic
    ]
    assert [("champion", 0.5, "LIVE"), ("arm-2", 0.5, "LIVE")] == [
        (part.variant, part.share, part.mode) for part in bandit.traffic
    ]
    assert ("entity", "event") == (shadow.unit, bandit.unit)


def test_a_bandit_is_rebalanced():
    """Shares follow the evidence; the arm keeps its name."""
    life = beside(Policy(GATES, Rollout(strategy="bandit", rebalance_rows=100, horizon_rows=2000)))

    assert ["REBALANCED 3", "rebalance ACCEPTED"] == told(life.measure(80))
    assert ["champion", "arm-2"] == [part.variant for part in life.state.deployment.traffic]


def test_one_rollout_at_a_time_and_the_newest_of_those_that_wait():
    """Who becomes ready meanwhile waits for the end; a newer one supersedes it and says so."""
    life = beside()

    assert ["REGISTERED 3 development", "PROMOTED 3 test"] == told(life.train())
    assert ["REGISTERED 4 development", "PROMOTED 4 test", "RETIRED 3 test"] == told(life.train())
    assert ("superseded by version 4, which is newer and ready as well",) == life.log[-1].reasons

    written = told(life.measure(60, errors=40))

    assert ["ROLLED_BACK 3", "RETIRED 2 test"] == written[:2]
    assert ["ROLLOUT_STARTED 4", "start-rollout ACCEPTED"] == written[-2:]
    assert {1: 0.9, 4: 0.1} == life.shares()


IMMEDIATE = [
    ({"feature_set": "77aa", "against": None}, "of other features"),
    ({"champion_metrics": {}, "checks": (PASSED, LOST)}, "whose file is lost"),
]


@pytest.mark.parametrize(("run", "case"), IMMEDIATE, ids=[case for _, case in IMMEDIATE])
def test_beside_a_champion_that_cannot_be_compared_it_takes_over_at_once(run, case):
    """There is nothing that a rollout could tell."""
    del case
    life = Life(CANARY)
    life.train()
    written = life.train(**run)

    assert "DEPLOYED 2" in told(written)
    assert {2: 1.0} == life.shares()


def test_the_first_version_takes_over_at_once():
    """There is no champion that it could be tried beside."""
    life = Life(CANARY)

    assert "DEPLOYED 1" in told(life.train())


def test_a_candidate_that_serving_cannot_load_is_rolled_back():
    """At once, with what serving said; a report about an older epoch changes nothing."""
    life = beside()
    life.serve()

    assert [] == life.serve(fails=2, epoch=1)

    written = life.serve(fails=2)

    assert ["ROLLED_BACK 3", "RETIRED 2 test", "roll-back ACCEPTED", "alert rolled-back"] == told(written)
    assert "serving@host cannot load version 2: it is damaged" == written[0].reason


def test_a_champion_that_serving_cannot_load_gives_way_to_the_last_one_that_served():
    """Passing over one that never served; who failed is never deployed again by itself."""
    life = Life()
    life.train()
    life.serve()
    life.train(2)

    written = life.serve(fails=3)

    assert ["ROLLED_BACK 4", "PROMOTED 1 production", "RETIRED 3 production"] == told(written)[:3]
    assert {1: 1.0} == life.shares()


def test_a_champion_that_has_served_stays_whatever_cannot_load_it_later():
    """A process that starts while the store is away is no reason to give up a good version, nor to skip a rollout."""
    life = Life(CANARY)
    life.train()
    life.serve()
    life.train()
    life.ask("PROMOTE", 2, immediate=True)
    life.serve()

    assert ({2: 1.0}, []) == (life.shares(), life.serve(fails=2))

    life.train()

    assert {2: 0.9, 3: 0.1} == life.shares()


def test_where_nothing_served_before_serving_keeps_what_it_has():
    """The first version fails: nothing is decided until a new one comes, and that takes over at once."""
    life = Life(CANARY)
    life.train()

    assert [] == life.serve(fails=1)
    assert "DEPLOYED 2" in told(life.train())


def test_a_person_may_deploy_again_what_failed():
    """The store was mended, say; if it fails again it is rolled back again."""
    life = Life()
    life.train()
    life.serve()
    life.train()
    life.serve(fails=2)
    life.ask("PROMOTE", 2)

    assert {2: 1.0} == life.shares()

    life.serve(fails=2)

    assert {1: 1.0} == life.shares()


def test_a_rollback_by_itself_raises_one_alert_that_names_the_version():
    """The operator learns what was tried and why it ended."""
    life = beside(Policy(GATES, Rollout(strategy="canary", guardrails=Guardrails(rows_min=10))))
    life.measure(20, errors=10)
    (alert,) = life.of(AlertRaised)

    assert alert.message.startswith("version 2 is rolled back, version 1 has it all: ")
    assert "alert/rolled-back/deployment/tiny/3" == alert.alert_id


def test_evidence_of_an_ended_rollout_changes_nothing():
    """It is of another rollout, or of none."""
    life = beside()
    life.measure(20)
    late = life.log[-1]
    life.ask("ABORT")
    life.train()

    assert [] == life.tell(late.model_copy(update={"until_offset": 999, "evidence_id": "evidence/late"}))
    assert {1: 0.9, 3: 0.1} == life.shares()


def test_only_the_measurements_of_the_newest_rollouts_are_kept():
    """What was decided upon is forgotten; not what is under way, however late others' measurements come."""
    life = beside()
    life.measure(20)
    one = life.log[-1]
    for number in range(10, 15):
        life.tell(one.model_copy(update={"rollout_id": f"rollout/tiny/{number}"}))

    assert ["rollout/tiny/2", "rollout/tiny/14"] == list(life.state.evidence)


def test_runs_that_come_while_a_rollout_is_under_way_are_judged_against_the_champion():
    """Not against the candidate, which nobody knows yet."""
    life = beside()

    written = life.tell(make_run("run-9", against=2))

    assert ["REJECTED run-9 development"] == told(written)
    assert ("it was compared with version 2, but version 1 is champion now",) == written[0].reasons
