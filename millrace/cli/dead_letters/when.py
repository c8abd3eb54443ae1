"""Times and places as they are typed on the command line."""

import re
from datetime import UTC, datetime

import click

from millrace.operating.letters import Place

UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO = re.compile(r"(?P<count>\d+(\.\d+)?)(?P<unit>[smhd])")


def parse_when(text: str, now_ms: int) -> int:
    """A time in ms: ISO 8601 (UTC unless it says otherwise), or how long ago.

    >>> parse_when("2h", now_ms=7_200_001)
    1
    >>> parse_when("1970-01-01T00:00:01", now_ms=0)
    1000
    """
    if ago := _AGO.fullmatch(text):
        return now_ms - round(float(ago["count"]) * UNIT_MS[ago["unit"]])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; 2026-11-21T17:30:00Z, 2026-11-21, or 90s, 30m, 2h, 7d ago are understood"
        ) from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def parse_place(place: str) -> Place:
    """Partition and offset.

    >>> parse_place("0/17")
    Place(partition=0, offset=17)
    """
    partition, slash, offset = place.partition("/")
    if not (slash and partition.isdecimal() and offset.isdecimal()):
        raise click.BadParameter(f"{place!r} is not PARTITION/OFFSET, such as 0/17", param_hint="PARTITION/OFFSET")
    return Place(int(partition), int(offset))
