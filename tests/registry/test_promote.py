"""The gate: what is admitted, what is refused, and in which words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import CheckResult
from millrace.contracts.gates_policy import Gates
from services.registry.promote import judge
from tests.registry.runs import FAILED, PASSED, make_run

ACCURACY = Gates(first=0.6)
MARGIN = Gates(first=0.6, margin=0.1)
MAE = Gates(metric="mae", first=5.0, margin=0.5)


LOST = CheckResult(name="champion-readable", passed=False, value=0, limit=1, message="artefact ab is damaged")


def mae(value: float, champion: float | None = None) -> dict:
    """Metrics of a regression run, for ``make_run``."""
    champions = {} if champion is None else {"mae": champion}
    return {"metrics": {"mae": value}, "champion_metrics": champions, "against": None if champion is None else 1}


def accuracy(value: float, champion: float) -> dict:
    """Metrics of a classification run compared with version 1."""
    return {"metrics": {"accuracy": value}, "champion_metrics": {"accuracy": champion}, "against": 1}


ADMITTED = [
    (ACCURACY, None, {}, "first model: accuracy 0.900 is at least 0.600"),
    (ACCURACY, None, {"metrics": {"accuracy": 0.6}}, "first model: accuracy 0.600 is at least 0.600"),
    (MAE, None, mae(5.0), "first model: mae 5.000 is at most 5.000"),
    (ACCURACY, 1, {"against": 1}, "accuracy 0.900 beats the 0.800 of version 1 on the same 500 rows"),
    (ACCURACY, 1, accuracy(0.8002, 0.8001), "accuracy 0.8002 beats the 0.8001 of version 1 on the same 500 rows"),
    (MARGIN, 1, accuracy(0.7, 0.6), "accuracy 0.700 beats the 0.600 of version 1 on the same 500 rows"),
    (MAE, 1, mae(3.5, 4.0), "mae 3.500 beats the 4.000 of version 1 on the same 500 rows"),
    (ACCURACY, 1, accuracy(0.5, 0.4), "accuracy 0.500 beats the 0.400 of version 1 on the same 500 rows"),
]
REFUSED = [
    (
        ACCURACY,
        None,
        {"metrics": {"accuracy": 0.5}},
        "first model: accuracy 0.500 is below the 0.600 that gates.first asks for (500 rows)",
    ),
    (MAE, None, mae(5.0001), "first model: mae 5.0001 is above the 5.0000 that gates.first asks for (500 rows)"),
    (ACCURACY, 1, accuracy(0.8, 0.85), "accuracy 0.800 does not beat the champion's 0.850 on the same 500 rows"),
    (ACCURACY, 1, accuracy(0.8, 0.8), "accuracy 0.800 does not beat the champion's 0.800 on the same 500 rows"),
    (MAE, 1, mae(4.1, 4.0), "mae 4.100 does not beat the champion's 4.000 on the same 500 rows"),
    (
        MARGIN,
        1,
        accuracy(0.85, 0.8),
        (
            "accuracy 0.850 beats the champion's 0.800 by 0.050 on the same 500 rows, "
            "less than the 0.100 that gates.margin asks for"
        ),
    ),
    (ACCURACY, 2, {"against": 1}, "it was compared with version 1, but version 2 is champion now"),
    (ACCURACY, 2, {}, "it was compared with no champion, but version 2 is champion now"),
    (ACCURACY, None, {"against": 1}, "it was compared with version 1, but there is no champion now"),
    (ACCURACY, None, {"checks": ()}, "no check was reported, so nothing shows that it may serve"),
    (
        ACCURACY,
        None,
        {"checks": (PASSED, FAILED)},
        "check onnx-parity failed: 0.02 against a limit of 0.001: 10 of 500 rows differ",
    ),
    (ACCURACY, None, {"holdout_rows": 0}, "it was judged on no rows"),
    (ACCURACY, None, {"metrics": {"mae": 1.0}}, "the run has no accuracy, the gate's metric; it has ['mae']"),
    (
        ACCURACY,
        None,
        {"metrics": {"accuracy": math.nan}},
        "the run has accuracy nan, which is not a finite number",
    ),
    (
        MAE,
        1,
        mae(1.0, math.inf),
        "the champion's measurement has mae inf, which is not a finite number",
    ),
    (
        ACCURACY,
        1,
        {"against": 1, "champion_metrics": {}},
        "the champion's measurement has no accuracy, the gate's metric; it has []",
    ),
]


@pytest.mark.parametrize(("gates", "champion", "run", "reason"), ADMITTED)
def test_a_run_that_passes_every_gate_is_admitted(gates, champion, run, reason):
    """At the limit is inside, and rounding of a decimal subtraction does not refuse what equals the margin."""
    verdict = judge(make_run(**run), gates, champion)

    assert (True, (reason,)) == (verdict.admitted, verdict.reasons)


@pytest.mark.parametrize(("gates", "champion", "run", "reason"), REFUSED)
def test_one_failed_gate_refuses_and_says_so(gates, champion, run, reason):
    """Each rule refuses alone, with the values seen and the rows they were seen on."""
    verdict = judge(make_run(**run), gates, champion)

    assert (False, (reason,)) == (verdict.admitted, verdict.reasons)


OTHER_FEATURES = (
    "judged like a first model of feature set 3f9a, as version 2 needs feature set 77 and cannot be compared"
)
LOST_FILE = "judged like a first model of feature set 3f9a, as version 2 cannot be compared: artefact ab is damaged"
UNREADABLE = {"against": 2, "champion_metrics": {}, "checks": (PASSED, LOST)}
INCOMPARABLE = [
    ("77", {}, True, f"{OTHER_FEATURES}: accuracy 0.900 is at least 0.600"),
    (
        "77",
        {"metrics": {"accuracy": 0.5}},
        False,
        f"{OTHER_FEATURES}: accuracy 0.500 is below the 0.600 that gates.first asks for (500 rows)",
    ),
    ("77", {"against": 1}, False, "it was compared with version 1, but version 2 is champion now"),
    ("3f9a", {}, False, "it was compared with no champion, but version 2 is champion now"),
    ("3f9a", UNREADABLE, True, f"{LOST_FILE}: accuracy 0.900 is at least 0.600"),
    (
        "3f9a",
        {**UNREADABLE, "metrics": {"accuracy": 0.5}},
        False,
        f"{LOST_FILE}: accuracy 0.500 is below the 0.600 that gates.first asks for (500 rows)",
    ),
    (
        "3f9a",
        {**UNREADABLE, "checks": (FAILED, LOST)},
        False,
        "check onnx-parity failed: 0.02 against a limit of 0.001: 10 of 500 rows differ",
    ),
    ("3f9a", {**UNREADABLE, "checks": (LOST,)}, False, "no check was reported, so nothing shows that it may serve"),
    (
        "3f9a",
        {**UNREADABLE, "against": 1},
        False,
        "check champion-readable failed: 0 against a limit of 1: artefact ab is damaged",
    ),
]


@pytest.mark.parametrize(("features", "run", "admitted", "reason"), INCOMPARABLE)
def test_a_champion_that_cannot_be_compared_is_judged_as_none(features, run, admitted, reason):
    """One of other features, or one whose file is lost; the reason says so, and every other rule still holds."""
    verdict = judge(make_run(**run), ACCURACY, 2, features)

    assert (admitted, reason) == (verdict.admitted, verdict.reasons[0])


def test_a_refusal_names_every_gate_that_failed():
    """Nobody has to train again to learn of the next fault."""
    run = make_run(against=1, checks=(FAILED,), holdout_rows=0, metrics={})

    reasons = judge(run, ACCURACY, champion=2).reasons

    assert ["check", "it was judged on no rows", "it was compared", "the run has no accuracy"] == [
        next(start for start in ("check", "it was judged on no rows", "it was compared", "the run has no accuracy")
             if reason.startswith(start))
        for reason in reasons
    ]  # fmt: skip


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(candidate=st.floats(), other=st.floats(), metric=st.sampled_from(["accuracy", "log_loss", "mae", "rmse"]))
def test_only_a_finite_gain_above_zero_is_admitted(candidate, other, metric):
    """Whatever the numbers, also NaN and infinity: a champion is never replaced by something not better."""
    run = make_run(against=1, metrics={metric: candidate}, champion_metrics={metric: other})
    better = candidate > other if metric == "accuracy" else candidate < other

    admitted = judge(run, Gates(metric=metric, first=0.0), champion=1).admitted

    assert (better and math.isfinite(candidate) and math.isfinite(other)) == admitted


@given(candidate=finite, other=finite, margin=st.floats(min_value=0, max_value=1e6))
def test_a_wider_margin_never_admits_more(candidate, other, margin):
    """The gate is monotone in its margin."""
    run = make_run(against=1, metrics={"mae": candidate}, champion_metrics={"mae": other})
    narrow, wide = (judge(run, Gates(metric="mae", first=0, margin=m), champion=1) for m in (margin, margin * 2))

    assert narrow.admitted or not wide.admitted
