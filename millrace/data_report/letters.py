"""The dead letters of the stretch of a stream that a window's rows came from, by reason and field."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from millrace.bus.deadletter import Origin, origin_of, place_of, why
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.data_report.report import Letters

KINDS_MAX = 100
LONGEST_MESSAGE = 240  # characters of an example
_QUOTED = re.compile(r"fields? '([^']*)'")


@dataclass(slots=True)
class Counted:
    """Dead letters, counted as they are read.

    ``left_out`` are those of kinds beyond the first ``KINDS_MAX``, ``later`` those that came after the stretch.
    """

    fields: frozenset[str]
    kinds: dict[tuple[str, str, str], list[str | int]] = field(default_factory=dict)
    left_out: int = 0
    later: int = 0

    def add(self, record: Record) -> None:
        """Take in one letter."""
        told = why(record)
        name = field_in(told["message"], self.fields)
        key = (told["reason"] or "unknown", name, told["topic"])
        if key not in self.kinds and len(self.kinds) >= KINDS_MAX:
            self.left_out += 1
            return
        place = place_of(record)
        seen = self.kinds.setdefault(key, [0, place, place, told["message"][:LONGEST_MESSAGE]])
        seen[0] = int(seen[0]) + 1
        seen[2] = place

    def summary(self) -> tuple[Letters, ...]:
        """The kinds, the most frequent first."""
        found = [
            Letters(
                reason=reason, field=name, topic=topic, count=int(count), first_place=str(first), last_place=str(last),
                message=str(message),
            )
            for (reason, name, topic), (count, first, last, message) in self.kinds.items()
        ]  # fmt: skip
        return tuple(sorted(found, key=lambda one: (-one.count, one.reason, one.field)))


def field_in(message: str, fields: Iterable[str]) -> str:
    """The field of the event that a message is about; empty where it names none.

    >>> field_in("field 'price' is 2.5, expected 0 to 1", {"price", "day"})
    'price'
    """
    named = _QUOTED.search(message)
    return named.group(1) if named and named.group(1) in set(fields) else ""


async def read_letters(
    transport: Transport, topic: str, partition: int, stretches: Mapping[str, tuple[int, int]], fields: Iterable[str]
) -> tuple[Counted, list[str]]:
    """The letters of a partition whose origin is in one of the half-open ``stretches``, by input topic; and notes.

    The topic is read from its beginning, since a letter may be older than the samples around it; what is kept does not
    grow with it.
    """
    counted, notes = Counted(frozenset(fields)), []
    begin, end = await transport.bounds(topic, partition)
    if begin:
        notes.append(
            f"retention has removed {topic}/{partition} below offset {begin}: there may have been more refusals"
        )
    async for records in transport.read(topic, partition, begin, end):
        for record in records:
            place = _place(origin_of(record), stretches)
            if place == 0:
                counted.add(record)
            counted.later += place > 0
    return counted, notes


def _place(origin: Origin | None, stretches: Mapping[str, tuple[int, int]]) -> int:
    """Before the stretch of its topic (-1), in it (0), or after it (1); what comes from elsewhere is before."""
    if origin is None or origin.topic not in stretches:
        return -1
    low, high = stretches[origin.topic]
    return -1 if origin.offset < low else int(origin.offset >= high)
