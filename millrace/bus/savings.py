"""State that a service saves beside what it writes: parts in a compacted topic; the newest saving that is whole counts.

The parts of one saving are written in one transaction, so they stand together, near the end of the topic.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from millrace.bus.context import Context
from millrace.contracts.errors import ContractError
from millrace.contracts.events import FeatureStateSaved, MonitorStateSaved
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
REACH = 64  # offsets looked at from the end backwards at first, then four times as many


class Place(NamedTuple):
    """Which saving a part belongs to, a larger number being a newer one, under what settings, and which part it is."""

    saving: int
    settings: Hashable
    part: Hashable


E = TypeVar("E", FeatureStateSaved, MonitorStateSaved)


async def newest_whole(
    context: Context, topic: str, number: int, kind: type[E], place: Callable[[Any], Place], fits: Callable[[Any], bool]
) -> tuple[list[E], bool]:
    """The parts of the newest saving that fits and is whole, and whether there was any part at all.

    Args:
        context: transport and codec.
        topic: where the parts are.
        number: of the partition.
        kind: of the parts; each says in ``parts`` how many there are in all.
        place: of a part.
        fits: whether a part may be believed.

    Returns:
        The parts, none if no saving is whole. A part that cannot be read is left out, and logged.
    """
    bounds = await context.transport.bounds(topic, number)
    reach = REACH
    while True:
        start = max(bounds.begin, bounds.end - reach)
        found = await _read(context, topic, number, kind, start, bounds.end)
        whole = _whole([part for part in found if fits(part)], place)
        if whole or start == bounds.begin:
            return whole, bool(found)
        reach *= 4


async def _read(context: Context, topic: str, number: int, kind: type[E], start: int, stop: int) -> list[E]:
    found = []
    async for records in context.transport.read(topic, number, start, stop):
        for record in records:
            try:
                found.append(await context.codec.decode(kind, record.value))
            except ContractError as error:
                log.warning("saved state left out", offset=record.offset, error=str(error))
    return found


def _whole(found: list[E], place: Callable[[Any], Place]) -> list[E]:
    savings: dict[tuple[int, Hashable, int], dict[Hashable, Any]] = {}
    for part in found:
        at = place(part)
        savings.setdefault((at.saving, at.settings, part.parts), {})[at.part] = part
    whole = [(saving, list(parts.values())) for (saving, _, count), parts in savings.items() if len(parts) == count]
    return max(whole, key=lambda one: one[0])[1] if whole else []
