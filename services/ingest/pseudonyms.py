"""Personal data at the door: what names a person is replaced by a pseudonym before a sample is written. Pure.

    pseudonym = the first 32 hexadecimal digits of HMAC-SHA256(key of the person, name of the field, NUL, value)

Rules:

- The same person and value give the same pseudonym for as long as the person's key lives. So what is computed per
  entity is the same as without pseudonyms, and keys join. Two persons with the same value get different ones.
- With the key gone nobody can compute or test a pseudonym, nor lead one back (crypto-shredding). A person who comes
  again gets a new key, and so pseudonyms that nobody can link to the old ones.
- Null stays null. Whoever is not named, by null or by an empty text, has no key: such an event is refused before a key
  is asked for, as is any other that breaks its contract.
- The work is done once for each different person and value of a batch, and what was made is remembered for a while.
- What upstream wrote (events, labels) and dead letters, which hold the original bytes so that they can be replayed, are
  not changed here: they expire with their topic's retention, and ``millrace erase`` names what is still there.
- Whatever is said about a record, in a log line or a header, passes :func:`safe_message` first.
"""

import hmac
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.errors import ContractError
from millrace.contracts.personal import Personal

DIGITS = 32
CACHED_MAX = 100_000  # pseudonyms of one field, some 25 MB
SHOWN = "(personal)"
SHORT = 4  # characters; a shorter value also stands inside other words, and is hidden only where it is a word
SHOWING_BYTES = frozenset({"undecodable", "unencodable", "bad-label"})
"""Reasons whose messages quote what was received, which may be anything."""


class Keys(Protocol):
    """Who has the key of each person: ``SubjectKeys``."""

    @property
    def generation(self) -> int:
        """Another number whenever keys were destroyed since; as of the last call of ``keys_for``."""
        ...

    def keys_for(self, subjects: Iterable[str], now_ms: int) -> Mapping[str, bytes]:
        """The key of each of these persons; whoever has none gets one."""
        ...


def pseudonym(key: bytes, field: str, value: str) -> str:
    """The pseudonym of a value in a field, for the person whose key it is.

    >>> pseudonym(bytes(32), "who", "Ada")
    'd3e83c22df78fe55dc1d376a29f7734c'
    """
    return hmac.digest(key, f"{field}\0{value}".encode(), "sha256").hex()[:DIGITS]


class Pseudonyms:
    """Puts pseudonyms into events. One for each process; may be used by several threads.

    Asking for keys may block, and raises as :meth:`SubjectKeys.keys_for` does: call it in a thread.
    """

    def __init__(self, personal: Personal, keys: Keys, *, cached_max: int = CACHED_MAX) -> None:
        self._personal, self._keys, self._cached_max = personal, keys, cached_max
        self._made: dict[str, dict[tuple[bytes, str], str]] = {name: {} for name in personal.fields}
        self._generation = -1  # of the keys in what was made
        self._lock = threading.Lock()

    def record(self, values: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
        """A decoded event with pseudonyms in its personal fields.

        Raises:
            ContractError: the field that names the person is missing or empty (``missing-field``).
        """
        field = self._personal.subject
        subject = values.get(field)
        if not subject:
            raise ContractError("missing-field", f"field {field!r} is missing; it has to say who this is about")
        key = self._keys.keys_for([subject], now_ms)[subject]
        given = {name: values.get(name) for name in self._personal.fields}
        return {**values, **{name: pseudonym(key, name, value) for name, value in given.items() if value is not None}}

    def columns(self, batch: Any, now_ms: int, skip: Iterable[int] = ()) -> Any:
        """A ``pyarrow.RecordBatch`` of events with pseudonyms in its personal columns, of the same schema.

        In rows without a subject, and in those to ``skip`` because they are suspect, the personal fields are empty: no
        key is made for them. Give such rows to :meth:`record` one by one, after their contract was checked.
        """
        with self._lock:  # another thread must not bring back what this one forgets
            return self._replaced(batch, now_ms, list(skip))

    def _replaced(self, batch: Any, now_ms: int, skip: list[int]) -> Any:
        subjects = _without(batch.column(self._personal.subject), skip).dictionary_encode()
        names = subjects.dictionary.to_pylist()
        keys = self._keys.keys_for([name for name in names if name], now_ms)
        self._forget_destroyed()
        of_code = [keys.get(name) for name in names]  # None for the empty name
        persons = pc.fill_null(subjects.indices, -1).to_numpy(zero_copy_only=False)
        for name in self._personal.fields:
            place = batch.schema.get_field_index(name)
            field = batch.schema.field(place)
            column = self._column(name, of_code, persons, batch.column(place))
            batch = batch.set_column(place, field, column if field.nullable else pc.fill_null(column, ""))
        return batch

    def _column(self, name: str, keys: Sequence[bytes | None], persons: Any, column: Any) -> Any:
        """The column under pseudonyms: one computation for each different pair of a person and a value."""
        coded = column.dictionary_encode()
        values = coded.dictionary.to_pylist()
        codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
        pairs = (persons.astype(np.int64) + 1) * (len(values) + 1) + codes + 1  # 0 is null on both sides
        different = pa.array(pairs).dictionary_encode()
        made = self._made[name]
        if len(made) > self._cached_max:
            made.clear()
        texts = [
            self._one(made, name, keys[person - 1] if person else None, values[value - 1] if value else None)
            for person, value in (divmod(pair, len(values) + 1) for pair in different.dictionary.to_pylist())
        ]
        return pa.array(texts, pa.utf8()).take(different.indices)

    def _one(self, made: dict[tuple[bytes, str], str], name: str, key: bytes | None, value: str | None) -> str | None:
        if key is None or value is None:
            return None
        found = made.get((key, value))
        if found is None:
            found = made[key, value] = pseudonym(key, name, value)
        return found

    def _forget_destroyed(self) -> None:
        """A destroyed key must not live on here."""
        if self._keys.generation != self._generation:
            self._generation = self._keys.generation
            for made in self._made.values():
                made.clear()


def _without(column: Any, rows: list[int]) -> Any:
    """The column with nulls in these rows."""
    if not rows:
        return column
    kept = np.ones(len(column), np.bool_)
    kept[rows] = False
    return pc.if_else(pa.array(kept), column, pa.scalar(None, column.type))


def redact(values: Mapping[str, Any], personal: Personal | None) -> dict[str, Any]:
    """The values as they may be shown: personal ones as ``(personal)``, missing ones as what they are."""
    hidden = () if personal is None else personal.fields
    return {name: SHOWN if name in hidden and value is not None else value for name, value in values.items()}


def safe_message(error: ContractError, personal: Personal | None, values: Mapping[str, Any] | None = None) -> str:
    """What may be said about a refused record of the stream; ``values`` is the record, where it could be read.

    Messages that quote bytes are replaced: nobody knows what is in them. From others the personal values are taken.
    """
    if personal is None:
        return str(error)
    if error.reason in SHOWING_BYTES:
        return f"{error.reason}; what was received is not shown, because the stream has personal fields"
    message = str(error)
    found = {} if values is None else {name: values.get(name) for name in personal.fields}
    for value in sorted({str(one) for one in found.values() if one}, key=len, reverse=True):
        for form in {value, repr(value)[1:-1]}:
            whole = re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
            message = re.sub(whole, SHOWN, message)
    return message
