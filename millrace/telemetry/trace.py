"""W3C trace context, carried in the ``traceparent`` header from an event to its prediction.

An event that comes with a trace keeps it. One that comes without starts a trace only if it falls into the sampled
share, decided by a hash of its place in the log, so that a replay samples the same events. All ids are derived from
what they name, so that services that know the same fact name the same span.
"""

import hashlib
import re
import zlib

HEADER = "traceparent"
_FORM = re.compile(rb"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")


def child(traceparent: bytes | None, place: str) -> bytes | None:
    """The context for the next step of a trace: the same trace id, a span id derived from ``place``.

    >>> child(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", "samples/0/7")
    b'00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-f9e76406a301394d-01'
    >>> child(b"garbage", "samples/0/7") is None
    True
    """
    match = _FORM.match(traceparent) if traceparent else None
    if match is None or match[1] == b"0" * 32:
        return None
    return b"00-%b-%b-%b" % (match[1], _digest("span:" + place)[:16], match[3])


def start(place: str, sampled_share: float) -> bytes | None:
    """A new sampled trace for the record at ``place``, or None if it is not in the share (0 to 1).

    The share is judged by a CRC, for a tenth of the time that the digest takes: nearly all records are not in it.
    """
    if zlib.crc32(place.encode()) >= sampled_share * 0x1_0000_0000:
        return None
    return root(place)


def root(place: str) -> bytes:
    """A new sampled trace, with the ids that ``place`` gives it."""
    return b"00-%b-%b-01" % (_digest("trace:" + place)[:32], _digest("span:" + place)[:16])


def sampled_id(traceparent: bytes | None) -> str | None:
    """The trace id, if there is a trace and its spans are wanted.

    >>> sampled_id(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    >>> sampled_id(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00") is None
    True
    """
    match = _FORM.match(traceparent) if traceparent else None
    if match is None or match[1] == b"0" * 32 or not int(match[3], 16) & 1:
        return None
    return match[1].decode()


def for_log(traceparent: bytes | None) -> dict[str, str]:
    """What a line of the log about it is to say: the trace id, if there is one."""
    trace_id = sampled_id(traceparent)
    return {} if trace_id is None else {"trace_id": trace_id}


def ids(traceparent: bytes) -> tuple[int, int]:
    """Trace id and span id of a well-formed context."""
    match = _FORM.match(traceparent)
    if match is None:
        raise ValueError(f"{traceparent!r} is no traceparent")
    return int(match[1], 16), int(match[2], 16)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode()
