"""Features over a table of samples: the same code as online, so the same bits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.contracts.feature_spec import FeatureSpec
from millrace.features.batch import FeatureState
from millrace.features.functions import NONE, Functions
from millrace.features.inputs import Inputs

CHUNK_ROWS = 10_000


def compute(
    specs: Sequence[FeatureSpec],
    table: Any,
    functions: Functions = NONE,
    expire_after_s: float | None = None,
    prefix: str = "",
    chunk_rows: int = CHUNK_ROWS,
) -> NDArray[np.float64]:
    """The features of the events of one partition.

    Args:
        specs: the features.
        table: a ``pyarrow.Table`` of the partition's samples in log order, from its beginning: ``kind`` (EVENT or
            LABEL), ``entity``, ``time_ms``, ``label`` (a number; of events not looked at), and a column for each field
            of the event that the features look at (of labels not looked at).
        functions: the owner's functions, as ``load_functions`` gives them.
        expire_after_s: as the project says it of entities.
        prefix: what stands before the name of a field in the name of its column.
        chunk_rows: rows taken at once; changes nothing but the memory used.

    Returns:
        One row per event, one column per feature.

    >>> from millrace.contracts.feature_spec import Difference, LabelLag
    >>> specs = (Difference(name="d", kind="difference", field="x"), LabelLag(name="l", kind="label_lag"))
    >>> samples = {
    ...     "kind": ["EVENT", "LABEL", "EVENT"],
    ...     "entity": ["a", "a", "a"],
    ...     "time_ms": [0, 0, 60],
    ...     "label": [None, 1.0, None],
    ...     "x": [1.0, None, 1.5],
    ... }
    >>> compute(specs, pa.table(samples)).tolist()
    [[nan, nan], [0.5, 1.0]]
    """
    state, inputs = FeatureState(specs, expire_after_s, functions), Inputs(specs)
    columns = {field: table.column(prefix + field) for field in inputs.fields}
    events = pa.table({"": table.column("entity"), **columns})  # one that is always there, to have rows
    found = [np.empty((0, len(specs)))]
    for start in range(0, table.num_rows, chunk_rows):
        part = table.slice(start, chunk_rows)
        is_label = np.array([kind == "LABEL" for kind in part.column("kind").to_pylist()], np.bool_)
        values = inputs.columns(events.slice(start, chunk_rows).filter(pa.array(~is_label)))
        labels = part.column("label").cast(pa.float64()).to_numpy(zero_copy_only=False)
        found.append(
            state.advance(
                is_label,
                state.codes(part.column("entity").cast(pa.string()).to_pylist()),
                {name: values[:, place] for place, name in enumerate(inputs.names)},
                labels[is_label],
                part.column("time_ms").to_numpy(),
            )
        )
    return np.concatenate(found)
