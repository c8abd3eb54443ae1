"""A run of rows, sorted by entity: where each row and each entity lies in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_ZERO = np.zeros(1, np.int64)
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where values lie in the flat array of a series that keeps ``width`` values per entity.

    ``new``: each new value. ``kept_before``, ``kept_after``: for each entity the first of the values that it kept
    before the run, and that it keeps after it. ``newest``: for each event the newest value known to it.
    """

    new: Ints
    kept_before: Ints
    kept_after: Ints
    newest: Ints


class Lane:
    """The rows of one kind, events or labels, in a run that is sorted by entity.

    Parameters:
        order: the place of each row of this kind among those of the run as it came.
        rows: their places in the sorted run.
        until: for each row of the sorted run how many of this kind there are up to it, itself included; ``before`` and
            ``after`` are the same at the borders of each entity.
        ends: the last row of each entity in the sorted run.
    """

    def __init__(self, order: Ints, rows: Ints, until: Ints, ends: Ints) -> None:
        self.order = order
        self.rows = rows
        self.until = until
        self.after = until[ends]
        self.before = np.concatenate((_ZERO, self.after[:-1]))
        self._layouts: dict[int, Layout] = {}

    def layout(self, run: "Run", width: int) -> Layout:
        """Computed once for all series of one width."""
        found = self._layouts.get(width)
        if found is None:
            first = np.arange(0, len(run.codes) * width, width) if width else _ZERO
            newest = run.block * width + (self.until - 1)
            found = self._layouts[width] = Layout(
                newest[self.rows], first + self.before, first + self.after, newest[run.events.rows]
            )
        return found


class Run:
    """A run of rows, sorted by entity; within an entity in log order."""

    def __init__(self, is_label: Mask, entity: Ints) -> None:
        order = entity.argsort(kind="stable")
        entity = entity[order]
        is_last = np.ones(len(entity), np.bool_)
        np.not_equal(entity[1:], entity[:-1], out=is_last[:-1])
        ends = is_last.nonzero()[0]
        self.codes = entity[ends]
        self.block = is_last.cumsum() - is_last + 1  # one for the rows of the first entity, two for the second …
        until = np.arange(1, len(entity) + 1)
        if not is_label.any():
            self.events = Lane(order, until - 1, until, ends)
            self.labels = Lane(_NONE, _NONE, np.zeros(len(entity), np.int64), ends)
            return
        label = is_label[order]
        labels_until, labels_as_came = label.cumsum(), is_label.cumsum()
        in_labels, in_events = label.nonzero()[0], (~label).nonzero()[0]
        event_order, label_order = order[in_events], order[in_labels]
        self.events = Lane(event_order - labels_as_came[event_order], in_events, until - labels_until, ends)
        self.labels = Lane(labels_as_came[label_order] - 1, in_labels, labels_until, ends)
