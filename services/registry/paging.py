"""Pages of a long list, newest first: an opaque cursor says before which key the next page begins."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
LIMIT = 100
LIMIT_MAX = 1000


class CursorError(ValueError):
    """A cursor that this list never gave."""


def encode(of: str, key: int) -> str:
    """The cursor of the page of a list that begins before a key."""
    return base64.urlsafe_b64encode(f"{of}:{key}".encode()).decode().rstrip("=")


def decode(of: str, cursor: str | None) -> int | None:
    """The key before which a page begins; None for the first page.

    >>> decode("audit", encode("audit", 7))
    7

    Raises:
        CursorError: it is not a cursor, or not of this list.
    """
    if cursor is None:
        return None
    try:
        name, _, key = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        if name == of:
            return int(key)
    except (ValueError, binascii.Error):
        pass
    raise CursorError(f"{cursor!r} is no cursor of this list; give one that an earlier page named as its next")


def page(of: str, found: Sequence[T], key: Callable[[T], int], limit: int) -> tuple[Sequence[T], str | None]:
    """The first ``limit`` of what was found, of which there may be one more, and the cursor of the next page."""
    shown = found[:limit]
    return shown, encode(of, key(shown[-1])) if len(found) > limit else None
