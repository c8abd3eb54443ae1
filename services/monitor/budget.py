"""The budget of retrains: how many the monitor may ask for in a day of event time.

A request counts at the event time of the alarm that it rests on, not at the time on the wall: a replay of a year in an
hour has a year's budget, and decides the same. What is over budget is not lost: it is told as an alert, and asked for
when events have come that are a day younger than the alarms that spent it. An alarm that waited like that counts at its
own time all the same, so a day can see one request more than its budget for each partition, and no more.
"""

from collections.abc import Iterable, Mapping

from millrace.contracts.events import RetrainModel

DAY_MS = 86_400_000


def spent(requests: Iterable[RetrainModel], alarms: Mapping[str, int], now_ms: int) -> int:
    """How many requests the monitor made in the day of event time up to ``now_ms``.

    Args:
        requests: all that are known.
        alarms: event time of each alarm, by its drift's id.
        now_ms: event time. A request whose alarm is younger counts too: partitions are not equally far.
    """
    return sum(
        now_ms - DAY_MS < _time_ms(request, alarms)
        for request in requests
        if request.requested_by == "monitor" and request.reason == "DRIFT"
    )


def _time_ms(request: RetrainModel, alarms: Mapping[str, int]) -> int:
    """Event time of its alarm. If that record is gone: when the change began, or the wall time."""
    known = alarms.get(request.caused_by or "", request.since_time_ms)
    return request.requested_at_ms if known is None else known
