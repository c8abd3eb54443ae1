"""Many small files of a lake table made few, without changing a row.

deltalake's own ``optimize`` is not used: of two that begin at the same version 1.6.6 accepts both, also with an
application transaction, and from then on each row is there twice. Here files are put in the place of others by the same
commit as appends, which refuses the second one; ``tests/stores/test_lake_upkeep.py`` shows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from millrace.stores.lake_files import LakeFiles
from millrace.stores.lake_read import ORDER
from millrace.stores.lake_schema import PERIOD

TARGET_BYTES = 32 * 1024 * 1024  # of a file: enough to be read in one go, and a handful of them fits into memory


@dataclass(frozen=True, slots=True)
class Small:
    """A file that may be merged."""

    path: str
    size: int
    period: str


def groups(table: DeltaTable) -> Iterator[list[Small]]:
    """Files of one period that together make one of about the target's size; two of them at least."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:  # then there are no such columns either
        return
    actions = actions.sort_by([("min.partition", "ascending"), ("min.offset", "ascending")])
    columns = (actions.column(name).to_pylist() for name in ("path", "size_bytes", f"partition.{PERIOD}"))
    open_groups: dict[str, list[Small]] = {}
    for file in map(Small, *columns):
        if file.size >= TARGET_BYTES // 2:
            continue
        group = open_groups.setdefault(file.period, [])
        group.append(file)
        if sum(each.size for each in group) >= TARGET_BYTES:
            yield open_groups.pop(file.period)
    yield from (group for group in open_groups.values() if len(group) > 1)


def merged(table: DeltaTable, files: LakeFiles) -> list[AddAction | RemoveAction]:
    """Write the merged files, and return what puts them in the place of the others; empty if there is nothing to do."""
    dataset = table.to_pyarrow_dataset()
    fragments = {fragment.path: fragment for fragment in dataset.get_fragments()}
    actions: list[AddAction | RemoveAction] = []
    for group in groups(table):
        rows = pa.concat_tables(_rows(fragments[file.path], dataset.schema) for file in group)
        name = f"merged-{table.version()}-{len(actions)}"
        added = files.write_period(rows.sort_by(ORDER), group[0].period, name, data_change=False)
        actions.append(added)
        actions += [
            RemoveAction(file.path, False, added.modification_time, file.size, {PERIOD: file.period})  # noqa: FBT003  # no data changes
            for file in group
        ]
    return actions


def _rows(fragment: Any, schema: Any) -> Any:
    return fragment.to_table(schema=schema).drop_columns([PERIOD])
