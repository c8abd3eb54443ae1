"""Samples, predictions and dead letters of a run, as columns. Pure: records go in, arrays come out.

Live view and final report feed the same class, the one while it happens, the other from offset 0 to the end of the
topics. Nothing else about a run is believed: no counter of a service, no log.

A row is one valid event, in the order of the samples log. Its prediction is found by the place of its sample, its label
by its id.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Place = tuple[int, int]
"""Partition and offset."""

MISSING = float("nan")


@dataclass(frozen=True, slots=True)
class Columns:
    """Everything about the rows. NaN is a label not known or a prediction not made; version 0 is none."""

    partition: Integers
    offset: Integers
    time_ms: Integers
    source_time_ms: Integers
    entity: Integers
    label: Floats
    label_time_ms: Integers
    predicted: Floats
    version: Integers
    copies: Integers
    predicted_log_ms: Integers
    features: Floats

    def __len__(self) -> int:
        return len(self.offset)

    def rows(self, order: NDArray[Any]) -> "Columns":
        """The same of these rows, in this order."""
        return Columns(*(getattr(self, name)[order] for name in self.__slots__))


class Ledger:
    """Takes decoded records of the three topics, in any order between topics, each partition in its own order."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._integers = {name: array("q") for name in _INTEGERS}
        self._floats = {name: array("d") for name in ("label", "predicted", "features")}
        self._row_at: dict[Place, int] = {}
        self._row_of: dict[str, int] = {}
        self._by_partition: dict[int, tuple[list[int], list[int]]] = {}
        self._entities: dict[str, int] = {}
        self._early: dict[Place, list[tuple[float, int, int]]] = {}
        self.inputs: dict[str, set[Place]] = {}
        """Where samples and dead letters came from, by topic."""
        self.predictions = 0
        self.label_samples = 0
        self.dead: Counter[str] = Counter()
        self.dead_events = 0
        self.dead_labels = 0

    @property
    def events(self) -> int:
        """Valid events so far."""
        return len(self._row_at)

    @property
    def early(self) -> int:
        """Predictions whose sample has not been seen: none, once all topics are read to their ends."""
        return sum(len(copies) for copies in self._early.values())

    def sample(self, place: Place, sample: Mapping[str, Any]) -> None:
        """A record of the samples topic."""
        source = (sample["source_partition"], sample["source_offset"])
        self.inputs.setdefault(sample["source_topic"], set()).add(source)
        if sample["kind"] == "LABEL":
            self._label(sample)
            return
        row = self._row_at[place] = len(self._row_at)
        offsets, rows = self._by_partition.setdefault(place[0], ([], []))
        offsets.append(place[1])
        rows.append(row)
        self._row_of[sample["event_id"]] = row
        entity = self._entities.setdefault(sample["entity"], len(self._entities))
        values = (*place, sample["time_ms"], sample["source_time_ms"], entity, 0, 0, 0, 0)
        for name, value in zip(_INTEGERS, values, strict=True):
            self._integers[name].append(value)
        self._floats["label"].append(MISSING)
        self._floats["predicted"].append(MISSING)
        self._floats["features"].extend(_fitted(sample["features"], self._width))
        for value, version, log_ms in self._early.pop(place, ()):
            self._predicted(row, value, version, log_ms)

    def prediction(self, prediction: Mapping[str, Any], log_ms: int) -> None:
        """A record of the predictions topic."""
        self.predictions += 1
        place = (prediction["sample_partition"], prediction["sample_offset"])
        row = self._row_at.get(place)
        if row is None:
            self._early.setdefault(place, []).append((prediction["value"], prediction["version"], log_ms))
        else:
            self._predicted(row, prediction["value"], prediction["version"], log_ms)

    def dead_letter(self, topic: str, place: Place, reason: str, *, is_event: bool) -> None:
        """A record of the dead-letter topic: where it came from and why it was refused."""
        self.inputs.setdefault(topic, set()).add(place)
        self.dead[reason] += 1
        self.dead_events += is_event
        self.dead_labels += not is_event

    def row_at(self, partition: int, offset: int) -> int:
        """How many events lie before this offset of the samples: the row that comes next."""
        at = self._row_at.get((partition, offset))
        if at is not None:
            return at
        offsets, rows = self._by_partition.get(partition, ([], []))
        before = bisect_left(offsets, offset)
        return rows[before - 1] + 1 if before else 0

    def before(self, first: Mapping[int, int]) -> int:
        """How many events lie before these offsets, by partition; all events of a partition that is not named."""
        partition, offset = (np.array(self._integers[name]) for name in ("partition", "offset"))
        scored = [(partition == number) & (offset >= at) for number, at in first.items()]
        return self.events - sum(int(part.sum()) for part in scored)

    def columns(self) -> Columns:
        """The rows so far, copied."""
        columns: dict[str, NDArray[Any]] = {
            name: np.array(values, dtype=np.int64) for name, values in self._integers.items()
        }
        columns |= {name: np.array(values, dtype=np.float64) for name, values in self._floats.items()}
        columns["features"] = columns["features"].reshape(self.events, self._width)
        return Columns(**columns)

    def _label(self, sample: Mapping[str, Any]) -> None:
        self.label_samples += 1
        row = self._row_of.get(sample["event_id"])
        if row is not None:
            self._floats["label"][row] = sample["label"]
            self._integers["label_time_ms"][row] = sample["time_ms"]

    def _predicted(self, row: int, value: float, version: int, log_ms: int) -> None:
        """The first copy counts; later ones are duplicates."""
        self._integers["copies"][row] += 1
        if self._integers["copies"][row] == 1:
            self._floats["predicted"][row] = value
            self._integers["version"][row] = version
            self._integers["predicted_log_ms"][row] = log_ms


_INTEGERS = (
    "partition", "offset", "time_ms", "source_time_ms", "entity", "label_time_ms", "version", "copies",
    "predicted_log_ms",
)  # fmt: skip


def _fitted(features: Sequence[float], width: int) -> Sequence[float]:
    """The features of a sample; a row of NaN if another feature set computed them."""
    return features if len(features) == width else [MISSING] * width
