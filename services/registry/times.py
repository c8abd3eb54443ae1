"""Times as people write them."""

from datetime import UTC, datetime


def time_ms(text: str) -> int:
    """A time in ISO 8601, in UTC where it names no zone, or in milliseconds. Raises ``ValueError`` for anything else.

    >>> time_ms("2020-09-13T12:26:40Z"), time_ms("2020-09-13T14:26:40+02:00"), time_ms("1600000000000")
    (1600000000000, 1600000000000, 1600000000000)
    """
    if text.lstrip("-").isdecimal():
        return int(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time: give ISO 8601, such as 2026-11-21T20:00:00Z, or milliseconds"
        ) from error
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
