"""Questions to our own services beside the event loop; an argument, so that tests may answer without a network."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from millrace.local.probe import NO_HEADERS, TIMEOUT_S, Reply, get

__all__ = ["NO_HEADERS", "TIMEOUT_S", "Fetch", "Reply", "fetch"]

Fetch = Callable[[str, float, Mapping[str, str]], Coroutine[Any, Any, Reply]]
"""Asks an address, for at most so many seconds, with these headers. Raises ``OSError`` when nothing answers."""


async def fetch(url: str, timeout_s: float = TIMEOUT_S, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """The answer from that address."""
    return await asyncio.to_thread(get, url, timeout_s, headers)
