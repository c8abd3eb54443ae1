"""Pages of a long list, newest first: an opaque cursor says before which key the next page begins."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from services.registry.paging import CursorError

T = TypeVar("T")
Key = tuple[Any, ...]


def encode(of: str, key: Key) -> str:
    """The cursor of the page of a list that begins before a key."""
    return base64.urlsafe_b64encode(json.dumps([of, *key]).encode()).decode().rstrip("=")


def decode(of: str, cursor: str | None, kinds: tuple[type, ...] = (int,)) -> Key | None:
    """The key before which a page begins; None for the first page.

    >>> decode("audit", encode("audit", (7,)))
    (7,)

    Raises:
        CursorError: it is not a cursor, or not of this list.
    """
    if not cursor:
        return None
    try:
        name, *key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if name == of and [type(part) for part in key] == list(kinds):
            return tuple(key)
    except (ValueError, TypeError, binascii.Error):
        pass
    raise CursorError(f"{cursor!r} is no cursor of this list; give one that an earlier page named as its next")


def page(of: str, found: Sequence[T], key: Callable[[T], Key], limit: int) -> tuple[Sequence[T], str | None]:
    """The first ``limit`` of what was found, of which there may be one more, and the cursor of the next page."""
    shown = found[:limit]
    return shown, encode(of, key(shown[-1])) if len(found) > limit else None
