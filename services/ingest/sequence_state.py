"""What the rules with memory remember, and the bytes in which it is saved. Pure.

A part is a JSON object compressed by zlib. Each says of which format, version and rules it is, and how many parts there
are. Entities are rows of name, newest event time and newest values; combinations are digests of 16 bytes, oldest first.
"""

import base64
import binascii
import hashlib
import itertools
import json
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

DIGEST_BYTES = 16  # two of a billion combinations are alike with a chance of 1e-21
PART_BYTES = 300_000  # of entities before compression, which makes hardly anything longer
PART_DIGESTS = 15_000  # 320 kB in base64; compression finds nothing to take away
FORMAT, VERSION = "millrace/sequence", 1

Known = tuple[int, tuple[float | None, ...]]
"""Newest event time of an entity, and the newest value of each field that is watched for jumps."""


@dataclass(slots=True)
class Memory:
    """``seen``: the digests of each combination of fields, oldest first. A plain dict that shrinks in front is slow."""

    seen: dict[tuple[str, ...], OrderedDict[bytes, None]]
    entities: dict[str, Known] = field(default_factory=dict)
    newest_ms: int | None = None
    rows: int = 0


def pack(memory: Memory, watched: Sequence[str]) -> list[bytes]:
    """The memory as parts of less than 500 kB, at least one."""
    bodies = [*_entity_parts(memory), *_digest_parts(memory)] or [{}]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "rules": _fingerprint(watched, memory.seen),
        "parts": len(bodies),
        "newest_ms": memory.newest_ms,
        "rows": memory.rows,
    }
    return [_compress({**head, "part": part, **body}) for part, body in enumerate(bodies)]


def unpack(
    frames: Sequence[bytes], watched: Sequence[str], combinations: Sequence[tuple[str, ...]], remembered: int
) -> Memory:
    """The memory in these parts, in any order, with at most ``remembered`` digests of each combination.

    Raises:
        ValueError: they are damaged, incomplete, or of other rules; the sentence says which.
    """
    parts = [_decompress(frame) for frame in frames]
    rules = _fingerprint(watched, combinations)
    try:
        for part in parts:
            if (part["format"], part["version"]) != (FORMAT, VERSION):
                raise ValueError(f"saved as {part['format']!r} version {part['version']!r}, {VERSION} is read here")
            if part["rules"] != rules:
                raise ValueError("saved for other rules than model.yaml has now")
        parts.sort(key=lambda part: part["part"])
        if not parts or [part["part"] for part in parts] != list(range(parts[0]["parts"])):
            raise ValueError(f"parts {[part['part'] for part in parts]} are not all of them, each once")
        return _merge(parts, len(watched), combinations, remembered)
    except (KeyError, TypeError, IndexError, binascii.Error) as error:
        raise ValueError(f"not a saved memory of rules: {error!r}") from error


def _merge(
    parts: Sequence[dict[str, Any]], width: int, combinations: Sequence[tuple[str, ...]], remembered: int
) -> Memory:
    if len({(part["newest_ms"], part["rows"]) for part in parts}) != 1:
        raise ValueError("the parts were not saved together")
    memory = Memory({fields: OrderedDict() for fields in combinations}, {}, parts[0]["newest_ms"], parts[0]["rows"])
    for part in parts:
        for name, newest_ms, *values in part.get("entities", ()):
            if len(values) != width:
                raise ValueError(f"an entity has {len(values)} values, {width} are watched")
            memory.entities[name] = (newest_ms, tuple(values))
        if "digests" in part:
            joined = base64.b64decode(part["digests"], validate=True)
            digests = [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
            memory.seen[combinations[part["combination"]]].update(dict.fromkeys(digests))
    for fields, seen in memory.seen.items():
        newest = itertools.islice(seen, max(0, len(seen) - remembered), None)
        memory.seen[fields] = OrderedDict.fromkeys(newest)
    return memory


def _entity_parts(memory: Memory) -> Iterator[dict[str, Any]]:
    rows: list[Any] = []
    size = 0
    for name, (newest_ms, values) in memory.entities.items():
        row = [name, newest_ms, *values]
        length = len(json.dumps(row))
        if rows and size + length > PART_BYTES:
            yield {"entities": rows}
            rows, size = [], 0
        rows.append(row)
        size += length
    if rows:
        yield {"entities": rows}


def _digest_parts(memory: Memory) -> Iterator[dict[str, Any]]:
    for place, seen in enumerate(memory.seen.values()):
        digests = list(seen)
        for start in range(0, len(digests), PART_DIGESTS):
            joined = b"".join(digests[start : start + PART_DIGESTS])
            yield {"combination": place, "digests": base64.b64encode(joined).decode()}


def _fingerprint(watched: Iterable[str], combinations: Iterable[tuple[str, ...]]) -> str:
    """Of all that the layout depends on; what the rules do with it may change freely."""
    layout = json.dumps([list(watched), [list(fields) for fields in combinations]])
    return hashlib.sha256(layout.encode()).hexdigest()[:16]


def _compress(part: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(part, separators=(",", ":")).encode())


def _decompress(frame: bytes) -> dict[str, Any]:
    try:
        part = json.loads(zlib.decompress(frame))
    except (zlib.error, ValueError) as error:
        raise ValueError(f"a part of {len(frame)} bytes is damaged: {error}") from error
    if not isinstance(part, dict):
        raise ValueError(f"a part holds {type(part).__name__}, not an object")  # noqa: TRY004
    return part
