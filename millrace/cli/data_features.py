"""The features of a stream computed again from the lake, compared with those that ingest recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.events import OffsetRange
from millrace.contracts.project import Project
from millrace.features.functions import load_functions
from millrace.features.inputs import Inputs
from millrace.features.offline import compute
from millrace.stores.lake import Lake, LakeError
from millrace.stores.lake_schema import RAW

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Recorded and computed features. ``by_feature`` counts the rows that differ; ``first`` shows some of them."""

    rows: int
    differing: int
    by_feature: Mapping[str, int]
    first: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The stable form."""
        first = [{name: _plain(value) for name, value in one.items()} for one in self.first]
        return {
            "rows": self.rows,
            "differing": self.differing,
            "by_feature": dict(self.by_feature),
            "first": first,
            "notes": list(self.notes),
        }


def recompute(project: Project, lake: Lake) -> Comparison:
    """Compute all features of the project's feature set again, partition by partition.

    Raises:
        LakeError: the lake has nothing of the stream.
    """
    found, notes = [], []
    for partition in range(project.partitions):
        begin, end = lake.begin(partition), lake.position(partition)
        if begin is None or end is None:
            notes.append(f"the lake has nothing of partition {partition}")
            continue
        if begin > 0:
            notes.append(
                f"the lake begins at offset {begin} of partition {partition}: features that look further back than "
                "that may differ in its first rows"
            )
        part = OffsetRange(topic="", partition=partition, from_offset=begin, until_offset=end)
        found.append(compare(project, lake.read([part])))
    if not found:
        raise LakeError(f"{lake.uri} has nothing of the stream {project.stream}; publish, or give --lake")
    names = list(dict.fromkeys(name for one in found for name in one.by_feature))
    return Comparison(
        sum(one.rows for one in found),
        sum(one.differing for one in found),
        {name: sum(one.by_feature.get(name, 0) for one in found) for name in names},
        tuple(shown for one in found for shown in one.first)[:SHOWN],
        (*notes, *dict.fromkeys(note for one in found for note in one.notes)),
    )


def compare(project: Project, table: Any) -> Comparison:
    """The features in these rows of the lake, one partition in log order from its beginning, with the same computed.

    All rows are computed, since later ones look back at them; compared are those of the project's feature set.
    """
    is_event = pc.equal(table.column("kind"), "EVENT")
    computed = compute(
        project.features,
        _samples(table, Inputs(project.features).fields),
        load_functions(project.folder, project.features),
        project.data.entities.expire_after_s,
    )
    events = table.filter(is_event)
    own = pc.equal(events.column("feature_set"), project.feature_set).to_numpy(zero_copy_only=False)
    wanted = events.filter(pa.array(own))
    flat = wanted.column("features").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    recorded = flat.reshape(-1, len(project.features))
    computed = computed[own]
    differs = ~((recorded == computed) | (np.isnan(recorded) & np.isnan(computed)))
    counts = {name: int(differs[:, place].sum()) for place, name in enumerate(project.feature_names)}
    first = tuple(
        {
            "place": f"{wanted.column('partition')[row].as_py()}/{wanted.column('offset')[row].as_py()}",
            "feature": project.feature_names[column],
            "recorded": float(recorded[row, column]),
            "computed": float(computed[row, column]),
        }
        for row, column in np.argwhere(differs)[:SHOWN].tolist()
    )
    left_out = int((~own).sum())
    notes = (f"{left_out:,} rows of other feature sets are not compared",) if left_out else ()
    by_feature = {name: count for name, count in counts.items() if count}
    return Comparison(len(recorded), int(differs.any(axis=1).sum()), by_feature, first, notes)


def _samples(table: Any, fields: Sequence[str]) -> Any:
    """The lake's rows as ``features.offline.compute`` takes them."""
    columns = {name: table.column(name) for name in ("kind", "entity", "label")}
    columns["time_ms"] = pc.divide(table.column("time").cast(pa.int64()), 1000)
    return pa.table(columns | {field: _field(table, field) for field in fields})


def _field(table: Any, field: str) -> Any:
    """A field of the event. Values of another type, from before the schema changed, stand in columns of their own."""
    named = [name for name in table.column_names if name == RAW + field or name.startswith(f"{RAW}{field}__")]
    columns = [table.column(name) for name in named]
    if not columns:
        return pa.nulls(table.num_rows, pa.float64())  # it was never there
    kinds = {column.type for column in columns}
    if len(kinds) == 1:
        return reduce(pc.coalesce, columns)
    common = pa.string() if any(pa.types.is_string(kind) for kind in kinds) else pa.float64()
    return reduce(pc.coalesce, [column.cast(common) for column in columns])


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
