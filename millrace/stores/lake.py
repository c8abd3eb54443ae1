"""The lake: the samples log of a stream as a Delta table, row by row, in a local folder or any S3-compatible store.

**Exactly once.** Each append carries a Delta application transaction: its id is ``millrace/<stream>/<partition>``, its
version the offset after the last row. It is in the same commit as the rows, so a table knows up to which offset it has
a partition. An append begins where the table ends, or it is refused.

**Two writers.** deltalake does not refuse an older transaction version. It does refuse a commit if another one with
the same transaction id was made since the state that the writer looked at. So every append looks at the newest state,
commits against just that state, and after a conflict looks again: of two zombies one wins, and the other sees it.
Appends to different partitions do not conflict. Compaction and deletion have an id of their own for the same reason.
``tests/stores/`` holds the library to all this. On object stores it rests on conditional puts, see :func:`s3_options`.

**Crashes.** Files are written first, then a commit names them: a row is in the table when the commit is. What a dead
process leaves between the two is invisible, and :meth:`Lake.vacuum` sweeps it. Files of a local folder are not synced
to the disk one by one; the samples log still has what a power failure would take.

**Time travel.** Rows never change; :meth:`Lake.delete_entity` alone removes some, from the newest version on. Every
version stays readable: the log is never cleaned, and ``vacuum`` keeps each file that any version names.

All of it blocks; call it in a thread. Calls may come from several threads.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.stores import lake_read
from millrace.stores.lake_commit import Commit, added_columns, committed, require_within
from millrace.stores.lake_compact import merged
from millrace.stores.lake_errors import LakeError, LakeFencedError, LakeGapError, LakeUnavailableError
from millrace.stores.lake_files import LakeFiles
from millrace.stores.lake_read import Range
from millrace.stores.lake_schema import COLUMNS, fit
from millrace.stores.lake_store import NO_CLEANING, LakeStore, s3_options

__all__ = [
    "COLUMNS",
    "Commit",
    "Lake",
    "LakeError",
    "LakeFencedError",
    "LakeGapError",
    "LakeUnavailableError",
    "Range",
    "s3_options",
]

ATTEMPTS = 20  # of one change against commits of others; those come every few seconds, so two or three are many


class Lake:
    """The table of one stream.

    Args:
        root: a folder, or ``s3://bucket/prefix``. The table is under it, in a folder with the stream's name.
        stream: name of the stream.
        policy: how the table is partitioned.
        storage_options: how to reach an object store, as :func:`s3_options` makes them.
        reached: told the name of each place where a test may want to let the process die, or do something else first:
            ``lake.before-write``, ``lake.between-write-and-commit``, ``lake.after-commit``; ``lake.before-compaction``,
            ``lake.between-merge-and-commit``, ``lake.before-deletion``.
    """

    def __init__(
        self,
        root: str | Path,
        stream: str,
        policy: LakePolicy,
        storage_options: Mapping[str, str] | None = None,
        *,
        reached: Callable[[str], None] = lambda _place: None,
    ) -> None:
        text = str(root) if "://" in str(root) else str(Path(root).absolute())
        self._store = LakeStore(f"{text.rstrip('/')}/{stream}", storage_options or {})
        self._files = LakeFiles(self._store.uri, self._store.options)
        self._stream = stream
        self._policy = policy
        self._reached = reached
        self._lock = threading.Lock()
        self._newest: DeltaTable | None = None  # what the last append left; the next one reads only what came since

    @property
    def uri(self) -> str:
        """Where the table is."""
        return self._store.uri

    # ---- where it stands -----------------------------------------------------------------------------------------

    def position(self, partition: int) -> int | None:
        """The samples offset below which the table has everything; None if it has nothing of the partition."""
        table = self._store.open()
        return None if table is None else self._position(table, partition)

    def begin(self, partition: int) -> int | None:
        """The samples offset from which on the table has the partition; None if it has nothing of it."""
        table = self._store.open()
        return None if table is None else self._begin(table, partition)

    def version(self) -> int | None:
        """The newest version of the table; None if there is no table."""
        table = self._store.open()
        return None if table is None else int(table.version())

    def history(self, limit: int | None = None) -> list[Commit]:
        """The versions of the table, the newest first."""
        table = self._store.open()
        with self._store.asking("its history"):
            return [] if table is None else [Commit.of(entry) for entry in table.history(limit)]

    def versions(self, entity: str) -> tuple[int, ...]:
        """The versions that brought rows of this entity, as far as the newest one still has them."""
        places = self._rows(self._store.open(), lake_read.of_entity(entity), ["partition", "offset"]).to_pylist()
        commits = self.history()
        found = {each.version for each in commits for place in places if each.has(place["partition"], place["offset"])}
        return tuple(sorted(found))

    # ---- writing -------------------------------------------------------------------------------------------------

    def append(self, rows: Any, partition: int, from_offset: int, until_offset: int) -> int:
        """Append the samples of ``[from_offset, until_offset)``, a ``pyarrow.Table`` in offset order, exactly once.

        Its columns are ``COLUMNS`` and, each with ``raw_`` before its name, those of the event. It may have no rows:
        then the samples log has none in that range.

        Returns:
            A version of the table that has the rows.

        Raises:
            LakeFencedError: the table is beyond ``from_offset``: another writer was here, or this one, unknowingly.
            LakeGapError: the table ends before ``from_offset``.
            LakeUnavailableError: the store does not answer. Ask for :meth:`position` before trying again.
        """
        require_within(rows, partition, from_offset, until_offset)
        with self._lock, self._store.asking("an append"):
            try:
                return self._append(rows, partition, from_offset, until_offset)
            except BaseException:  # whatever it was, the next append looks at everything afresh
                self._newest = None
                raise

    def _append(self, rows: Any, partition: int, from_offset: int, until_offset: int) -> int:
        table = self._newest = self._newest or self._store.open_or_create()
        name = f"{partition}-{from_offset}-{until_offset}"
        written: tuple[pa.Schema, list[AddAction]] | None = None
        for _ in range(ATTEMPTS):
            table.update_incremental()
            at = self._position(table, partition)
            if written is not None and at == until_offset:
                return int(table.version())  # the conflict was about these very rows: whoever won, they are in
            self._require_next(at, partition, from_offset)
            fitted = fit(rows, pa.schema(table.schema().to_arrow()))
            if added_columns(table, fitted):
                continue
            if written is None or written[0] != fitted.schema:
                self._reached("lake.before-write")
                written = (fitted.schema, self._files.write(fitted, name, self._policy))
                self._reached("lake.between-write-and-commit")
            told = {"partition": partition, "from_offset": from_offset, "until_offset": until_offset}
            transactions = [Transaction(self._id(partition), until_offset)]
            if at is None:
                transactions.append(Transaction(self._begin_id(partition), from_offset))
            if committed(table, written[1], {**told, "rows": rows.num_rows}, transactions):
                self._reached("lake.after-commit")
                table.update_incremental()
                return int(table.version())
        raise LakeUnavailableError(f"{self.uri}: {ATTEMPTS} commits in a row met those of others; try again later")

    def _require_next(self, at: int | None, partition: int, from_offset: int) -> None:
        if at is None or at == from_offset:
            return
        where = f"{self.uri} has partition {partition} up to offset {at}"
        if at > from_offset:
            raise LakeFencedError(f"{where}; what follows {from_offset} was appended by another writer")
        raise LakeGapError(f"{where}; appending from {from_offset} on would leave rows out")

    def compact(self) -> bool:
        """Merge small files. False if there was nothing to do, or another change of files came before it."""
        table = self._store.open()
        if table is None:
            return False
        self._reached("lake.before-compaction")
        with self._store.asking("compaction"):
            changes = merged(table, self._files)
            self._reached("lake.between-merge-and-commit")
            return bool(changes) and committed(table, changes, {"operation": "COMPACT"}, [self._changing_files(table)])

    def delete_entity(self, entity: str) -> int:
        """Remove the entity's rows from the newest version on; how many there were. Older versions keep them."""
        literal = entity.replace("'", "''")
        for _ in range(ATTEMPTS):
            table = self._store.open()
            if table is None:
                return 0
            self._reached("lake.before-deletion")
            with self._store.asking("a deletion"), contextlib.suppress(CommitFailedError):
                done = table.delete(
                    f"entity = '{literal}'",
                    commit_properties=CommitProperties(app_transactions=[self._changing_files(table)]),
                    post_commithook_properties=NO_CLEANING,
                )
                return int(done["num_deleted_rows"] or 0)
        raise LakeUnavailableError(f"{self.uri}: {ATTEMPTS} deletions in a row met commits of others; try again later")

    def _changing_files(self, table: DeltaTable) -> Transaction:
        """One id for all that puts files in the place of others, so that of two from the same state one is refused."""
        return Transaction(f"millrace/{self._stream}/files", int(table.version()) + 1)

    def vacuum(self, before_ms: int) -> list[str]:
        """Delete files that no version names and that were last changed before that time; return their paths.

        Take a time that no append in hand can have begun before, such as a day ago. No version loses anything by it.
        """
        table = self._store.open()
        if table is None:
            return []
        with self._store.asking("its files"):
            orphans = self._files.orphans(int(table.version()) + 1, before_ms)
            for path in orphans:
                self._files.delete(path)
        return orphans

    # ---- reading -------------------------------------------------------------------------------------------------

    def read(self, ranges: Iterable[Range], version: int | None = None, columns: Sequence[str] | None = None) -> Any:
        """The rows of these ranges as a ``pyarrow.Table``, ordered by partition and offset.

        Args:
            ranges: what to read; each offset counts once, however many ranges have it.
            version: of the table; None is the newest.
            columns: their names; None is all of them.

        Raises:
            LakeGapError: the table, as of that version, was not given all of a range.
        """
        wanted = [each for each in ranges if each.until_offset > each.from_offset]
        table = self._store.open(version)
        for each in wanted:
            self._require_covered(table, each)
        return self._rows(table, lake_read.within(wanted), columns) if wanted else self._rows(None, None, columns)

    def read_until(self, recorded_ms: int, columns: Sequence[str] | None = None) -> Any:
        """All rows that were in the samples log at that log time: what was known then, and no label known later."""
        return self._rows(self._store.open(), lake_read.known_at(recorded_ms), columns)

    def _rows(self, table: DeltaTable | None, chosen: Any, columns: Sequence[str] | None) -> Any:
        with self._store.asking("rows"):
            return lake_read.rows(table, chosen, columns)

    def _require_covered(self, table: DeltaTable | None, wanted: Range) -> None:
        until = None if table is None else self._position(table, wanted.partition)
        begin = None if table is None else self._begin(table, wanted.partition)
        if until is None or begin is None or not begin <= wanted.from_offset < wanted.until_offset <= until:
            has = "nothing" if until is None else f"the offsets {begin} to {until}"
            version = "" if table is None else f" in version {table.version()}"
            raise LakeGapError(
                f"{self.uri} has {has} of partition {wanted.partition}{version}; "
                f"{wanted.from_offset} to {wanted.until_offset} was asked for"
            )

    # ---- positions -----------------------------------------------------------------------------------------------

    def _id(self, partition: int) -> str:
        return f"millrace/{self._stream}/{partition}"

    def _begin_id(self, partition: int) -> str:
        return f"{self._id(partition)}/begin"

    def _position(self, table: DeltaTable, partition: int) -> int | None:
        return table.transaction_version(self._id(partition))

    def _begin(self, table: DeltaTable, partition: int) -> int | None:
        return table.transaction_version(self._begin_id(partition))
