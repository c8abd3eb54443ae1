"""What is said about findings, and when a retrain is asked for."""

from dataclasses import replace
from functools import reduce
from itertools import permutations

import pytest

from millrace.contracts.events import (
    AlertRaised,
    DriftDetected,
    OffsetMark,
    RetrainModel,
)
from services.monitor.core import INITIAL, ask_again, decide, evolve, open_retrain
from services.monitor.errors_watch import PERSISTING
from tests.monitor.controls import (
    ALARM,
    ANSWERED,
    CANARY,
    DAY_MS,
    NOW_MS,
    OPEN,
    PLACE,
    REQUEST_ID,
    WARNING,
    deployed,
    fold,
    requested,
    requests,
    run,
    version,
)


def test_an_alarm_is_a_drift_an_alert_and_a_request() -> None:
    """Their ids are deterministic, and the request says why, since when, and how far was read."""
    drift, alert, request = decide(fold(deployed(1, 1)), PLACE, [ALARM], NOW_MS)

    assert isinstance(drift, DriftDetected)
    assert isinstance(alert, AlertRaised)
    assert isinstance(request, RetrainModel)
    assert "drift/m/error/0/77" == drift.drift_id == request.caused_by
    assert "alert/drift/m/error/0/77" == alert.alert_id
    assert (REQUEST_ID, "DRIFT", 4000, "monitor") == (
        request.request_id,
        request.reason,
        request.since_time_ms,
        request.requested_by,
    )
    assert (OffsetMark(topic="s-samples", partition=0, offset=78),) == request.until
    assert "error of version 1 rose from 0.1 (900 rows) to 0.3 (90 rows)" == request.message
    assert (0.1, 0.3, 900, 90) == (drift.before, drift.after, drift.before_rows, drift.after_rows)


def test_a_warning_is_a_drift_and_nothing_else() -> None:
    """Features that move are evidence; they ask for nothing."""
    (drift,) = decide(INITIAL, PLACE, [WARNING], NOW_MS)

    assert isinstance(drift, DriftDetected)
    assert "drift/m/feature:price/0/77" == drift.drift_id


def test_a_drift_that_outlives_its_retrain_is_critical() -> None:
    """While the loop still handles it, it is a warning."""
    for detector, severity in (("ADWIN", "WARNING"), (PERSISTING, "CRITICAL")):
        _, alert, _ = decide(INITIAL, PLACE, [replace(ALARM, detector=detector)], NOW_MS)
        assert isinstance(alert, AlertRaised)
        assert severity == alert.severity


@pytest.mark.parametrize("case", OPEN)
def test_a_request_is_open_until_it_is_answered(case: str) -> None:
    """And while it is open, an alarm asks for nothing: the alert says so."""
    state = fold(*OPEN[case])

    assert REQUEST_ID == open_retrain(state, NOW_MS, DAY_MS)
    events = decide(state, PLACE, [replace(ALARM, offset=90)], NOW_MS)
    assert not requests(events)
    assert "is open already" in next(event.message for event in events if isinstance(event, AlertRaised))


@pytest.mark.parametrize("case", ANSWERED)
def test_an_answered_request_holds_nobody_back(case: str) -> None:
    """In whatever order the topics are read: the facts count, not their order."""
    for events in permutations(ANSWERED[case]):
        state = fold(*events)
        assert open_retrain(state, NOW_MS, DAY_MS) is None
        champion = state.champion or 1
        assert 1 == len(requests(decide(state, PLACE, [replace(ALARM, offset=90, version=champion)], NOW_MS)))


def test_a_canary_that_is_rolled_back_lets_the_alarm_ask_again() -> None:
    """An alarm during the canary asks for nothing; after the rollback it asks, once, and a promotion settles it."""
    alarm = replace(ALARM, offset=90)
    tried = fold(deployed(1, 1), *CANARY)
    rolled_back = reduce(evolve, (version("RETIRED"), deployed(1, 3, NOW_MS + 9)), tried)
    promoted = evolve(tried, deployed(2, 3, NOW_MS + 9))

    assert not requests(decide(tried, PLACE, [alarm], NOW_MS + 8))
    assert (None, False) == ask_again(tried, PLACE, alarm, 5000, NOW_MS + 8)
    request, _ = ask_again(rolled_back, PLACE, alarm, 5000, NOW_MS + 10)
    assert request is not None
    assert "retrain/m/0/90" == request.request_id
    assert (None, True) == ask_again(evolve(rolled_back, request), PLACE, alarm, 5000, NOW_MS + 11)
    assert (None, True) == ask_again(promoted, PLACE, alarm, 5000, NOW_MS + 10)


def test_a_request_in_the_log_is_never_sent_again() -> None:
    """The same place gives the same id, even long after the request was answered."""
    state = fold(requested(), run("FAILED"))

    assert not requests(decide(state, PLACE, [ALARM], NOW_MS))


def test_two_alarms_at_once_ask_once() -> None:
    """The first opens the retrain that holds the second back."""
    assert 1 == len(requests(decide(INITIAL, PLACE, [ALARM, replace(ALARM, offset=90)], NOW_MS)))


def test_an_alarm_about_a_version_that_was_replaced_asks_for_nothing() -> None:
    """A monitor that is behind, or another partition's late alarm: the new version is the answer already."""
    state = fold(deployed(1, 1), deployed(2, 2, NOW_MS))

    assert not requests(decide(state, PLACE, [ALARM], NOW_MS))
    assert requests(decide(state, PLACE, [replace(ALARM, version=2)], NOW_MS))


def test_an_alarm_that_found_a_retrain_open_asks_when_it_has_failed() -> None:
    """Not while the other is open; once it was rejected, with all data up to now; and only once."""
    other = "retrain/m/0/11"
    waiting = fold(deployed(1, 1), requested(other), run("STARTED", other))
    rejected = evolve(waiting, version("REJECTED", None))
    request, settled = ask_again(rejected, PLACE, ALARM, 5000, NOW_MS)

    assert (None, False) == ask_again(waiting, PLACE, ALARM, 5000, NOW_MS)
    assert request is not None
    assert (REQUEST_ID, "drift/m/error/0/77", (), False) == (
        request.request_id,
        request.caused_by,
        request.until,
        settled,
    )
    assert request.message.endswith("asked for late: a retrain was open, or the budget spent")
    assert (None, True) == ask_again(evolve(rejected, request), PLACE, ALARM, 5000, NOW_MS)


def test_an_alarm_that_found_a_retrain_open_is_settled_by_a_new_version() -> None:
    """The other retrain helped: nothing is asked."""
    other = "retrain/m/0/11"
    helped = fold(
        deployed(1, 1), requested(other), run("SUCCEEDED", other), version("REGISTERED"), deployed(2, 2, NOW_MS + 1)
    )

    assert (None, True) == ask_again(helped, PLACE, ALARM, 5000, NOW_MS)
