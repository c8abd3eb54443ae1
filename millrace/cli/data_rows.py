"""Samples as a table: the rows that a run was made from, or everything that was known at a time. Pure.

Both orders are the trainer's, see ``services/trainer/train/window.py``: rows of a run are chosen by its own code,
whatever place they were read from, so that the log and the lake give the same table.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from millrace.contracts.events import TrainingRunChanged
from services.trainer.train.window import Tail, Window, choose

Records = Mapping[int, Sequence[tuple[int, Mapping[str, Any]]]]
"""By partition, (offset, sample) in offset order. A sample has the fields of SampleRecorded, and ``recorded_ms``."""

TIME = pa.timestamp("ms", tz="UTC")


class Rows(NamedTuple):
    """Rows in order. ``sha256`` is the trainer's hash of a run's rows, ``left_out`` events of other feature sets."""

    table: Any
    sha256: str | None = None
    left_out: int = 0


def rows_of(run: TrainingRunChanged, records: Records, names: Sequence[str]) -> Rows:
    """The rows of a run from the records of its ranges; ``names`` are of its features."""
    window = _window(run, records)
    samples = {(partition, offset): sample for partition, each in records.items() for offset, sample in each}
    cut = len(window.rows) - run.holdout_rows
    part = ["train" if place < cut else "holdout" for place in range(len(window.rows))]
    places = [(row.partition, row.offset) for row in window.rows]
    table = _table(places, [samples[place] for place in places], [row.label for row in window.rows], names)
    return Rows(table.add_column(0, "part", pa.array(part, pa.string())), window.sha256)


def _window(run: TrainingRunChanged, records: Records) -> Window:
    tails = []
    for part in run.ranges:
        left_out = [(one.from_offset, one.until_offset) for one in run.excluded if one.partition == part.partition]
        tail = Tail(part.partition, part.from_offset, part.until_offset, run.feature_set, left_out)
        tail.extend(part.from_offset, records.get(part.partition, ()))
        tails.append(tail)
    return choose(run.ranges[0].topic if run.ranges else "", tails, None)


def known(records: Records, feature_set: str, names: Sequence[str]) -> Rows:
    """Every event among the records with its label, if that is among them too; no label that was unknown then.

    Flagged events are there, with their flags, and those that wait for their label, with null.
    """
    found: list[tuple[tuple[float, int, int], Mapping[str, Any], float | None]] = []
    left_out = 0
    for partition, samples in records.items():
        labels: dict[str, float] = {}
        frontier = math.inf
        for offset, sample in reversed(samples):
            if sample["kind"] == "LABEL":
                labels.setdefault(sample["event_id"], sample["label"])  # the newest truth is met first
                continue
            label = labels.pop(sample["event_id"], None)
            if sample["feature_set"] != feature_set:
                left_out += 1
                continue
            frontier = min(frontier, sample["time_ms"])
            found.append(((frontier, partition, offset), sample, label))
    found.sort(key=lambda row: row[0])
    places = [(partition, offset) for (_, partition, offset), _, _ in found]
    table = _table(places, [sample for _, sample, _ in found], [label for _, _, label in found], names)
    return Rows(table, left_out=left_out)


def _table(
    places: Sequence[tuple[int, int]],
    samples: Sequence[Mapping[str, Any]],
    labels: Sequence[float | None],
    names: Sequence[str],
) -> Any:
    columns = {
        "partition": pa.array([partition for partition, _ in places], pa.int32()),
        "offset": pa.array([offset for _, offset in places], pa.int64()),
        "event_id": pa.array([sample["event_id"] for sample in samples], pa.string()),
        "entity": pa.array([sample["entity"] for sample in samples], pa.string()),
        "time": pa.array([sample["time_ms"] for sample in samples], TIME),
        "recorded": pa.array([sample["recorded_ms"] for sample in samples], TIME),
        "flags": pa.array([sample.get("flags") for sample in samples], pa.string()),
        "label": pa.array(labels, pa.float64()),
    }
    for place, name in enumerate(names):
        free = f"feature_{name}" if name in {"part", *columns} else name
        columns[free] = pa.array([sample["features"][place] for sample in samples], pa.float64())
    return pa.table(columns)


def feature_names(run_set: str, feature_set: str, names: Sequence[str], records: Records) -> tuple[str, ...]:
    """The names of a run's features: the project's, or numbers if the project has changed its features since."""
    if run_set == feature_set:
        return tuple(names)
    widths = (
        len(sample["features"])
        for each in records.values()
        for _, sample in each
        if sample["kind"] == "EVENT" and sample["feature_set"] == run_set
    )
    return tuple(f"feature_{number}" for number in range(next(widths, 0)))
