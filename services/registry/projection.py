"""Writes the projection: every event once, together with the log position that it reflects.

Rules:

- Events and position change in one transaction, so a crash between two batches loses nothing and doubles nothing.
- The position is moved only from where the writer believes it to be. Two processes may share a database: the slower one
  gets ``MovedError`` and looks again.
- What the registry's core refuses (an epoch that does not grow, a second decision about a run) is refused here too:
  see ``apply``.
- A file that SQLite calls damaged is moved aside, never deleted; the log fills a new one.

All of it blocks for as long as the database takes: callers run it in a thread.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import create_engine, inspect, select, update
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.orm import Session

from millrace.contracts.errors import MillraceError
from millrace.contracts.events import Event
from millrace.telemetry.log import get_logger
from services.registry.apply import apply
from services.registry.tables import Base, Layout, Position, fingerprint

log = get_logger(__name__)
_NOT_THE_FILES_FAULT = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_AUTH,
})  # fmt: skip


class MovedError(MillraceError):
    """Somebody else has moved the position of a topic meanwhile; look where it is and go on from there."""

    retryable = True


class Projection:
    """The database at a SQLAlchemy URL. Nothing is opened before :meth:`open` or a session."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername == "postgres":
            parsed = parsed.set(drivername="postgresql")
        self._file = Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
        self._engine = create_engine(parsed, pool_pre_ping=self._file is None)
        self.name = parsed.render_as_string(hide_password=True)

    def open(self, topics: Iterable[str]) -> Mapping[str, int]:
        """Make the tables fit for use and say where each topic is to be read from.

        Afterwards the tables exist in the newest layout; those of an older one were emptied, a damaged file was moved
        aside. Raises SQLAlchemy's or SQLite's errors if the database cannot be reached; then nothing is known.
        """
        if self._file is not None:
            self._engine.dispose()
            _make_sound(self._file)
        with self._engine.begin() as connection:
            self._lay_out(connection)
        with Session(self._engine) as session, session.begin():
            known = {row.topic: row.next_offset for row in session.scalars(select(Position))}
            session.add_all(Position(topic=topic, next_offset=0) for topic in topics if topic not in known)
        return {topic: known.get(topic, 0) for topic in topics}

    def clear(self) -> None:
        """Forget everything, in one transaction: the next :meth:`open` starts at offset 0."""
        with self._engine.begin() as connection:
            Base.metadata.drop_all(connection)

    def apply(self, topic: str, position: int, until: int, events: Sequence[tuple[int, Event]]) -> None:
        """Apply events of a topic, with their offsets, and move its position; both or neither.

        Raises ``MovedError`` if the position is no longer ``position``; then nothing has changed.
        """
        where = update(Position).where(Position.topic == topic, Position.next_offset == position)
        with Session(self._engine) as session, session.begin():
            if session.connection().execute(where.values(next_offset=until)).rowcount != 1:
                raise MovedError(f"{topic} is no longer at {position} in {self.name}")
            for offset, event in events:
                apply(session, offset, event)
                session.flush()  # so that the next event of this batch sees it

    def session(self) -> Session:
        """A session for questions."""
        return Session(self._engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _lay_out(self, connection: Connection) -> None:
        tables = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
        if tables and Layout.__tablename__ not in tables:
            raise MillraceError(
                f"{self.name} has tables {sorted(tables)} that Millrace did not make; give the registry a database of "
                "its own with MILLRACE_DATABASE_URL"
            )
        whole = tables == set(Base.metadata.tables)
        if whole and connection.scalars(select(Layout.fingerprint)).all() == [fingerprint()]:
            return
        if tables:
            log.warning("projection is incomplete or of another layout: rebuilding", database=self.name)
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
        connection.execute(Layout.__table__.insert().values(fingerprint=fingerprint()))  # type: ignore[attr-defined]


def _make_sound(file: Path) -> None:
    """Make the file one that SQLite can work with; what it is damaged with is moved aside and logged."""
    file.parent.mkdir(parents=True, exist_ok=True)
    damage = _damage(file)
    if damage is None:
        return
    number = next(n for n in range(1, 1_000_000) if not file.with_name(f"{file.name}.damaged-{n}").exists())
    aside = file.with_name(f"{file.name}.damaged-{number}")
    for suffix in ("", "-wal", "-shm"):  # a journal left behind would be applied to the new file
        part = file.with_name(file.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    log.error("projection is damaged: moved aside, rebuilding from the log", damage=damage, moved_to=str(aside))
    _damage(file)


def _damage(file: Path) -> str | None:
    """What SQLite finds wrong with the file; None if nothing. Readers never wait for the writer afterwards (WAL)."""
    connection = sqlite3.connect(file)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _NOT_THE_FILES_FAULT:
            raise
        return str(error)
    finally:
        connection.close()
    return None if found == ["ok"] else "; ".join(found)
