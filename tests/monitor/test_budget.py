"""How many retrains may be asked for in a day of event time."""

from dataclasses import replace

from millrace.contracts.events import (
    AlertRaised,
)
from services.monitor.core import ask_again, decide
from tests.monitor.controls import (
    ALARM,
    DAY_MS,
    NOW_MS,
    PLACE,
    alarm_at,
    deployed,
    fold,
    requested,
    requests,
    run,
    spent_by,
)


def test_a_spent_budget_is_told_and_the_alarm_asks_when_there_is_one_again() -> None:
    """Four a day of event time, counted at their alarms; the fifth waits for a day after the first, not for ever."""
    state = spent_by(*(alarm_at(10 + part / 10, part) for part in range(4)))
    fifth = alarm_at(10.5, 99)
    events = decide(state, PLACE, [fifth], NOW_MS)
    reasons = [event.reason for event in events if isinstance(event, AlertRaised)]

    assert not requests(events)
    assert ["drift", "retrain-budget-spent"] == reasons
    assert (None, False) == ask_again(state, PLACE, fifth, round(10.9 * DAY_MS), NOW_MS)
    request, _ = ask_again(state, PLACE, fifth, 11 * DAY_MS, NOW_MS)
    assert request is not None
    assert "retrain/m/0/99" == request.request_id
    assert requests(decide(state, replace(PLACE, requests_per_day=5), [fifth], NOW_MS))


def test_an_operators_request_spends_no_budget() -> None:
    """The budget is the monitor's own."""
    asked = [requested(f"r{number}") for number in range(9)]
    done = [run("FAILED", f"r{number}", f"run-{number}") for number in range(9)]

    assert requests(decide(fold(deployed(1, 1), *asked, *done), PLACE, [ALARM], NOW_MS))
