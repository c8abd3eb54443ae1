"""How far an event reaches through features that look back: which later samples of its entity may have seen it. Pure.

What is counted is a bound, never too small: a window over rows is left after so many rows, a label's after so many
labels, and a feature without a limit (an average with exponential weights, the time since) is never left.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Reached(NamedTuple):
    """Later samples of the entity of one event. ``predictions`` are (version, rows) of those that were scored."""

    partition: int
    event_offset: int
    entity: str
    offsets: tuple[int, ...]
    predictions: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Reach:
    """Takes in the later samples of an event's entity, in their order.

    ``rows`` is how many later events may look back at the event, ``labels`` for how many labels its label is among
    those that are looked at; None is for ever.

    >>> reach = Reach("e", rows=1, labels=1)
    >>> samples = [(1, "EVENT", "f"), (2, "EVENT", "g"), (3, "LABEL", "e"), (4, "EVENT", "h"), (5, "LABEL", "f")]
    >>> [reach.take(*sample) for sample in samples], reach.offsets
    ([True, True, True, True, False], [1, 4])
    """

    event_id: str
    rows: int | None
    labels: int | None
    offsets: list[int] = field(default_factory=list)
    _events: int = 0
    _newer: int | None = None  # labels that came after the event's own; None before that

    def take(self, offset: int, kind: Literal["EVENT", "LABEL"], event_id: str) -> bool:
        """Take in the next sample. False when no later one can be reached."""
        if kind == "EVENT":
            if self._sees_event() or self._sees_label():
                self.offsets.append(offset)
            self._events += 1
        elif event_id == self.event_id:
            self._newer = 0
        elif self._newer is not None:
            self._newer += 1
        return self._sees_event() or self._sees_label() or (self._newer is None and self.labels != 0)

    def _sees_event(self) -> bool:
        return self.rows is None or self._events < self.rows

    def _sees_label(self) -> bool:
        return self._newer is not None and (self.labels is None or self._newer < self.labels)
