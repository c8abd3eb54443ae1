"""The Parquet files of a lake table: written before the commit that names them, and swept when none ever did.

A process that dies between the two leaves files that no version names. They hold no rows for any reader, only space.
"""

import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction
from pyarrow import fs

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.stores.lake_errors import LakeError
from millrace.stores.lake_schema import PERIOD, period_of

LOG = "_delta_log"
SHOWN = 32  # characters of a text in the statistics, as other writers of Delta have it
LAST = chr(0x10FFFF)  # after whatever may follow those
LARGEST = sys.float_info.max


class LakeFiles:
    """The files under one table's root."""

    def __init__(self, uri: str, storage_options: Mapping[str, str]) -> None:
        self._uri = uri
        self._options = dict(storage_options)

    @cached_property
    def _fs(self) -> Any:
        """Made when it is first needed: a folder has to be there by then."""
        return fs.PyFileSystem(DeltaStorageHandler(self._uri, self._options))

    def write(self, rows: Any, name: str, policy: LakePolicy) -> list[AddAction]:
        """Write these rows (a ``pyarrow.Table``), one file for each period, and return what names them in a commit."""
        return [self.write_period(part, period, name) for period, part in _split(rows, policy)]

    def write_period(self, rows: Any, period: str, name: str, *, data_change: bool = True) -> AddAction:
        """The same for rows of one period. ``data_change`` is False for rows that were in the table before."""
        # The random part keeps two zombies apart: neither may write over a file that the other has committed.
        path = f"{PERIOD}={period}/{name}-{secrets.token_hex(8)}.parquet"
        pq.write_table(rows, path, filesystem=self._fs, compression="zstd")
        (info,) = self._fs.get_file_info([path])
        stats = json.dumps(_stats(rows))
        return AddAction(
            path, info.size, {PERIOD: period}, info.mtime_ns // 1_000_000, data_change=data_change, stats=stats
        )

    def orphans(self, versions: int, before_ms: int) -> list[str]:
        """Parquet files last changed before that time which none of the table's versions names, the first so many.

        Raises ``LakeError`` if the log is not whole: then nobody can tell.
        """
        named: set[str] = set()
        for version in range(versions):
            named |= self._named_by(version)
        everything = self._fs.get_file_info(fs.FileSelector("", recursive=True))
        return sorted(
            info.path
            for info in everything
            if info.type == fs.FileType.File
            and info.path.endswith(".parquet")
            and not info.path.startswith(LOG)
            and info.path not in named
            and info.mtime_ns < before_ms * 1_000_000
        )

    def delete(self, path: str) -> None:
        """Delete one file. Raises ``OSError``."""
        self._fs.delete_file(path)

    def _named_by(self, version: int) -> set[str]:
        path = f"{LOG}/{version:020}.json"
        try:
            with self._fs.open_input_stream(path) as stream:
                actions = [json.loads(line) for line in stream.read().splitlines()]
        except FileNotFoundError as error:
            raise LakeError(
                f"{path} is missing, so what it names cannot be told from orphans; delete nothing"
            ) from error
        return {unquote(action["add"]["path"]) for action in actions if "add" in action}


def _split(rows: Any, policy: LakePolicy) -> Iterator[tuple[str, Any]]:
    """The rows of each period, in their order."""
    periods = period_of(rows.column("time").combine_chunks(), policy)
    for period in sorted(pc.unique(periods).to_pylist()):
        yield period, rows.filter(pc.equal(periods, period))


def _stats(rows: Any) -> dict[str, Any]:
    """What Delta keeps of a file so that readers can pass it over.

    Every column that can have bounds has them: deltalake's Arrow reader takes a column without for one that no value
    fits, and would leave out rows.
    """
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field in rows.schema:
        column = rows.column(field.name)
        if pa.types.is_list(field.type):
            continue
        nulls[field.name] = column.null_count
        if column.null_count < rows.num_rows and not pa.types.is_binary(field.type):
            least[field.name], most[field.name] = _bounds(column)
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}


def _bounds(column: Any) -> tuple[Any, Any]:
    """The least and the greatest value as Delta writes them, rounded outwards where it is less exact."""
    if pa.types.is_timestamp(column.type):
        edges = pc.min_max(column.cast(pa.int64())).as_py()
        return _iso(edges["min"] // 1000), _iso(-(-edges["max"] // 1000))
    edges = pc.min_max(column).as_py()
    if pa.types.is_string(column.type):
        longer = edges["max"][SHOWN:] and LAST
        return edges["min"][:SHOWN], edges["max"][:SHOWN] + longer
    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column)).as_py():
        return -LARGEST, LARGEST  # JSON has neither NaN nor infinity, so nobody will find rows by the latter
    return edges["min"], edges["max"]


def _iso(time_ms: int) -> str:
    text: str = pc.strftime(pa.scalar(time_ms, pa.timestamp("ms", tz="UTC")), "%Y-%m-%dT%H:%M:%SZ").as_py()
    return text
