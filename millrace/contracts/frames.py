"""The frame inside ``ObservationsRecorded``: one micro-batch, column by column, as an Arrow IPC stream.

Rows are in samples order: events, and between them, at their place in the samples log, the labels that serving passed
on. The columns, in this order (the writer gives them in any order):

============  =======  ====================================================================================
column        Arrow    an event's row                       | a label's row
============  =======  ====================================================================================
``offset``    int64    offset in the samples log, growing from row to row
``is_label``  bool     False                                | True
``event_id``  utf8     id of the event                      | id of the event that it labels
``time_ms``   int64    event time                           | label time
``version``   int32    version that answered, 0 if none did | 0
``value``     float64  predicted class index or number      | NaN
``label``     float64  NaN                                  | class index or number
``score_<i>`` float64  score of class ``i``; no such column where the model gives none | NaN
a feature     float64  the feature under its own name, NaN where it does not exist yet | NaN
============  =======  ====================================================================================

While a rollout compares two versions on the same events, both score every event and one of them answers it. What the
one that did not answer says is in ``other_version`` (int32, 0 where it said nothing), ``other_value`` and
``other_score_<i>`` (float64, NaN there); either all of these columns are there or none.

A float64 cell may be null on the wire; it reads as NaN. No other cell may be null. Every name that is not one of the
seven fixed ones and not ``score_<i>`` is a feature, so a feature must not have such a name: see ``is_reserved``.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from millrace.contracts.errors import UndecodableError

Column = npt.NDArray[Any] | list[str]

FIXED: Mapping[str, pa.DataType] = {
    "offset": pa.int64(),
    "is_label": pa.bool_(),
    "event_id": pa.utf8(),
    "time_ms": pa.int64(),
    "version": pa.int32(),
    "value": pa.float64(),
    "label": pa.float64(),
}
OTHER: Mapping[str, pa.DataType] = {"other_version": pa.int32(), "other_value": pa.float64()}
_SCORE = re.compile(r"(?:other_)?score_(\d+)")


def is_reserved(name: str) -> bool:
    """Whether the frame itself uses this column name, so that no feature may have it.

    >>> [is_reserved(name) for name in ("value", "score_0", "score_of_risk", "price")]
    [True, True, False, False]
    """
    return name in FIXED or name in OTHER or _SCORE.fullmatch(name) is not None


def score_names(columns: Iterable[str], prefix: str = "") -> list[str]:
    """The frame's score columns, by class index: numbers count, not letters, so ``score_10`` follows ``score_9``.

    ``prefix`` is ``other_`` for those of the version that did not answer.
    """
    start = f"{prefix}score_"
    found = (name for name in columns if _SCORE.fullmatch(name) and name.startswith(start))
    return sorted(found, key=lambda name: int(name.removeprefix(start)))


def feature_names(columns: Iterable[str]) -> list[str]:
    """The frame's features, in the order of its columns."""
    return [name for name in columns if not is_reserved(name)]


def frames_of(columns: Mapping[str, Any], size_bytes: int) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """The columns with their frame, or cut into runs of rows so that each run's frame stays below ``size_bytes``.

    A single row is never cut. The size is measured, not estimated: a part that is still too large is cut again.
    """
    rows = len(columns["offset"])
    frame = encode_frame(columns)
    if rows <= 1 or len(frame) <= size_bytes:
        yield columns, frame
        return
    parts = min(rows, -(-len(frame) // size_bytes))
    cuts = [rows * part // parts for part in range(parts + 1)]
    for part in itertools.starmap(slice, itertools.pairwise(cuts)):
        yield from frames_of({name: values[part] for name, values in columns.items()}, size_bytes)


def encode_frame(columns: Mapping[str, npt.NDArray[Any] | Sequence[Any]]) -> bytes:
    """Write the columns as a frame: one Arrow IPC stream of one batch, uncompressed.

    The same columns give the same bytes. None in a list becomes null, which only float64 columns may hold.

    Raises:
        ValueError: a fixed column is missing, lengths differ, or a value does not fit its column's type.

    >>> frame = encode_frame(
    ...     {
    ...         "offset": [7],
    ...         "is_label": [False],
    ...         "event_id": ["a"],
    ...         "time_ms": [0],
    ...         "version": [1],
    ...         "value": [1.0],
    ...         "label": [None],
    ...         "score_0": [0.2],
    ...         "score_1": [0.8],
    ...         "price": [0.5],
    ...     }
    ... )
    >>> columns = decode_frame(frame)
    >>> columns["event_id"], columns["label"].tolist(), feature_names(columns)
    (['a'], [nan], ['price'])
    """
    missing = [name for name in FIXED if name not in columns]
    if missing:
        raise ValueError(f"a frame needs the columns {missing}; it has {sorted(columns)}")
    other = [name for name in OTHER if name in columns]
    names = [*FIXED, *score_names(columns), *other, *score_names(columns, "other_"), *feature_names(columns)]
    try:
        arrays = [pa.array(columns[name], _kind(name)) for name in names]
        batch = pa.record_batch(arrays, names=names)
    except (ValueError, TypeError) as error:  # Arrow derives its own from these
        raise ValueError(f"the columns do not make a frame: {error}") from error
    holed = [name for name, array in zip(names, arrays, strict=True) if array.null_count and array.type != pa.float64()]
    if holed:
        raise ValueError(f"only float64 columns may hold nulls, but {holed} do")
    return ipc_of(batch)


def ipc_of(batch: Any) -> bytes:
    """One Arrow record batch as an IPC stream, uncompressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_frame(frame: bytes) -> dict[str, Column]:
    """Read a frame: ``event_id`` as a list of strings, every other column as a read-only NumPy array.

    Numeric columns without nulls are views of ``frame``, not copies.

    Raises:
        UndecodableError: it is no Arrow stream, or its columns are not those that this module describes.
    """
    try:
        with pa.ipc.open_stream(frame) as reader:
            batches = list(reader)
            schema = reader.schema
    except (pa.ArrowException, OSError) as error:
        raise UndecodableError(f"frame of {len(frame)} bytes is no Arrow IPC stream: {error}") from error
    _check(schema, batches)
    return {name: _column(name, array) for name, array in zip(schema.names, batches[0].columns, strict=True)}


def _check(schema: Any, batches: list[Any]) -> None:
    """Refuse what no reader could make sense of."""
    wrong = [name for name, kind in FIXED.items() if name not in schema.names or schema.field(name).type != kind]
    wrong += [field.name for field in schema if field.name not in FIXED and field.type != _kind(field.name)]
    wrong += [name for name in OTHER if name not in schema.names] if set(OTHER) & set(schema.names) else []
    if wrong or len(set(schema.names)) != len(schema.names):
        raise UndecodableError(f"frame columns {wrong or 'twice'} are missing or of another type: {schema.to_string()}")
    if len(batches) != 1:
        raise UndecodableError(f"a frame holds one batch, this one {len(batches)}")
    exact = [name for name in schema.names if _kind(name) != pa.float64()]
    holed = [name for name in exact if batches[0].column(name).null_count]
    if holed:
        raise UndecodableError(f"frame columns {holed} hold nulls; only float64 columns may")


def _kind(name: str) -> Any:
    return FIXED.get(name) or OTHER.get(name) or pa.float64()


def _column(name: str, array: Any) -> Column:
    if name == "event_id":
        ids: list[str] = array.to_pylist()
        return ids
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    values.flags.writeable = False
    return values
