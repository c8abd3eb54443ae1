"""What follows from the evidence of a rollout: a table of cases for each strategy."""

import pytest

from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_policy import Guardrails, Rollout
from services.registry.rollout.evidence import Evidence
from services.registry.rollout.examples import arm, deployed, measured, pair
from services.registry.rollout.judge import Hold, Promote, RollBack, Shift, opening, verdict_on

GATES = Gates(first=0.6)
RAILS = Guardrails(loss_margin=0.05)
CANARY = Rollout(strategy="canary", steps=(0.1, 0.5), step_rows=50, rows_max=1000, guardrails=RAILS)
SHADOW = Rollout(strategy="shadow", shadow_rows=100, rows_max=1000, guardrails=RAILS)
GREEN = Rollout(strategy="blue_green", shadow_rows=100, rows_max=1000)
AB = Rollout(strategy="ab", horizon_rows=1000, guardrails=RAILS)
BANDIT = Rollout(strategy="bandit", horizon_rows=1000, rebalance_rows=100)
FIRST = deployed("canary", [("candidate", 0.1)])
LAST = deployed("canary", [("candidate", 0.5)], epoch=3, step=1)
UNSEEN = deployed("shadow", [("candidate", 0.0)], mode="SHADOW")


def seen(*arms, pairs=(), epoch=2, at_ms=0):
    """The evidence of one measurement."""
    return Evidence().add(measured(epoch=epoch, arms=arms, pairs=pairs, measured_at_ms=at_ms))


def candidate(rows=200, **counts):
    """A candidate that scored so many events."""
    return arm("candidate", scored_rows=rows, scoring_us=20 * rows, **counts)


def champion(rows=200, **counts):
    """The champion, likewise."""
    return arm("champion", scored_rows=rows, scoring_us=20 * rows, **counts)


def judged(rollout, deployment, evidence, now_ms=0, gates=GATES):
    """Its kind and the verdict."""
    verdict = verdict_on(rollout, gates, deployment, evidence, now_ms)
    return type(verdict), verdict


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("immediate", (1.0, "LIVE")),
        ("blue_green", (0.0, "SHADOW")),
        ("shadow", (0.0, "SHADOW")),
        ("canary", (0.05, "LIVE")),
        ("ab", (0.5, "LIVE")),
        ("bandit", (0.5, "LIVE")),
    ],
)
def test_how_a_rollout_opens(strategy, expected):
    """Share and mode of the candidate in the first deployment."""
    assert expected == opening(Rollout(strategy=strategy))


@pytest.mark.parametrize(
    ("counts", "guardrail", "words"),
    [
        ({"rows": 200, "error_rows": 8}, "errors", "error share 4.0 % of 200 events is above 1.0 %"),
        ({"rows": 3, "error_rows": 3}, "errors", "error share 100.0 % of 3 events"),
        ({"rows": 0, "error_rows": 3}, "errors", "error share 100.0 % of 3 events"),
        ({"rows": 200, "missing_rows": 9}, "missing", "share of missing scores 4.5 % of 200 events"),
    ],
)
@pytest.mark.parametrize("strategy", ["canary", "shadow", "blue_green", "ab", "bandit"])
def test_faults_roll_back_without_a_label(strategy, counts, guardrail, words):
    """Under each strategy, with the numbers seen."""
    mode = "SHADOW" if strategy in {"shadow", "blue_green"} else "LIVE"
    deployment = deployed(strategy, [("candidate", 0.0 if mode == "SHADOW" else 0.1)], mode=mode)
    kind, verdict = judged(Rollout(strategy=strategy), deployment, seen(candidate(**counts), champion()))

    assert (RollBack, guardrail) == (kind, verdict.guardrail)
    assert words in verdict.reason


def test_one_or_two_faults_prove_nothing():
    """One error in three events is held; a limit of 0 bears none."""
    strict = CANARY.model_copy(update={"guardrails": Guardrails(error_share_max=0)})

    assert Hold is judged(CANARY, FIRST, seen(candidate(3, error_rows=1)))[0]
    assert RollBack is judged(strict, FIRST, seen(candidate(3, error_rows=1)))[0]


def test_a_version_that_begins_to_fail_late_is_found_in_its_epoch():
    """5,000 sound events do not cover up for ten errors among the next 60: the present epoch is judged for itself."""
    evidence = seen(candidate(5000), champion(5000)).add(
        measured(epoch=3, arms=[candidate(60, error_rows=10), champion(60)])
    )
    kind, verdict = judged(CANARY, LAST, evidence)

    assert (RollBack, "errors") == (kind, verdict.guardrail)


def test_a_slow_version_is_rolled_back_once_enough_rows_show_it():
    """Six times the champion's time per event; after 49 events, or some milliseconds, it is too early to say."""
    slow = arm("candidate", scored_rows=1000, scoring_us=1000 * 120)
    kind, verdict = judged(CANARY, FIRST, seen(slow, champion(1000)))

    assert (RollBack, "latency") == (kind, verdict.guardrail)
    assert "120 us an event over 1000 events, 6.0 times the champion's 20 us" in verdict.reason
    early = arm("candidate", scored_rows=49, scoring_us=900_000)
    stall = arm("candidate", scored_rows=148, scoring_us=148 * 20 + 22_000, scoring_batches=10)
    for told in (early, stall):
        assert Hold is judged(CANARY, FIRST, seen(told, champion(148)))[0]


def test_one_stalled_batch_is_no_slow_version():
    """Nine micro-batches prove nothing, however slow; the tenth does."""
    stalled = {"scored_rows": 1000, "scoring_us": 1000 * 120}
    judge = [
        judged(CANARY, FIRST, seen(arm("candidate", scoring_batches=batches, **stalled), champion(1000)))[0]
        for batches in (1, 9, 10)
    ]

    assert [Hold, Hold, RollBack] == judge


def test_a_version_that_becomes_slow_late_is_found_in_its_epoch():
    """5,000 quick events do not cover up for 200 slow ones."""
    quick = arm("candidate", scored_rows=5000, scoring_us=5000 * 20, scoring_batches=50)
    slow = arm("candidate", scored_rows=1000, scoring_us=1000 * 120, scoring_batches=20)
    evidence = seen(quick, champion(5000)).add(measured(epoch=3, arms=[slow, champion(1000)]))
    kind, verdict = judged(CANARY, LAST, evidence)

    assert (RollBack, "latency") == (kind, verdict.guardrail)
    assert "over 1000 events" in verdict.reason


def test_a_canary_takes_its_steps_then_all():
    """50 compared events of each epoch; the promotion rests on both."""
    first = seen(candidate(), champion(), pairs=[pair(50, worse=1, better=1)])
    kind, verdict = judged(CANARY, FIRST, first)

    assert (Shift, {"champion": 0.5, "candidate": 0.5}, 1) == (kind, verdict.shares, verdict.step)

    second = first.add(measured(epoch=3, arms=[candidate(150), champion(150)], pairs=[pair(150, worse=3, better=4)]))

    assert Hold is judged(CANARY, LAST, first)[0], "the last epoch has no label of its own"
    assert (Promote, "candidate") == (judged(CANARY, LAST, second)[0], judged(CANARY, LAST, second)[1].variant)
    assert "not worse than the champion" in judged(CANARY, LAST, second)[1].reason


def test_events_before_a_step_do_not_run_out_after_it():
    """5,000 of 1,000 were compared while nobody looked: the step they brought is not taken back for them."""
    first = seen(candidate(5000), champion(5000), pairs=[pair(5000, worse=1, better=1)])

    assert Shift is judged(CANARY, FIRST, first)[0]
    assert Hold is judged(CANARY, LAST, first)[0]


def test_a_worse_canary_is_rolled_back():
    """12 worse, 1 better of 80; the reason says so."""
    kind, verdict = judged(CANARY, FIRST, seen(candidate(), champion(), pairs=[pair(80, worse=12, better=1)]))

    assert (RollBack, "metric") == (kind, verdict.guardrail)
    assert "loss differs by +0.138 on the same 80 events" in verdict.reason


def test_a_slightly_worse_version_is_left_alone_within_the_margin():
    """Shown to be worse, by 0.02 of 0.05 that are allowed: no rollback, and in the end promoted."""
    evidence = seen(candidate(3000), champion(3000), pairs=[pair(3000, worse=70, better=10)], epoch=3)

    assert Promote is judged(CANARY.model_copy(update={"rows_max": 9000}), LAST, evidence)[0]


def test_a_share_does_not_grow_while_it_looks_bad():
    """Four errors of 300 may be chance, and a difference above the margin as well: neither is proof, neither grows."""
    evidence = seen(candidate(300, error_rows=4), champion(300), pairs=[pair(60, worse=1, better=1)])
    looks_bad = seen(candidate(), champion(), pairs=[pair(60, worse=5, better=1)])

    assert "which may be chance" in judged(CANARY, FIRST, evidence)[1].reason
    assert "it looks so" in judged(CANARY, FIRST, looks_bad)[1].reason
    assert [Hold, Hold] == [judged(CANARY, FIRST, one)[0] for one in (evidence, looks_bad)]


def test_without_a_verdict_the_rows_run_out():
    """After 1,000 events a difference of 0.01 is shown to be within 0.05; one of 0.04 is not, and ends the rollout."""
    small = seen(candidate(), pairs=[pair(1000, worse=60, better=50)], epoch=3)
    kind, verdict = judged(CANARY, LAST, seen(candidate(), pairs=[pair(1000, worse=180, better=140)], epoch=3))

    assert Promote is judged(CANARY, LAST, small)[0]
    assert (RollBack, "horizon") == (kind, verdict.guardrail)


def test_a_shadow_needs_labels_and_proof():
    """100 compared events at least, and then the margin shown to hold."""
    early = seen(candidate(), pairs=[pair(99)])
    good = seen(candidate(), pairs=[pair(100)])

    assert [Hold, Promote] == [judged(SHADOW, UNSEEN, one)[0] for one in (early, good)]


def test_losses_without_bounds_are_judged_by_their_sums():
    """Mean absolute errors: 200 differences of mean 0 and variance 0.01 are within 0.05; of mean 0.1 they are not."""

    def differing(mean):
        whole = pair(200).model_copy(
            update={"difference_sum": 200 * mean, "difference_squares_sum": 200 * (0.01 + mean**2)}
        )
        return judged(SHADOW, UNSEEN, seen(candidate(), pairs=[whole]), gates=Gates(first=1.0, metric="mae"))[0]

    assert [Promote, RollBack] == [differing(0.0), differing(0.1)]


def test_blue_green_asks_for_no_labels():
    """100 events without fault promote; one error in them is above the limit and holds until it is not."""
    deployment = deployed("blue_green", [("candidate", 0.0)], mode="SHADOW")
    cases = [candidate(99), candidate(100), candidate(101, error_rows=2), candidate(200, error_rows=2)]

    assert [Hold, Promote, Hold, Promote] == [judged(GREEN, deployment, seen(one, champion()))[0] for one in cases]


def test_an_ab_test_is_judged_at_its_horizon():
    """Nothing before; then better at alpha or not at all, with means, interval and p in the reason."""
    deployment = deployed("ab", [("candidate", 0.5)])

    def arms(rows, wrong, others):
        return seen(
            candidate(rows, labelled_rows=rows, loss_sum=wrong, loss_squares_sum=wrong),
            champion(rows, labelled_rows=rows, loss_sum=others, loss_squares_sum=others),
        )

    early, better, equal = arms(499, 20, 70), arms(500, 30, 60), arms(500, 55, 60)
    kinds = [judged(AB, deployment, one)[0] for one in (early, better, equal)]

    assert [Hold, Promote, RollBack] == kinds
    assert (
        "candidate has a mean loss of 0.0600 over 500 events, the champion 0.1200 over 500; difference -0.0600, "
        "90 % interval [-0.0896, -0.0304], two-proportion z p = 0.00046, needs 0.05"
    ) in judged(AB, deployment, better)[1].reason
    assert "horizon" == judged(AB, deployment, equal)[1].guardrail


def test_several_arms_of_an_ab_test_share_alpha():
    """What one arm shows at 0.04 is enough alone, and not enough for the best of two; one put out still counts."""

    def labelled(name, rows, wrong):
        return arm(name, scored_rows=rows, labelled_rows=rows, loss_sum=wrong, loss_squares_sum=wrong)

    base = [labelled("champion", 500, 60), labelled("candidate", 500, 44)]
    alone = judged(AB, deployed("ab", [("candidate", 0.5)]), seen(*base))
    two = judged(AB, deployed("ab", [("candidate", 0.3), ("other", 0.3)]), seen(*base, labelled("other", 500, 60)))
    put_out = judged(AB, deployed("ab", [("candidate", 0.5)]), seen(*base, arm("other", scored_rows=9, error_rows=9)))

    assert [Promote, RollBack, RollBack] == [alone[0], two[0], put_out[0]]
    assert "needs 0.025" in put_out[1].reason


def test_a_harmful_ab_test_ends_early():
    """After 400 of 1,000 events it is clear that the candidate is worse."""
    evidence = seen(candidate(labelled_rows=200, loss_sum=60, loss_squares_sum=60),
                    champion(labelled_rows=200, loss_sum=20, loss_squares_sum=20))  # fmt: skip
    kind, verdict = judged(AB, deployed("ab", [("candidate", 0.5)]), evidence)

    assert (RollBack, "metric") == (kind, verdict.guardrail)


def test_an_ab_test_of_one_arm_cannot_be_judged():
    """With one entity all events may fall to the champion: at the horizon that is a rollback, in words."""
    evidence = seen(champion(labelled_rows=1000, loss_sum=60))
    kind, verdict = judged(AB, deployed("ab", [("candidate", 0.5)]), evidence)

    assert (RollBack, "horizon") == (kind, verdict.guardrail)
    assert "champion has 1000, candidate has 0" in verdict.reason


def bandit_arms(rows, *wrong):
    """The champion and arms with so many wrong answers of so many rows."""
    names = ["champion", *(f"arm-{2 + at}" for at in range(len(wrong) - 1))]
    return seen(*(arm(name, scored_rows=rows, labelled_rows=rows, loss_sum=bad, loss_squares_sum=bad)
                  for name, bad in zip(names, wrong, strict=True)))  # fmt: skip


def test_a_bandit_follows_its_posteriors_to_the_horizon():
    """Too few rows, new shares, the better arm, or the champion."""
    deployment = deployed("bandit", [("arm-2", 0.5)])
    kind, verdict = judged(BANDIT, deployment, bandit_arms(60, 12, 4))

    assert Hold is judged(BANDIT, deployment, bandit_arms(49, 12, 4))[0]
    assert (Shift, 1) == (kind, verdict.step)
    assert verdict.shares["arm-2"] > 0.9
    assert Promote is judged(BANDIT, deployment, bandit_arms(500, 60, 40))[0]
    assert (RollBack, "horizon") == (
        judged(BANDIT, deployment, bandit_arms(500, 40, 60))[0],
        judged(BANDIT, deployment, bandit_arms(500, 40, 60))[1].guardrail,
    )


def test_of_several_arms_the_one_that_fails_is_put_out():
    """The others go on, and the next shares leave it at 0."""
    deployment = deployed("bandit", [("arm-2", 0.3), ("arm-3", 0.3)])
    failing = arm("arm-2", scored_rows=20, error_rows=20)
    kind, verdict = judged(BANDIT, deployment, seen(failing, arm("arm-3", scored_rows=20)))

    assert (Shift, pytest.approx({"champion": 0.7, "arm-2": 0.0, "arm-3": 0.3})) == (kind, verdict.shares)
    assert "arm-2 is put out: error share" in verdict.reason

    after = deployed("bandit", [("arm-2", 0.0), ("arm-3", 0.3)], epoch=3, step=1)
    going_on = [
        arm("champion", labelled_rows=80, loss_sum=8),
        arm("arm-3", scored_rows=60, labelled_rows=60, loss_sum=6),
    ]
    evidence = seen(failing).add(measured(epoch=3, arms=going_on))
    shares = judged(BANDIT, after, evidence)[1].shares

    assert 0.0 == shares["arm-2"]
    assert pytest.approx(1.0) == sum(shares.values())


@pytest.mark.parametrize("strategy", ["canary", "shadow", "ab", "bandit"])
def test_without_labels_the_champion_has_it_all_again(strategy):
    """Not before ``give_up_s``; a label that came in this epoch begins the time anew."""
    rollout = Rollout(strategy=strategy, give_up_s=60)
    deployment = deployed(strategy, [("candidate", 0.1)])
    blind = seen(candidate(), champion(), at_ms=50_000)
    known = seen(candidate(labelled_rows=10), champion(), pairs=[pair(10)], at_ms=50_000)
    late = judged(rollout, deployment, known, 110_000)

    assert Hold is judged(rollout, deployment, blind, 59_999)[0]
    assert (RollBack, "no-labels") == (
        judged(rollout, deployment, blind, 60_000)[0], judged(rollout, deployment, blind, 60_000)[1].guardrail,
    )  # fmt: skip
    assert Hold is judged(rollout, deployment, known, 109_999)[0]
    assert (RollBack, "no-labels") == (late[0], late[1].guardrail)
    assert "no further label for 60 s, after 10 labelled events" in late[1].reason


def test_blue_green_gives_up_only_if_nothing_was_scored():
    """Labels do not matter; events do."""
    rollout = GREEN.model_copy(update={"give_up_s": 60})
    deployment = deployed("blue_green", [("candidate", 0.0)], mode="SHADOW")

    assert Hold is judged(rollout, deployment, seen(candidate(10)), 10**9)[0]
    assert (RollBack, "horizon") == (
        judged(rollout, deployment, Evidence(), 60_000)[0], judged(rollout, deployment, Evidence(), 60_000)[1].guardrail
    )  # fmt: skip


def test_what_tries_nothing_out_is_held():
    """An immediate deployment has nothing to judge."""
    assert Hold is judged(Rollout(), deployed("immediate", []), Evidence())[0]
