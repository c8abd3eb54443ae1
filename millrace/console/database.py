"""The console's database: a SQLite file that the log fills, and that may be deleted at any time.

Rules:

- Events and the position they reach change in one transaction, so a crash between two batches loses nothing and doubles
  nothing. There is one writer, this process; pages read beside it (write-ahead log).
- A file of another layout, one that SQLite finds damaged, or one that is ahead of the log is deleted and filled again.

All of it blocks for as long as the database takes: callers run it in a thread.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, delete, event, inspect, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from millrace.bus.types import Record
from millrace.console.apply import apply, apply_letters
from millrace.console.decisions import Decisions
from millrace.console.summary import summarise
from millrace.console.tables import Base, Layout, Letter, Position, fingerprint
from millrace.contracts.events import Event
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


class Database:
    """The file at a path. Nothing is opened before :meth:`open`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._engine: Engine = create_engine(f"sqlite:///{file}")
        event.listen(self._engine, "connect", _tune)

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self._file)

    def open(self, topics: Iterable[str]) -> Mapping[str, int]:
        """Make the tables fit for use and say where each topic is to be read from."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            known = self._positions()
        except (DatabaseError, sqlite3.DatabaseError) as error:
            log.warning("the console's database is unusable: rebuilding", file=self.name, error=str(error))
            self.clear()
            known = self._positions()
        with Session(self._engine) as session, session.begin():
            session.add_all(Position(topic=topic, next_offset=0) for topic in topics if topic not in known)
        return {topic: known.get(topic, 0) for topic in topics}

    def _positions(self) -> dict[str, int]:
        with self._engine.begin() as connection:
            _lay_out(connection)
            return {row.topic: row.next_offset for row in connection.execute(select(Position.__table__))}

    def clear(self) -> None:
        """Forget everything: the next :meth:`open` starts at offset 0."""
        self._engine.dispose()
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)

    def apply(self, topic: str, until: int, events: Sequence[tuple[int, Event]]) -> frozenset[str]:
        """Apply events of a topic, with their offsets, and move its position; both or neither.

        Returns the models whose summary may have changed; see :meth:`summarise`.
        """
        with self._engine.begin() as connection:
            connection.execute(update(Position).where(Position.topic == topic).values(next_offset=until))
            return apply(connection, events)

    def apply_letters(self, place: str, until: int, letters: Sequence[Record]) -> None:
        """The same for refused records; the position's name is that of their partition."""
        with self._engine.begin() as connection:
            connection.execute(update(Position).where(Position.topic == place).values(next_offset=until))
            apply_letters(connection, letters)

    def forget_letters(self, topic: str, partition: int, before: int) -> None:
        """Leave out what the log has removed."""
        gone = delete(Letter).where(Letter.topic == topic, Letter.partition == partition, Letter.log_offset < before)
        with self._engine.begin() as connection:
            connection.execute(gone)

    def summarise(self, models: Iterable[str], decisions: Decisions, streams: Mapping[str, str], now_ms: int) -> None:
        """Bring the summaries of these models up to date."""
        with Session(self._engine) as session, session.begin():
            for model in sorted(models):
                summarise(session, decisions, model, streams.get(model), now_ms)

    def session(self) -> Session:
        """A session for questions."""
        return Session(self._engine)

    def watch(self, told: Callable[[str], None]) -> None:
        """Have each statement told before it is run: for tests that count them."""

        def before(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: Any) -> None:
            told(statement)

        event.listen(self._engine, "before_cursor_execute", before)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _tune(connection: Any, _record: Any) -> None:
    """Readers do not wait for the writer; what a crash loses is read again."""
    for pragma in ("journal_mode=WAL", "synchronous=OFF", "temp_store=MEMORY", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}").close()


def _lay_out(connection: Connection) -> None:
    tables = set(inspect(connection).get_table_names())
    whole = tables >= set(Base.metadata.tables)
    if whole and connection.scalars(select(Layout.fingerprint)).all() == [fingerprint()]:
        return
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)
    connection.execute(Layout.__table__.insert().values(fingerprint=fingerprint()))  # type: ignore[attr-defined]
