"""Parts of the event time: hour, minute, day and month, in UTC or at a fixed offset from it."""

import math
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import Calendar

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_MS = 86_400_000
CIRCLES = {
    "hour": (0, 24),
    "minute_of_day": (0, 1440),
    "day_of_week": (0, 7),
    "day_of_year": (1, 366),
    "month": (1, 12),
}
"""Of each part the first value and how many there are."""

_EPOCH = date(1970, 1, 1).toordinal()
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH, date.max.toordinal() - _EPOCH  # an offset may lead beyond them


def calendar(spec: Calendar, time_ms: int) -> float:
    """The part of one time."""
    day, in_day = divmod(time_ms + spec.utc_offset_s * 1000, DAY_MS)
    match spec.part:
        case "hour":
            found = in_day // 3_600_000
        case "minute_of_day":
            found = in_day // 60_000
        case "day_of_week":
            found = (day + 3) % 7  # 1970 began on a Thursday
        case "day_of_year":
            found = _date(day).timetuple().tm_yday
        case "month":
            found = _date(day).month
    return float(found) if spec.cyclic is None else _on_circle(spec.part, spec.cyclic, found)


def calendars(spec: Calendar, time_ms: Ints) -> Floats:
    """The same for many times."""
    day, in_day = np.divmod(time_ms + spec.utc_offset_s * 1000, DAY_MS)
    date_of = day.clip(_FIRST_DAY, _LAST_DAY).astype("datetime64[D]")
    match spec.part:
        case "hour":
            found = in_day // 3_600_000
        case "minute_of_day":
            found = in_day // 60_000
        case "day_of_week":
            found = (day + 3) % 7
        case "day_of_year":
            found = (date_of - date_of.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
        case "month":
            found = date_of.astype("datetime64[M]").astype(np.int64) % 12 + 1
    if spec.cyclic is None:
        return found.astype(np.float64)
    first, count = CIRCLES[spec.part]
    # read from a table: numpy's own sine may differ from Python's in the last bit
    table = np.array([_on_circle(spec.part, spec.cyclic, first + place) for place in range(count)])
    on_circle: Floats = table[found - first]
    return on_circle


def _date(day: int) -> date:
    return date.fromordinal(_EPOCH + min(max(day, _FIRST_DAY), _LAST_DAY))


def _on_circle(part: str, cyclic: Literal["sin", "cos"], value: int) -> float:
    first, count = CIRCLES[part]
    angle = 2 * math.pi * (value - first) / count
    return math.sin(angle) if cyclic == "sin" else math.cos(angle)
