"""What was found, as events: their ids, their evidence and their words."""

from dataclasses import replace

import pytest

from millrace.contracts.events import (
    AlertRaised,
    DriftDetected,
    ModelMetricsMeasured,
    RetrainModel,
    RolloutMeasured,
)
from services.monitor.core import INITIAL, decide
from services.monitor.detect import Change
from services.monitor.evidence import Picture
from services.monitor.facts import Unreadable
from services.monitor.measure import Measured
from services.monitor.rollout import RolloutFinding
from tests.monitor.controls import ALARM, NOW_MS, PLACE, WARNING, alarm_at, deployed, fold, requests, spent_by


def test_metrics_have_a_deterministic_id() -> None:
    """Model, version, partition, last offset."""
    (metrics,) = decide(INITIAL, PLACE, [Measured(3, 99, 100, 500, 5000, {"accuracy": 0.9})], NOW_MS)

    assert isinstance(metrics, ModelMetricsMeasured)
    assert "metrics/m/3/0/99" == metrics.metrics_id


def test_what_cannot_be_read_is_an_alert() -> None:
    """Its rows are missing from what is computed, so an operator hears of it."""
    (alert,) = decide(INITIAL, PLACE, [Unreadable("m-observations", 5, "garbage")], NOW_MS)

    assert isinstance(alert, AlertRaised)
    assert "unreadable-observations" == alert.reason


def test_evidence_has_a_deterministic_id() -> None:
    """Model, rollout, epoch, partition, first offset that is not counted."""
    (measured,) = decide(INITIAL, PLACE, [RolloutFinding("rollout/m/2", 3, 99, 5000, (), ())], NOW_MS)

    assert isinstance(measured, RolloutMeasured)
    assert "evidence/m/rollout/m/2/3/0/99" == measured.evidence_id
    assert ("rollout/m/2", 3, 99, 5000) == (
        measured.rollout_id,
        measured.epoch,
        measured.until_offset,
        measured.until_time_ms,
    )


def test_an_alarm_that_recurs_names_the_command() -> None:
    """In the drift, in the request, and in an alert of its own."""
    recurs = replace(ALARM, recurs_version=3, recurs_distance=0.02, own_distance=0.9)
    events = decide(fold(deployed(1, 1)), PLACE, [recurs], NOW_MS)
    (alert,) = [each for each in events if isinstance(each, AlertRaised) and each.reason == "recurring-drift"]

    assert [3, 3] == [each.recurs_version for each in events if isinstance(each, DriftDetected | RetrainModel)]
    assert 'millrace promote m 3 --reason "' in alert.message


def test_alerts_say_what_they_are_about() -> None:
    """The model, and the drift that caused them."""
    recurs = replace(ALARM, recurs_version=3, recurs_distance=0.02, own_distance=0.9)
    state = spent_by(*(alarm_at(0, part) for part in range(4)))
    events = decide(state, PLACE, [recurs, Unreadable("m-observations", 5, "garbage")], NOW_MS)
    alerts = [event for event in events if isinstance(event, AlertRaised)]

    assert 4 == len({alert.alert_id for alert in alerts})
    assert {"m"} == {alert.model for alert in alerts}
    assert {"drift/m/error/0/77", None} == {alert.caused_by for alert in alerts}


@pytest.mark.parametrize(("severity", "asks"), [("WARNING", False), ("ALARM", True)])
def test_an_estimated_error_is_an_alert_whether_it_asks_or_not(severity: str, *, asks: bool) -> None:
    """Labels do not come: somebody should know."""
    found = replace(ALARM, subject="estimated_error", severity=severity, confirmed_by="estimate" if asks else "")  # type: ignore[arg-type]
    events = decide(fold(deployed(1, 1)), PLACE, [found], NOW_MS)

    assert ["estimated-drift"] == [event.reason for event in events if isinstance(event, AlertRaised)]
    assert asks == bool(requests(events))


def test_a_drift_carries_its_evidence() -> None:
    """Everything that a person would check it by."""
    change = Change(0.1, 0.3, 900, 90, statistic=20.0, threshold=15.2, p_value=0.01, log_e_value=20.0)
    beside = replace(WARNING, origin="windows", detector="KS")
    found = replace(
        ALARM, change=change, since_offset=50, slice="x = 1", picture=Picture((0.0, 1.0), (), (900,), (90,)),
        confirmed_by="labels", evidence=(WARNING.key, beside.key),
    )  # fmt: skip
    (drift, *_) = decide(INITIAL, PLACE, [found], NOW_MS)

    assert isinstance(drift, DriftDetected)
    assert (20.0, 15.2, 0.01, 20.0) == (drift.statistic, drift.threshold, drift.p_value, drift.log_e_value)
    assert (4000, 50, "before", "x = 1") == (drift.since_time_ms, drift.since_offset, drift.compared_with, drift.slice)
    assert ((0.0, 1.0), (900,), (90,)) == (drift.bins, drift.before_counts, drift.after_counts)
    assert ("drift/m/feature:price/0/77", "drift/m/feature:price/0/77/windows/KS/") == drift.evidence
    assert "error of version 1 where x = 1 rose from 0.1 (900 rows) to 0.3 (90 rows)" == drift.message


def test_a_window_of_a_part_has_an_id_of_its_own() -> None:
    """Old ids stay as they were; estimates, variants and slices stand beside them."""
    whole = Measured(2, 99, 500, 700, 5000, {"accuracy": 0.9})
    parts = [whole, replace(whole, source="estimate"), replace(whole, variant="champion"), replace(whole, slice="x")]
    events = decide(INITIAL, PLACE, parts, NOW_MS)

    ids = [event.metrics_id for event in events if isinstance(event, ModelMetricsMeasured)]
    assert "metrics/m/2/0/99" == ids[0]
    assert 4 == len(set(ids))
