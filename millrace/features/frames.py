"""Arrays as a few byte strings that say what they hold, and the way back. No pickle.

The content is a JSON header and then the arrays' bytes, little-endian. It is cut into frames; each frame begins with
the format's name and version, the first half of the content's SHA-256, the frame's number and how many there are.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.errors import ContractError

Arrays = dict[str, NDArray[Any]]
Meta = dict[str, Any]

FORMAT = b"mrs1"
CHUNK_BYTES = 500_000
_HEAD = struct.Struct("<4s16sII")
_LENGTH = struct.Struct("<Q")


def refused(why: str) -> ContractError:
    """The error for frames that cannot be taken."""
    return ContractError("feature-state", f"saved feature state refused: {why}; rebuild it from the samples log")


def pack(kind: str, meta: Meta, arrays: Mapping[str, NDArray[Any]], chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
    """The frames, none longer than ``chunk_bytes``.

    >>> frames = pack("numbers", {"of": "x"}, {"x": np.arange(3.0)}, chunk_bytes=64)
    >>> [len(frame) for frame in frames], unpack("numbers", frames)
    ([64, 64, 59], ({'of': 'x'}, {'x': array([0., 1., 2.])}))
    """
    parts = {name: np.ascontiguousarray(one, one.dtype.newbyteorder("<")) for name, one in arrays.items()}
    listed = [[name, one.dtype.str, list(one.shape)] for name, one in parts.items()]
    header = json.dumps({"kind": kind, "meta": meta, "arrays": listed}).encode()
    content = b"".join([_LENGTH.pack(len(header)), header, *(one.tobytes() for one in parts.values())])
    digest, room = hashlib.sha256(content).digest()[:16], chunk_bytes - _HEAD.size
    starts = range(0, len(content), room)
    return [
        _HEAD.pack(FORMAT, digest, number, len(starts)) + content[start : start + room]
        for number, start in enumerate(starts)
    ]


def unpack(kind: str, frames: Sequence[bytes]) -> tuple[Meta, Arrays]:
    """What ``pack`` was given.

    Raises:
        ContractError: the frames are damaged, not all there, in the wrong order, or of another kind or version.
    """
    content = _content(frames)
    end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
    header = json.loads(content[_LENGTH.size : end])
    if header["kind"] != kind:
        raise refused(f"it holds {header['kind']!r}, {kind!r} is needed")
    arrays: Arrays = {}
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(content, dtype, count, end).reshape(shape)
        end += arrays[name].nbytes
    return header["meta"], arrays


def _content(frames: Sequence[bytes]) -> bytes:
    heads = []
    for frame in frames:
        if len(frame) < _HEAD.size or frame[: len(FORMAT)] != FORMAT:
            raise refused(f"a frame begins with {frame[:4]!r}, {FORMAT!r} is needed: another version, or no frame")
        heads.append(_HEAD.unpack_from(frame))
    expected = [(FORMAT, heads[0][1], number, heads[0][3]) for number in range(heads[0][3])] if heads else None
    if heads != expected:
        seen = [(number + 1, count) for _, _, number, count in heads]
        raise refused(f"its frames are not those of one saving, in order: (number, of) are {seen}")
    content = b"".join(frame[_HEAD.size :] for frame in frames)
    if hashlib.sha256(content).digest()[:16] != heads[0][1]:
        raise refused("its bytes are damaged: the checksum differs")
    return content


def ragged(values: NDArray[Any], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
    """One array cut, along its last axis, into pieces of these lengths."""
    return np.split(values, np.cumsum(lengths)[:-1], axis=-1) if len(lengths) else []
