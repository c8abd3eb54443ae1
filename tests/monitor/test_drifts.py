"""From many detectors to one decision: what asks, what only warns, and what stands beside it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from millrace.contracts.gates_policy import Slice
from millrace.contracts.monitor_policy import Watched, Windows
from services.monitor.core import INITIAL, decide
from services.monitor.errors_watch import PERSISTING
from services.monitor.evidence import RIGHT_WRONG
from services.monitor.facts import Place
from services.monitor.measure import Measured
from services.monitor.policy import Policy
from services.monitor.watch import Drift, Finding, Uncompared, Watch
from tests.monitor.drifting import noise, profile, stream

PLACE = Place("m", "s-samples", 0, 86_400_000)
POLICY = Policy(classes=2, features={"delta": 1e-6}, horizon_rows=20_000, metrics_window_rows=500)
ROWS = 6_000
STEP = np.arange(ROWS) >= 4_000


def errors(rates: Any, seed: int = 3) -> Any:
    """Which answers are wrong."""
    return np.random.default_rng(seed).random(len(rates)) < rates


def found(policy: Policy, rows: Any, profiles: Any = None) -> list[Finding]:
    """All findings of a fresh watch."""
    return Watch(policy, (profiles or {}).get).take(rows)


def drifts(findings: list[Finding], severity: str | None = None) -> list[Drift]:
    """The drifts among them."""
    return [each for each in findings if isinstance(each, Drift) and severity in {None, each.severity}]


def requests(findings: list[Finding]) -> list[Any]:
    """What the monitor asks for, nothing else being under way."""
    return [event for event in decide(INITIAL, PLACE, findings, 0) if event.schema_name == "retrain-model"]


def test_a_stable_stream_of_20_features_asks_for_nothing() -> None:
    """Nor does it warn: 30,000 events, each with its label."""
    rows = stream(noise(30_000, 20), errors(np.full(30_000, 0.2)))

    assert not drifts(found(POLICY, rows))


def test_an_error_that_rises_asks_once_and_says_why() -> None:
    """With the means, the counts of right and wrong, since when, how sure, and the feature that moved with it."""
    features = noise(ROWS, 5)
    features["f3"] = features["f3"] + 2 * STEP
    findings = found(POLICY, stream(features, errors(np.where(STEP, 0.5, 0.1))))
    alarms, warnings = drifts(findings, "ALARM"), drifts(findings, "WARNING")
    (first, *others), (request,) = alarms, requests(findings)

    assert {PERSISTING} >= {alarm.detector for alarm in others}, "the rule may speak; the detector does so once"
    assert ("error", "labels", "before") == (first.subject, first.confirmed_by, first.compared_with)
    assert (0.1, 0.5) == pytest.approx((first.change.before, first.change.after), abs=0.1)
    assert RIGHT_WRONG == first.picture.categories
    assert first.change.before_rows == sum(first.picture.before_counts)
    assert first.picture.after_counts[1] == round(first.change.after * first.change.after_rows)
    assert first.since_time_ms == pytest.approx(4_000_000, abs=50_000)
    assert first.since_offset == pytest.approx(8_000, abs=100)
    assert first.change.log_e_value is not None
    assert first.change.log_e_value >= np.log(4_000_000)
    assert [drift.key for drift in warnings if drift.offset < first.offset] == list(first.evidence)
    assert [first.since_time_ms] == [request.since_time_ms]
    assert ("drift/m/error/0/%d" % first.offset,) + tuple(  # noqa: UP031, RUF005  # the ids in words
        f"drift/m/feature:f3/0/{drift.offset}" for drift in warnings if drift.offset < first.offset
    ) == request.evidence


def test_inputs_that_move_only_warn() -> None:
    """The error does not rise: the drift is recorded with its distributions, and nothing is asked for."""
    features = noise(ROWS, 5)
    features["f3"] = features["f3"] + 2 * STEP
    findings = found(POLICY, stream(features, errors(np.full(ROWS, 0.1))))
    (warning, *_) = drifts(findings)

    assert {"WARNING"} == {drift.severity for drift in drifts(findings)}
    assert ("feature:f3", "", ()) == (warning.subject, warning.confirmed_by, warning.evidence)
    assert len(warning.picture.bins) == 1 + len(warning.picture.before_counts) <= 21
    assert warning.change.after_rows == sum(warning.picture.after_counts)
    assert not requests(findings)


def test_windows_are_compared_with_the_training_rows() -> None:
    """A difference that was there from the first row, which no detector of changes can see."""
    known = profile(noise(2_000, 2, 8), np.full(2_000, 0.9))
    features = noise(ROWS, 2)
    features["f1"] = features["f1"] + 1
    policy = replace(POLICY, windows=Windows(detectors=("ks",), window_s=500))
    told = drifts(found(policy, stream(features, errors(np.full(ROWS, 0.1))), {1: known}))

    assert {("feature:f1", "windows", "training", "WARNING")} == {
        (drift.subject, drift.origin, drift.compared_with, drift.severity) for drift in told
    }
    assert told[0].change.p_value is not None
    assert told[0].change.p_value < 0.001
    assert (sum(told[0].picture.before_counts), told[0].since_offset) == (2_000, 0)
    assert "f1" in told[0].message


def test_a_deployment_triggers_nothing() -> None:
    """A new champion that says other things, with other scores, and is wrong more often, is no change of the world."""
    watch = tuple(Watched(on=on, detector="adwin") for on in ("predictions", "scores", "error"))  # type: ignore[arg-type]
    versions = np.where(STEP, 2, 1)
    rows = stream(
        noise(ROWS, 3), errors(np.where(STEP, 0.4, 0.1)), versions=versions, confidence=np.where(STEP, 0.6, 0.9)
    )
    profiles = {version: profile(noise(1000, 3, version), np.full(1000, 0.8)) for version in (1, 2)}
    changed = replace(POLICY, watch=watch)

    assert not drifts(found(changed, rows, profiles))
    assert drifts(found(changed, replace(rows, versions=np.minimum(rows.versions, 1)), profiles)), "it does see it"


@pytest.mark.parametrize(("on", "subject"), [("predictions", "prediction"), ("scores", "score:1"), ("error", "error")])
def test_what_else_is_watched_warns(on: Any, subject: str) -> None:
    """Each with its own subject and an id of its own."""
    rows = stream(noise(ROWS, 1), errors(np.where(STEP, 0.3, 0.1)), confidence=np.where(STEP, 0.6, 0.9))
    rows = replace(rows, values=np.where(rows.is_label, np.nan, rows.offsets >= 8_000))
    policy = replace(POLICY, watch=(Watched(on=on, detector="adwin"),), warm_up_rows=ROWS)

    warnings = [drift for drift in drifts(found(policy, rows)) if drift.origin]

    assert subject in {drift.subject for drift in warnings}
    assert {("watch-0", "WARNING")} == {(drift.origin, drift.severity) for drift in warnings}
    assert {"watch-0/ADWIN/"} == {drift.key.rest for drift in warnings}


def test_a_part_of_the_rows_is_watched_by_itself() -> None:
    """An error that rises in one part and falls in the other is seen in both, and named."""
    features = {"f0": np.random.default_rng(5).choice([0.0, 1.0], ROWS)}
    rates = np.where(STEP, np.where(features["f0"] == 1, 0.5, 0.0), 0.25)
    policy = replace(
        POLICY,
        slices=(Slice(feature="f0", values=(0, 1)),),
        watch=(Watched(on="error", detector="adwin", slices=True),),
    )
    warnings = [drift for drift in drifts(found(policy, stream(features, errors(rates)))) if drift.slice]

    assert {("f0 = 0", False), ("f0 = 1", True)} == {(drift.slice, drift.change.rose) for drift in warnings}
    assert all(drift.since_time_ms == pytest.approx(4_000_000, abs=200_000) for drift in warnings)


def calibrated(seed: int = 9, rows: int = 2_000) -> Any:
    """A profile of a model that is right as often as it says."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1, rows)
    return profile(noise(rows, 1), confidence, (rng.random(rows) < confidence).astype(float))


@pytest.mark.parametrize(("estimate", "delay_ms", "severity"), [
    ("warn", 0, "WARNING"), ("ask", 0, "ALARM"), ("ask", 86_400_000, "WARNING"), ("off", 0, None),
])  # fmt: skip
def test_the_estimate_speaks_before_labels_come(estimate: Any, delay_ms: int, severity: str | None) -> None:
    """From sure to unsure, without a label: it warns; it asks only if told to, and only when labels are late."""
    policy = replace(POLICY, estimate=estimate, label_delay_ms=delay_ms)
    confidence = np.where(STEP, 0.6, 0.95)
    findings = found(policy, stream(noise(ROWS, 1), STEP, confidence=confidence, delay=None), {1: calibrated()})
    told = [drift for drift in drifts(findings) if drift.subject == "estimated_error"]

    assert ([severity] if severity else []) == [drift.severity for drift in told]
    assert bool(requests(findings)) == (severity == "ALARM")
    for drift in told:
        assert 8_000 > drift.offset > 4_000 > drift.change.before_rows - 100
        assert ("estimate" if severity == "ALARM" else "") == drift.confirmed_by
        assert (0.05, 0.4) == pytest.approx((drift.change.before, drift.change.after), abs=0.06)


def test_labels_in_their_time_are_not_late() -> None:
    """While labels come as declared, the estimate only warns, and the error's own detector asks."""
    policy = replace(POLICY, estimate="ask", label_delay_ms=500_000)
    rows = stream(noise(ROWS, 1), errors(np.where(STEP, 0.4, 0.05)), confidence=np.where(STEP, 0.6, 0.95), delay=500)
    told = drifts(found(policy, rows, {1: calibrated()}))
    estimated = [drift for drift in told if drift.subject == "estimated_error"]
    (alarm, *_) = [drift for drift in told if drift.severity == "ALARM"]

    assert ["WARNING"] == [drift.severity for drift in estimated]
    assert ("error", "labels") == (alarm.subject, alarm.confirmed_by)
    assert estimated[0].key in alarm.evidence
    assert estimated[0].offset < alarm.offset


def test_estimated_metrics_are_near_the_truth() -> None:
    """Of a calibrated model, by windows, and marked as estimates."""
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 1, ROWS)
    rows = stream(noise(ROWS, 1), rng.random(ROWS) > confidence, confidence=confidence)
    findings = [each for each in found(POLICY, rows, {1: calibrated()}) if isinstance(each, Measured)]
    estimates = {each.total_rows: each for each in findings if each.source == "estimate"}
    truths = {each.total_rows: each for each in findings if each.source == "labels" and not each.variant}

    assert ROWS // 100 == len(estimates)
    inside = [
        estimates[total].low["accuracy"] <= truths[total].metrics["accuracy"] <= estimates[total].high["accuracy"]
        for total in range(500, ROWS + 1, 100)
    ]
    assert np.mean(inside) > 0.8
    assert estimates[ROWS].metrics["log_loss"] == pytest.approx(truths[ROWS].metrics["log_loss"], abs=0.06)


def test_an_earlier_state_that_comes_back_is_recognised() -> None:
    """Version 1 was trained on it, version 2 on another: the alarm names version 1."""
    rng = np.random.default_rng(4)
    shift = np.where((np.arange(ROWS) >= 2_000) & (np.arange(ROWS) < 4_500), 2.0, 0.0)
    features = {"f0": rng.normal(size=ROWS) + shift, "f1": rng.normal(size=ROWS)}
    rates = np.where(np.arange(ROWS) < 4_500, 0.1, 0.6)
    profiles = {
        1: profile({"f0": rng.normal(size=2000), "f1": rng.normal(size=2000)}),
        2: profile({"f0": rng.normal(size=2000) + 2, "f1": rng.normal(size=2000)}),
    }
    versions = np.where(np.arange(ROWS) < 2_500, 1, 2)
    rows = stream(features, errors(rates), versions=versions, delay=200)
    (alarm, *_) = drifts(found(POLICY, rows, profiles), "ALARM")
    off = drifts(found(replace(POLICY, recurring=False), rows, profiles), "ALARM")

    assert (2, 1) == (alarm.version, alarm.recurs_version)
    assert alarm.recurs_distance is not None
    assert alarm.own_distance is not None
    assert alarm.recurs_distance < alarm.own_distance / 2
    assert {None} == {drift.recurs_version for drift in off}


def test_a_version_without_a_profile_is_said_once() -> None:
    """Not at each frame, and again only for another version."""
    watch = Watch(POLICY)
    rows = stream(noise(ROWS, 1), ~STEP & STEP, versions=np.where(STEP, 2, 1))
    findings = [each for begin in range(0, len(rows), 500) for each in watch.take(rows.cut(begin, begin + 500))]
    said = [each for each in findings if isinstance(each, Uncompared)]

    assert [(1, 0), (2, 8_000)] == [(each.version, each.offset) for each in said]
    assert "no training profile" in said[0].why


def test_the_error_of_a_regression_is_a_share_of_what_the_profile_shows() -> None:
    """It rises from 1 to 3: told in the label's unit, with histograms of the errors and the bound."""
    sizes = np.abs(np.random.default_rng(6).normal(size=ROWS)) * np.where(STEP, 3, 1)
    rows = stream(noise(ROWS, 1), sizes, regression=True)
    known = replace(profile(noise(1000, 1)), holdout_labels=np.zeros(1000), holdout_values=np.linspace(0, 5, 1000))
    for profiles in ({}, {1: known}):
        (alarm, *_) = drifts(found(replace(POLICY, task="regression", classes=0), rows, profiles), "ALARM")
        assert (0.8, 2.4) == pytest.approx((alarm.change.before, alarm.change.after), rel=0.3)
        assert alarm.parameters["loss_bound"] == pytest.approx(4.95 if profiles else 2.6, rel=0.2)
        assert len(alarm.picture.bins) == 21
