"""Records of another version of a schema by the column: read as they were written, then made what the reader expects.

A producer may change its schema compatibly at any time, and the log keeps what was written before. Avro resolves two
schemas record by record; here it is done by the column: fields that the reader lacks are left out, those that the
writer lacks are filled with the reader's default, the rest are put into the reader's order and type. Rules:

- ``tests/contracts/test_evolution.py`` proves that a batch read here is what fastavro's resolution gives. Where that is
  not certain, nothing is read by the column, and the caller goes record by record: slower, never wrong.
- What depends on the values is seen when they are there: a null where the reader has none, a symbol that the reader's
  enum lacks, a whole number that a float cannot hold. ``decode`` then returns None for the batch.
- A default is filled in only if the column holds it exactly: no 0.1 in a float of four bytes.
- Producers are upgraded one by one, so a batch may mix versions: each version is read at once, and the rows are put
  back into their order.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.columnar import HEADER_BYTES, Columnar
from millrace.contracts.schemas import Schema

PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
head_of: Callable[[Any], bytes] = itemgetter(slice(HEADER_BYTES))
"""The header of a value, a third of the time of a loop's; ``TypeError`` for None."""
_NULL = "null"
_Cast = Callable[[Any], Any]
"""A column as the reader has it. None if one of its values cannot be that."""


@dataclass(frozen=True, slots=True)
class _Copied:
    """A column of the writer's, and what makes the reader's of it."""

    name: str
    cast: _Cast

    def of(self, batch: Any) -> Any:
        return self.cast(batch.column(self.name))


@dataclass(frozen=True, slots=True)
class _Filled:
    """A column that the writer does not have."""

    default: Any

    def of(self, batch: Any) -> Any:
        return pa.repeat(self.default, batch.num_rows)


@dataclass(frozen=True, slots=True, eq=False)
class Resolved(Columnar):
    """The reader's :class:`Columnar`, except that ``decode`` takes records of one other schema."""

    _writer: Columnar = field(repr=False)
    _columns: tuple[_Copied | _Filled, ...] = field(repr=False)

    @classmethod
    def between(cls, writer: Schema, reader: Schema) -> "Resolved | None":
        """None if these two are to be resolved record by record, or not at all."""
        read, written = Columnar.of(reader), Columnar.of(writer)
        if read is None or written is None or not _same_name(reader.parsed, writer.parsed):
            return None
        columns = _columns(writer, reader, read.arrow)
        return None if columns is None else cls(read.arrow, read._wire, read._binary, written, columns)  # noqa: SLF001  # a class's own

    def decode(self, values: Sequence[bytes | None]) -> Any | None:
        """As ``Columnar.decode``; None also if a value does not fit into the reader's schema."""
        batch = self._writer.decode(values)
        if batch is None:
            return None
        columns = []
        for made, wanted in zip(self._columns, self.arrow, strict=True):
            try:
                column = made.of(batch)
            except (ValueError, pa.ArrowException):  # bytes that are no text
                return None
            if column is None or (column.null_count and not wanted.nullable):
                return None
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.arrow)


@dataclass(frozen=True, slots=True, eq=False)
class Mixed(Columnar):
    """The reader's :class:`Columnar`, except that ``decode`` takes records of several schemas, in any order."""

    _by_head: Mapping[bytes, Columnar] = field(repr=False)

    @classmethod
    def of_heads(cls, by_head: Mapping[bytes, Columnar]) -> "Mixed":
        """What reads the records that begin with each of these headers; all of them for the same reader."""
        any_of_them = next(iter(by_head.values()))
        return cls(any_of_them.arrow, any_of_them._wire, any_of_them._binary, by_head)  # noqa: SLF001  # a class's own

    def decode(self, values: Sequence[bytes | None]) -> Any | None:
        """As ``Columnar.decode``. None also for a header that was not named."""
        code = {head: number for number, head in enumerate(self._by_head)}
        try:
            codes = np.fromiter(map(code.__getitem__, map(head_of, values)), np.int64, len(values))
        except (KeyError, TypeError):  # TypeError: None, a tombstone
            return None
        order = np.argsort(codes, kind="stable")
        sorted_values = [values[place] for place in order.tolist()]
        ends = np.cumsum(np.bincount(codes, minlength=len(code))).tolist()
        batches = []
        for columnar, begin, end in zip(self._by_head.values(), [0, *ends], ends, strict=False):
            batch = columnar.decode(sorted_values[begin:end])
            if batch is None:
                return None
            batches.append(batch)
        return pa.concat_batches(batches).take(pa.array(np.argsort(order)))


# ---- which columns -----------------------------------------------------------------------------------------------


def _columns(writer: Schema, reader: Schema, arrow: Any) -> tuple[_Copied | _Filled, ...] | None:
    """How to make each column of the reader's, in its order; None if one cannot be made."""
    pairs = _pairs(writer.parsed["fields"], reader.parsed["fields"])
    if pairs is None:
        return None
    types = {each["name"]: each["type"] for each in json.loads(writer.canonical)["fields"]}
    wanted = {each["name"]: each["type"] for each in json.loads(reader.canonical)["fields"]}
    columns: list[_Copied | _Filled] = []
    for read, column in zip(reader.parsed["fields"], arrow, strict=True):
        written = pairs.get(read["name"])
        if written is None:
            default = _default(read, column)
            if default is None:
                return None
            columns.append(_Filled(default))
        else:
            cast = _resolve(types[written["name"]], wanted[read["name"]], written["type"], read["type"])
            if cast is None:
                return None
            columns.append(_Copied(written["name"], cast))
    return tuple(columns)


def _pairs(written: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The writer's field of each of the reader's, by name or else by alias; None if that is ambiguous."""
    names = {each["name"] for each in read}
    aliases: dict[str, str] = {}
    for each in read:
        for alias in each.get("aliases", ()):
            if alias in aliases:
                return None
            aliases[alias] = each["name"]
    pairs: dict[str, Any] = {}
    for each in written:
        name = each["name"] if each["name"] in names else aliases.get(each["name"])
        if name in pairs:
            return None
        if name is not None:
            pairs[name] = each
    return pairs


def _default(read: Mapping[str, Any], column: Any) -> Any:
    """The reader's default as an Arrow scalar; None if there is none, or not one that the column holds exactly."""
    if "default" not in read or pa.types.is_union(column.type) or pa.types.is_binary(column.type):
        return None  # fastavro gives bytes as text
    default = read["default"]
    symbols = _symbols(read["type"])
    if default is None:
        return pa.scalar(None, column.type) if column.nullable else None
    if symbols and default not in symbols:
        return None
    if pa.types.is_floating(column.type) and type(default) is int:  # as JSON has it; the same number
        default = float(default)
    try:
        scalar = pa.scalar(default, column.type)
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return None
    held = scalar.as_py()
    return scalar if type(held) is type(default) and repr(held) == repr(default) else None


# ---- which types -------------------------------------------------------------------------------------------------


def _resolve(written: Any, read: Any, written_parsed: Any, read_parsed: Any) -> _Cast | None:
    """What makes a column of the reader's type of one of the writer's. None if that is not certain.

    Types are given as in the canonical form, and as parsed, where an enum keeps its aliases and its default.
    """
    if _several(written) or _several(read):
        return _same if written == read and _resolves_to_itself(written) else None
    inner, outer = _inner(written), _inner(read)
    if isinstance(inner, dict) and isinstance(outer, dict):
        if inner["type"] == outer["type"] == "enum":
            return _enum(_inner(written_parsed), _inner(read_parsed))
        return _same if inner == outer else None
    if not (isinstance(inner, str) and isinstance(outer, str)):
        return None
    if inner == outer:
        return _same
    return _CASTS[outer] if outer in PROMOTIONS.get(inner, ()) else None


def _several(kind: Any) -> bool:
    return isinstance(kind, list) and len([branch for branch in kind if branch != _NULL]) > 1


def _inner(kind: Any) -> Any:
    """The type without null."""
    return next(branch for branch in kind if branch != _NULL) if isinstance(kind, list) else kind


def _resolves_to_itself(union: Sequence[str]) -> bool:
    """Whether the first branch that takes a value is its own. An int in ["double", "int"] becomes a double."""
    return all(
        next(read for read in union if read == written or read in PROMOTIONS.get(written, ())) == written
        for written in union
    )


def _same(column: Any) -> Any:
    return column


def _to(kind: Any, column: Any) -> Any:
    """Cast as Avro promotes: the nearest double of a long. Text that is not UTF-8 raises."""
    return column.cast(kind, safe=not pa.types.is_floating(kind))


def _to_float(column: Any) -> Any:
    """Only numbers that four bytes hold: fastavro would go on with more digits than that."""
    floats = column.cast(pa.float32(), safe=False)
    exact = pc.all(pc.equal(floats.cast(pa.float64()), column.cast(pa.float64(), safe=False))).as_py()
    return None if exact is False else floats


_CASTS: Mapping[str, _Cast] = {
    "long": partial(_to, pa.int64()),
    "float": _to_float,
    "double": partial(_to, pa.float64()),
    "string": partial(_to, pa.utf8()),
    "bytes": partial(_to, pa.binary()),
}


def _enum(written: Mapping[str, Any], read: Mapping[str, Any]) -> _Cast | None:
    if not _same_name(read, written):
        return None
    known = list(read["symbols"])
    if set(written["symbols"]) <= set(known):
        return _same
    default = read.get("default")
    if default is not None and default not in known:
        return None
    return partial(_symbol, pa.array(known), default)


def _symbol(known: Any, default: str | None, column: Any) -> Any:
    """Symbols that the reader lacks become its default; without one they are nobody's."""
    unknown = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, known)))
    if not pc.any(unknown).as_py():
        return column
    return None if default is None else pc.if_else(unknown, pa.scalar(default), column)


def _symbols(kind: Any) -> Sequence[str]:
    inner = _inner(kind) if not _several(kind) else None
    return inner.get("symbols", ()) if isinstance(inner, dict) else ()


def _same_name(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> bool:
    """Named types match by the last part of their names, or by an alias of the reader's."""
    last = str(writer["name"]).rpartition(".")[2]
    return str(reader["name"]).rpartition(".")[2] == last or not {writer["name"], last}.isdisjoint(
        reader.get("aliases", ())
    )
