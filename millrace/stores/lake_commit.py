"""Single commits to a lake table: what one is asked to hold, how it is made, and what the log says of it."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from millrace.stores.lake_schema import PERIOD
from millrace.stores.lake_store import NO_CLEANING


@dataclass(frozen=True, slots=True)
class Commit:
    """One version of the table. ``partition`` to ``rows`` are None for what is no append."""

    version: int
    at_ms: int
    operation: str
    partition: int | None
    from_offset: int | None
    until_offset: int | None
    rows: int | None

    def has(self, partition: int, offset: int) -> bool:
        """Whether this commit brought that row."""
        if self.from_offset is None or self.until_offset is None:
            return False
        return partition == self.partition and self.from_offset <= offset < self.until_offset

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Commit":
        """What deltalake's history says of one version."""
        told = entry.get("millrace") or {}
        names = ("partition", "from_offset", "until_offset", "rows")
        operation = told.get("operation", entry["operation"])
        return cls(entry["version"], entry["timestamp"], operation, *(told.get(name) for name in names))


def added_columns(table: DeltaTable, rows: Any) -> bool:
    """Whether the table lacked columns that these rows have. They are being added, so its state is another."""
    there = {field.name for field in table.schema().fields}
    new = [field for field in rows.schema if field.name not in there]
    if new:
        with contextlib.suppress(CommitFailedError):  # somebody else changed the table: the next look will tell
            fields = DeltaSchema.from_arrow(pa.schema(new)).fields
            table.alter.add_columns(fields, post_commithook_properties=NO_CLEANING)
    return bool(new)


def committed(
    table: DeltaTable,
    files: Sequence[AddAction | RemoveAction],
    told: Mapping[str, Any],
    transactions: list[Transaction],
) -> bool:
    """Whether these files are in the table now; not if one of the transactions was used since its state was read."""
    properties = CommitProperties(custom_metadata={"millrace": dict(told)}, app_transactions=transactions)
    try:
        table.create_write_transaction(
            list(files),
            "append",
            table.schema(),
            [PERIOD],
            commit_properties=properties,
            post_commithook_properties=NO_CLEANING,
        )
    except CommitFailedError:
        return False
    return True


def require_within(rows: Any, partition: int, from_offset: int, until_offset: int) -> None:
    """Rows are of that range, in order and each once, or the caller is at fault."""
    offsets = rows.column("offset").to_numpy()
    ordered = bool((offsets[1:] > offsets[:-1]).all())
    inside = from_offset < until_offset and all(
        from_offset <= one < until_offset for one in (*offsets[:1], *offsets[-1:])
    )
    if not (ordered and inside and pc.all(pc.equal(rows.column("partition"), partition), min_count=0).as_py()):
        raise ValueError(f"rows are not of partition {partition}, offsets {from_offset} to {until_offset}, in order")
