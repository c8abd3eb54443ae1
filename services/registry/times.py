"""Times as people write them."""

from datetime import UTC, datetime

SECONDS_MAX = 10_000_000_000  # as seconds the year 2286, as milliseconds April 1970: before any log


def time_ms(text: str) -> int:
    """A time in ISO 8601, in UTC where it names no zone, or in milliseconds. Raises ``ValueError`` for anything else.

    >>> time_ms("2020-09-13T12:26:40Z"), time_ms("2020-09-13T14:26:40+02:00"), time_ms("1600000000000")
    (1600000000000, 1600000000000, 1600000000000)
    >>> time_ms("1600000000")
    Traceback (most recent call last):
    ValueError: 1600000000 ms is a time in 1970; for the second 2020-09-13T12:26:40+00:00 add three zeros
    """
    if text.lstrip("-").isdecimal():
        if 0 < int(text) < SECONDS_MAX:
            said = datetime.fromtimestamp(int(text), UTC).isoformat(timespec="seconds")
            raise ValueError(f"{text} ms is a time in 1970; for the second {said} add three zeros")
        return int(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time: give ISO 8601, such as 2026-11-21T20:00:00Z, or milliseconds"
        ) from error
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
