"""Rows for the lake that tests make: what they are follows from partition and offset alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.contracts.errors import MillraceError
from millrace.contracts.events import OffsetRange
from millrace.stores.lake import COLUMNS

EPOCH_MS = 1_600_000_000_000
HOUR_MS = 3_600_000
DAILY = LakePolicy(partition_by="day")


def row(partition: int, offset: int) -> dict[str, Any]:
    """Every third one is a label; an hour lies between two offsets, so the days go by."""
    is_label = offset % 3 == 2
    return {
        "partition": partition, "offset": offset, "kind": "LABEL" if is_label else "EVENT",
        "event_id": f"e{partition}-{offset}", "entity": f"who'{offset % 4}", "time": EPOCH_MS + offset * HOUR_MS,
        "recorded": EPOCH_MS + offset * HOUR_MS + 500, "feature_set": "" if is_label else "set-1",
        "features": [] if is_label else [offset / 3, float(partition)], "label": 1.0 if is_label else None,
        "flags": "late-event" if offset % 5 == 0 else None,
        "source_topic": "tiny-labels" if is_label else "tiny-events", "source_partition": partition,
        "source_offset": offset * 2, "source_time": EPOCH_MS + offset * HOUR_MS + 400,
    }  # fmt: skip


def rows(partition: int, offsets: Iterable[int], **raw: Sequence[Any]) -> Any:
    """These rows as the lake takes them, with more columns beside them."""
    made = [row(partition, offset) for offset in offsets]
    milliseconds = {each.name: pa.timestamp("ms", tz="UTC") for each in COLUMNS if pa.types.is_timestamp(each.type)}
    columns = {
        each.name: pa.array([one[each.name] for one in made], milliseconds.get(each.name, each.type))
        for each in COLUMNS
    }
    return pa.table({**columns, **{f"raw_{name}": values for name, values in raw.items()}})


def span(partition: int, from_offset: int, until_offset: int) -> OffsetRange:
    """A range as a snapshot names it."""
    return OffsetRange(topic="tiny-samples", partition=partition, from_offset=from_offset, until_offset=until_offset)


def places(table: Any) -> list[tuple[int, int]]:
    """Partition and offset of each row."""
    return list(zip(table.column("partition").to_pylist(), table.column("offset").to_pylist(), strict=True))


def raised(error: type[MillraceError], call: Callable[..., Any], *args: Any) -> MillraceError:
    """The error that the call raises."""
    with pytest.raises(error) as seen:
        call(*args)
    return seen.value
