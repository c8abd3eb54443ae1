"""A run's training rows, read again from the lake by a Dask worker.

The same code as the trainer's chooses and orders them (``train/window.py``), and their hash has to be that of the rows
which the trainer has: then it does not matter where either of them read.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from millrace.contracts.events import OffsetRange
from millrace.stores.lake import Lake, LakeGapError
from services.trainer.dask_reference import RowsReference, digest
from services.trainer.train.task import FitError, Rows
from services.trainer.train.window import Tail, choose, split

SAME = ("kind", "event_id", "feature_set", "features", "label", "flags")
NEEDED = ("partition", "offset", "time", *SAME)
BEHIND_S = 30.0  # the lake follows the log by seconds; a run that was asked for just now may be ahead of it
LOOK_S = 1.0


def read_rows(
    reference: RowsReference,
    sha256: str,
    lake: Lake,
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Rows:
    """The training rows with this hash.

    Raises:
        FitError: the lake has not, or not any more, just these rows.
        LakeUnavailableError: it does not answer.
    """
    give_up_s = clock() + BEHIND_S
    while True:
        seen: list[str] = []
        for version, table in _tables(reference, lake, seen):
            rows = _training_rows(reference, table)
            if digest(rows) == sha256:
                return rows
            seen.append(f"{len(rows.y)} training rows in version {version}, which are others")
        if clock() >= give_up_s:
            raise FitError(f"the lake {lake.uri} has not the rows that the run began with: {'; '.join(seen)}")
        wait(LOOK_S)


def _tables(reference: RowsReference, lake: Lake, seen: list[str]) -> Iterator[tuple[str, Any]]:
    """Samples that may be the run's: as of its version of the table, as of the newest, and what there is of those.

    The lake may end where the last record does, and the run's range after the marker of its transaction. So what is
    there of a range is tried too; the hash tells whether it is all.
    """
    for version in dict.fromkeys((reference.table_version, None)):
        try:
            yield _name(version), lake.read(reference.ranges, version, NEEDED)
        except LakeGapError as error:
            seen.append(str(error))
    there = [part for part in (_clipped(lake, part) for part in reference.ranges) if part is not None]
    if len(there) == len(reference.ranges) and tuple(there) != reference.ranges:
        yield "the newest, as far as it goes", lake.read(there, None, NEEDED)


def _name(version: int | None) -> str:
    return "the newest" if version is None else str(version)


def _clipped(lake: Lake, part: OffsetRange) -> OffsetRange | None:
    """What the table has of a range of which it lacks the end; None if it lacks more."""
    begin, end = lake.begin(part.partition), lake.position(part.partition)
    if begin is None or end is None or not begin <= part.from_offset < end:
        return None
    return part.model_copy(update={"until_offset": min(end, part.until_offset)})


def _training_rows(reference: RowsReference, table: Any) -> Rows:
    columns = [table.column(name).to_pylist() for name in SAME]
    times_ms = (value // 1000 for value in table.column("time").cast("int64").to_pylist())
    places = zip(table.column("partition").to_pylist(), table.column("offset").to_pylist(), strict=True)
    samples: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for (partition, offset), time_ms, values in zip(places, times_ms, zip(*columns, strict=True), strict=True):
        sample = dict(zip(SAME, values, strict=True)) | {"time_ms": time_ms}
        samples.setdefault(partition, []).append((offset, sample))
    tails = []
    for part in reference.ranges:
        left_out = [
            (one.from_offset, one.until_offset) for one in reference.excluded if one.partition == part.partition
        ]
        tail = Tail(part.partition, part.from_offset, part.until_offset, reference.feature_set, left_out)
        tail.extend(part.from_offset, samples.get(part.partition, ()))
        tails.append(tail)
    return split(choose("", tails, None).rows, reference.holdout_rows)[0]
