"""What the monitor says, given what it found and what is already under way. Pure.

While a retrain is open for the model (``state.py`` says how long that is), no other is asked for. The newest alarm of a
partition that found one open is not lost: it asks when that one has ended without a new champion (``ask_again``). An
alarm about a version that is no longer the champion asks for nothing: its successor has answered already. That, and the
detectors' new beginning with each version, is why a deployment never triggers a retrain by itself.

No more than so many are asked for in a day of event time: see ``budget.py``. An alarm beyond that waits like one that
found a retrain open.
"""

from collections.abc import Iterable

from millrace.contracts.events import DriftDetected, Event, OffsetMark, RetrainModel
from services.monitor.budget import spent
from services.monitor.evidence import ESTIMATED_ERROR
from services.monitor.facts import (
    Place,
    Unreadable,
    budget_alert,
    drift_alert,
    drift_of,
    evidence_of,
    in_words,
    metrics_of,
    recurring_alert,
    unreadable_alert,
)
from services.monitor.measure import Measured
from services.monitor.rollout import RolloutFinding
from services.monitor.state import INITIAL, State, evolve, open_retrain
from services.monitor.watch import Drift, Finding

__all__ = ["INITIAL", "State", "ask_again", "decide", "evolve", "open_retrain"]

BUDGET_SPENT = "the budget of retrains is spent, so it is asked for when a day of event time has passed"


def decide(state: State, place: Place, findings: Iterable[Finding | Unreadable], now_ms: int) -> list[Event]:
    """The events that say what was found, in its order. At most one of them is a request for a retrain."""
    events: list[Event] = []
    for finding in findings:
        if isinstance(finding, Measured):
            events.append(metrics_of(place, finding, now_ms))
            continue
        if isinstance(finding, RolloutFinding):
            events.append(evidence_of(place, finding, now_ms))
            continue
        if isinstance(finding, Unreadable):
            events.append(unreadable_alert(place, finding, now_ms))
            continue
        if isinstance(finding, Drift):
            told = _told(state, place, finding, now_ms)
            events += told
            for each in told:
                state = evolve(state, each)
    return events


def _told(state: State, place: Place, found: Drift, now_ms: int) -> list[Event]:
    """A drift, and what follows from it."""
    drift = drift_of(place, found, now_ms)
    if found.severity == "WARNING":
        outcome = "it is expected from the scores, and asks for nothing"
        return [drift, drift_alert(found, drift, outcome)] if found.subject == ESTIMATED_ERROR else [drift]
    request, outcome = _request(state, place, found, drift, found.time_ms, now_ms)
    alerts = [drift_alert(found, drift, outcome)]
    if outcome == BUDGET_SPENT:
        alerts.append(budget_alert(place, drift))
    recurring = recurring_alert(found, drift)
    return [drift, *alerts, *([recurring] if recurring else []), *([request] if request else [])]


def ask_again(
    state: State, place: Place, found: Drift, newest_time_ms: int, now_ms: int
) -> tuple[RetrainModel | None, bool]:
    """The request of an alarm that found another one open or the budget spent, if its time has come.

    Args:
        state: what the control topics say.
        place: where the alarm comes from.
        found: the alarm.
        newest_time_ms: event time that the partition has reached; the budget is of its last day.
        now_ms: wall time.

    Returns:
        The request, if any, and whether the alarm is settled: once it has asked, or when another version serves than
        the one that it was about.
    """
    asked, _ = _request(state, place, found, drift_of(place, found, now_ms), max(newest_time_ms, found.time_ms), now_ms)
    if asked:
        message = f"{asked.message}; asked for late: a retrain was open, or the budget spent"
        return asked.model_copy(update={"until": (), "message": message}), False
    return None, _request_id(place, found) in state.requests or state.champion not in {None, found.version}


def _request_id(place: Place, found: Drift) -> str:
    return f"retrain/{place.model}/{place.partition}/{found.offset}"


def _request(
    state: State, place: Place, found: Drift, drift: DriftDetected, time_ms: int, now_ms: int
) -> tuple[RetrainModel | None, str]:
    """The request, if there is to be one, and in words what is done about the alarm."""
    request_id = _request_id(place, found)
    if request_id in state.requests:
        return None, f"retrain {request_id} was asked for before"
    if state.champion not in {None, found.version}:
        return None, f"version {state.champion} has taken over, so no retrain is asked for"
    waiting = open_retrain(state, now_ms, place.open_ms)
    if waiting is not None:
        return None, f"retrain {waiting} is open already"
    if spent(state.requests.values(), state.alarms, time_ms) >= place.requests_per_day:
        return None, BUDGET_SPENT
    request = RetrainModel(
        request_id=request_id,
        model=place.model,
        reason="DRIFT",
        caused_by=drift.drift_id,
        message=in_words(found),
        since_time_ms=found.since_time_ms,
        until=(OffsetMark(topic=place.samples_topic, partition=place.partition, offset=found.offset + 1),),
        requested_by="monitor",
        requested_at_ms=now_ms,
        evidence=(drift.drift_id, *drift.evidence),
        recurs_version=found.recurs_version,
    )
    return request, f"retrain {request_id} is asked for"
