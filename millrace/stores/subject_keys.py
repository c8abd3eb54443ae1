"""The key store of personal data: one random key for each person, and its destruction.

What ingest writes about a person is keyed with a key of that person's own (``services/ingest/pseudonyms.py``). Whoever
destroys the key has erased the person: nothing that was written can be led back to them any more, on the log, in the
lake, in old versions of it, or in copies that nobody knows of.

Rules:

- No person stands here in the clear. A person is found by an HMAC of their name under the *pepper*, a secret that is
  kept outside the database (``pepper.py``). Another pepper would find nobody, and give everybody a second key in
  silence; so a store remembers a check value of its pepper and refuses to open with another one.
- A key is on disk before it is handed out, and two processes that see a person for the first time get the same one.
- A person who comes again after an erasure begins a new *life* with a new key. Nothing links the two lives.
- Between destruction and the end of an erasure the row keeps the pseudonym, so that an erasure that was killed can be
  finished. :meth:`SubjectKeys.finish` takes away this last link.
- Keys are cached. Each destruction raises a generation number, which :meth:`SubjectKeys.keys_for` asks for again after
  ``CHECK_EVERY_MS``. So what is in hand while a key is destroyed, and what comes within that time, is still written
  with it; and it leads to nobody, as everything before it.
- SQLite overwrites what is deleted, and its journal is emptied after a destruction. Backups, and what a file system or
  PostgreSQL's archived journal remembers, are beyond this: they have to expire.

All of it blocks for as long as the database takes: callers run it in a thread. It may be used by several threads.
"""

import hmac
import itertools
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import create_engine, event, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from millrace.stores.pepper import RandomBytes, SubjectKeysError
from millrace.stores.subject_key_tables import Base, State, SubjectKey
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
KEY_BYTES = 32
CACHED_MAX = 200_000  # some 40 MB
CHUNK = 500  # values in one IN: SQLite of old took 999
TRIES = 5
BUSY_S = 30.0
CHECK_EVERY_MS = 200  # asking takes 0.15 ms: nothing for a batch, much for an event that is read alone
STATE = 1  # the id of the one row of the state


class SubjectKeysUnavailableError(SubjectKeysError):
    """The key store's database does not answer. Nothing can be pseudonymised, so nothing is written, meanwhile."""

    retryable = True


class Life(NamedTuple):
    """What the store knows of a person from one erasure to the next. ``key`` is None once it was destroyed.

    ``number`` counts from 1. ``pseudonym`` is there from the destruction until the erasure is finished.
    """

    number: int
    key: bytes | None
    created_at_ms: int
    destroyed_at_ms: int | None
    pseudonym: str | None


class SubjectKeys:
    """The keys of the persons of one stream, in a database at a SQLAlchemy URL. Nothing is opened before it is used.

    ``scope`` is the stream's name: a person has another key, and so other pseudonyms, in each stream, and an erasure
    names everything that its key was good for.
    """

    def __init__(
        self,
        url: str,
        pepper: bytes,
        scope: str,
        random_bytes: RandomBytes = secrets.token_bytes,
        *,
        cached_max: int = CACHED_MAX,
    ) -> None:
        parsed = make_url(url)
        if parsed.drivername == "postgres":
            parsed = parsed.set(drivername="postgresql")
        on_file = parsed.get_backend_name() == "sqlite" and parsed.database
        self._file = Path(str(parsed.database)) if on_file else None
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_S}} if self._file else {"pool_pre_ping": True}
        self._engine = create_engine(parsed, hide_parameters=True, **options)  # parameters are keys
        if self._file:
            event.listen(self._engine, "connect", _careful)
        self.name = parsed.render_as_string(hide_password=True)
        self._pepper, self._scope, self._random_bytes = pepper, scope.encode(), random_bytes
        self._cached_max = cached_max
        self._cache: dict[str, bytes] = {}
        self._generation = -1  # of what is in the cache
        self._checked_ms: int | None = None
        self._lock = threading.Lock()
        self._is_open = False

    @property
    def generation(self) -> int:
        """How many keys had been destroyed when :meth:`keys_for` was last called: what came from older ones is void."""
        return self._generation

    def keys_for(self, subjects: Iterable[str], now_ms: int) -> dict[str, bytes]:
        """The key of each of these persons; whoever has none gets one.

        Raises:
            SubjectKeysUnavailableError: the database does not answer; call again later.
            SubjectKeysError: it belongs to another pepper.
        """
        wanted = set(subjects)
        with self._lock, self._reaching():
            self._notice_destruction(now_ms)
            known = {subject: key for subject in wanted if (key := self._cache.get(subject)) is not None}
            if len(known) < len(wanted):
                added = self._fetch({self._hash(subject): subject for subject in wanted - known.keys()}, now_ms)
                self._cache |= added
                known |= added
                too_many = max(0, len(self._cache) - self._cached_max)
                for oldest in list(itertools.islice(self._cache, too_many)):
                    del self._cache[oldest]
        return known

    def lives(self, subject: str) -> list[Life]:
        """What is known of a person, newest life first; empty if they never came. Raises like :meth:`keys_for`."""
        row = SubjectKey
        of = select(row.life, row.key, row.created_at_ms, row.destroyed_at_ms, row.pseudonym)
        of = of.where(row.subject_hash == self._hash(subject)).order_by(row.life.desc())
        with self._lock, self._reaching(), self._engine.begin() as connection:
            return [Life(*found) for found in connection.execute(of)]

    def destroy(self, subject: str, life: int, now_ms: int, pseudonym: str | None = None) -> Life | None:
        """Destroy the person's key of that life, for ever; None if it has none (any more), then nothing has changed.

        ``pseudonym`` is kept until :meth:`finish`. Raises like :meth:`keys_for`; then it may or may not have happened,
        and calling it again is safe.
        """
        row = SubjectKey
        where = update(row).where(row.subject_hash == self._hash(subject), row.life == life, row.key.is_not(None))
        where = where.values(key=None, destroyed_at_ms=now_ms, pseudonym=pseudonym).returning(row.created_at_ms)
        with self._lock, self._reaching():
            with self._engine.begin() as connection:
                created_at_ms = connection.execute(where).scalar()
                if created_at_ms is not None:
                    connection.execute(update(State).values(generation=State.generation + 1))
            self._cache.pop(subject, None)
            self._checked_ms = None
            if created_at_ms is None:
                return None
            self._scrub()
        return Life(life, None, created_at_ms, now_ms, pseudonym)

    def finish(self, subject: str) -> None:
        """Forget under which pseudonyms the person was known: the erasure is complete. Raises like :meth:`keys_for`."""
        row = SubjectKey
        ended = update(row).where(row.subject_hash == self._hash(subject), row.key.is_(None)).values(pseudonym=None)
        with self._lock, self._reaching():
            with self._engine.begin() as connection:
                connection.execute(ended)
            self._scrub()

    def close(self) -> None:
        """Close all connections and forget the keys in memory."""
        with self._lock:
            self._engine.dispose()
            self._cache.clear()
            self._is_open = False

    # ---- inside, with the lock held ----------------------------------------------------------------------------

    def _hash(self, subject: str) -> str:
        return hmac.digest(self._pepper, self._scope + b"\0" + subject.encode(), "sha256").hex()

    def _notice_destruction(self, now_ms: int) -> None:
        if self._checked_ms is not None and 0 <= now_ms - self._checked_ms < CHECK_EVERY_MS:
            return
        self._checked_ms = now_ms
        with self._engine.begin() as connection:
            generation = connection.scalar(select(State.generation))
        if generation != self._generation:
            self._cache.clear()
            self._generation = -1 if generation is None else generation

    def _fetch(self, subjects: dict[str, str], now_ms: int) -> dict[str, bytes]:
        """Keys by person, for persons by hash. Made where missing; whoever came first has made it."""
        found: dict[str, bytes] = {}
        for _ in range(TRIES):
            lives: dict[str, int] = {}
            with self._engine.begin() as connection:
                for subject_hash, life, key in _rows(connection, sorted(subjects.keys() - found.keys())):
                    lives[subject_hash] = max(life, lives.get(subject_hash, 0))
                    if key is not None:
                        found[subject_hash] = key
            missing = sorted(subjects.keys() - found.keys())  # in one order everywhere, so that nobody deadlocks
            if not missing:
                return {subjects[subject_hash]: key for subject_hash, key in found.items()}
            rows = [
                {"subject_hash": one, "life": lives.get(one, 0) + 1, "key": self._random_bytes(KEY_BYTES),
                 "created_at_ms": now_ms}
                for one in missing
            ]  # fmt: skip
            with self._engine.begin() as connection:
                connection.execute(_insert_new(connection, SubjectKey), rows)
        raise SubjectKeysUnavailableError(f"{self.name}: keys are destroyed as fast as they are made; try again later")

    def _open(self) -> None:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
        for chance in range(TRIES):
            try:
                with self._engine.begin() as connection:
                    Base.metadata.create_all(connection)
                break
            except SQLAlchemyError:  # somebody else may be creating the same tables
                if chance == TRIES - 1:
                    raise
        check = hmac.digest(self._pepper, b"millrace subject keys", "sha256").hex()
        with self._engine.begin() as connection:
            row = {"id": STATE, "generation": 0, "pepper_check": check}
            connection.execute(_insert_new(connection, State), [row])
            stored = connection.scalar(select(State.pepper_check))
        if stored is None or not hmac.compare_digest(stored, check):
            raise SubjectKeysError(
                f"{self.name} was made with another pepper: nobody would be found in it. Give the one it was made with "
                "(MILLRACE_PEPPER, or the pepper file beside the store)"
            )
        self._is_open = True

    def _scrub(self) -> None:
        """What a destroyed key was written over must not live on in the journal."""
        if self._file is None:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(f"VACUUM {SubjectKey.__tablename__}"))
            return
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            busy = connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]
        if busy:
            log.warning("key destroyed, but the journal could not be emptied: a reader holds it", database=self.name)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Open the store where it is not, and say whose fault it is when the database fails."""
        try:
            if not self._is_open:
                self._open()
            yield
        except OperationalError as error:
            raise SubjectKeysUnavailableError(f"{self.name} does not answer: {error.orig}; try again later") from error
        except OSError as error:
            raise SubjectKeysUnavailableError(f"{self.name} cannot be opened: {error.strerror}") from error
        except SQLAlchemyError as error:  # its text may show the row, and so a key
            raise SubjectKeysError(f"{self.name} is no key store of ours: {type(error).__name__}") from None


def _careful(connection: Any, _record: Any) -> None:
    """SQLite: readers do not wait for the writer, what is deleted is overwritten."""
    for pragma in ("journal_mode=WAL", "secure_delete=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _rows(connection: Connection, hashes: list[str]) -> Iterator[tuple[str, int, bytes | None]]:
    row = SubjectKey
    for start in range(0, len(hashes), CHUNK):
        chosen = row.subject_hash.in_(hashes[start : start + CHUNK])
        for found in connection.execute(select(row.subject_hash, row.life, row.key).where(chosen)):
            yield found.subject_hash, found.life, found.key


def _insert_new(connection: Connection, table: type[Base]) -> Any:
    """An insert that leaves alone what is there."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing()
