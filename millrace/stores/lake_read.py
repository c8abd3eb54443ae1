"""Choosing rows of a lake table, at one of its versions."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from millrace.stores.lake_errors import LakeError
from millrace.stores.lake_schema import COLUMNS, TIME

ORDER = [("partition", "ascending"), ("offset", "ascending")]


class Range(Protocol):
    """Rows of one partition: a half-open range of samples offsets. ``OffsetRange`` is one."""

    @property
    def partition(self) -> int:
        """The partition of the samples topic."""
        ...

    @property
    def from_offset(self) -> int:
        """The first offset."""
        ...

    @property
    def until_offset(self) -> int:
        """The offset after the last."""
        ...


def within(ranges: Iterable[Range]) -> Any:
    """Rows of any of these ranges. There must be one."""
    return reduce(or_, map(_within, ranges))


def _within(wanted: Range) -> Any:
    offset = ds.field("offset")
    return (ds.field("partition") == wanted.partition) & (offset >= wanted.from_offset) & (offset < wanted.until_offset)


def known_at(recorded_ms: int) -> Any:
    """Rows that were in the samples log at that log time."""
    return ds.field("recorded") <= pa.scalar(recorded_ms * 1000, TIME)


def of_entity(entity: str) -> Any:
    """Rows of one entity."""
    return ds.field("entity") == entity


def rows(table: DeltaTable | None, chosen: Any, columns: Sequence[str] | None) -> Any:
    """The chosen rows as a ``pyarrow.Table``, ordered by partition and offset; all columns if none are named.

    Statistics in the table say which files cannot hold any of them; those are not opened.
    """
    if table is None:
        return COLUMNS.empty_table().select(list(columns or COLUMNS.names))
    dataset = table.to_pyarrow_dataset()
    names = list(columns or dataset.schema.names)
    unknown = sorted(set(names) - set(dataset.schema.names))
    if unknown:
        raise LakeError(
            f"{table.table_uri} has no columns {unknown} in version {table.version()}; it has {dataset.schema.names}"
        )
    needed = list(dict.fromkeys([*names, *(name for name, _ in ORDER)]))
    return dataset.to_table(columns=needed, filter=chosen).sort_by(ORDER).select(names)
