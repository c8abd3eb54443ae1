"""What was decided, by the column: events and labels of one run as SampleRecorded. Pure."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.ingest.core import EventArrived, Joined, LabelArrived
from services.ingest.rows import Rows

KINDS = pa.array(["EVENT", "LABEL"])


class Run:
    """Events and joined labels in the order of the samples log. Each ``origin`` is the record that it came from."""

    def __init__(self, decided: Sequence[EventArrived | Joined]) -> None:
        self._events = [one for one in decided if isinstance(one, EventArrived)]
        self._labels = [one.arrival for one in decided if isinstance(one, Joined)]
        self.arrivals = [one.arrival if isinstance(one, Joined) else one for one in decided]
        self.entity = [one.entity for one in decided]
        self.is_label = np.fromiter((isinstance(one, Joined) for one in decided), np.bool_, len(decided))
        self.time_ms = np.fromiter((one.time_ms for one in self.arrivals), np.int64, len(decided))

    @property
    def event_offsets(self) -> NDArray[np.int64]:
        """The source offset of each event, in order."""
        return np.fromiter((one.origin.offset for one in self._events), np.int64, len(self._events))

    @property
    def flags(self) -> Counter[str]:
        """How many samples carry each flag."""
        return Counter(flag for one in self._events for flag in one.flags)

    def rows(self, width: int) -> Rows:
        """What features and profile need; ``width`` is the number of fields that features look at."""
        values = [run[0].values[[one.row for one in run]] for run in _runs(self._events)]
        labels = np.fromiter((one.label for one in self._labels), np.float64, len(self._labels))
        return Rows(self.is_label, self.entity, self.time_ms, np.concatenate([np.empty((0, width)), *values]), labels)

    def columns(self, features: NDArray[np.float64], feature_set: str) -> Mapping[str, Any]:
        """The fields of SampleRecorded. ``features`` has a row for each event."""
        rows = len(self.arrivals)
        is_label = pa.array(self.is_label)
        records = [one.origin for one in self.arrivals]
        ends = np.zeros(rows + 1, np.int32)
        np.cumsum(np.where(self.is_label, 0, features.shape[1]), out=ends[1:])
        return {
            "kind": KINDS.take(is_label.cast(pa.int8())),
            "event_id": [one.event_id for one in self.arrivals],
            "entity": self.entity,
            "time_ms": self.time_ms,
            "feature_set": pa.array([feature_set, ""]).take(is_label.cast(pa.int8())),
            "features": pa.ListArray.from_arrays(pa.array(ends), pa.array(features.ravel())),
            "event": [_recorded(one) if isinstance(one, EventArrived) else None for one in self.arrivals],
            "label": [None if isinstance(one, EventArrived) else one.label for one in self.arrivals],
            "source_topic": [record.topic for record in records],
            "source_partition": [record.partition for record in records],
            "source_offset": [record.offset for record in records],
            "source_time_ms": [record.timestamp_ms for record in records],
            "flags": pa.array([_flags(one) for one in self.arrivals], pa.utf8()),
        }


def _recorded(event: EventArrived) -> bytes | None:
    received: bytes | None = event.origin.value
    return received if event.recorded is None else event.recorded


def _flags(arrival: EventArrived | LabelArrived) -> str | None:
    """As the sample carries them; None where there are none."""
    flags = arrival.flags if isinstance(arrival, EventArrived) else ()
    return ",".join(flags) or None


def _runs(events: Sequence[EventArrived]) -> Iterator[list[EventArrived]]:
    """Neighbours that were read together."""
    for _, together in itertools.groupby(events, key=lambda one: id(one.values)):
        yield list(together)
