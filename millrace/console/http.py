"""GET, straight to the address: a proxy from the environment must not be asked about our own services."""

import asyncio
import http.client
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 2.0
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    content_type: str = ""


Fetch = Callable[[str, float, Mapping[str, str]], Coroutine[Any, Any, Reply]]
"""Asks an address, for at most so many seconds, with these headers. Raises ``OSError`` when nothing answers."""


async def fetch(url: str, timeout_s: float = TIMEOUT_S, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """The answer from that address."""
    return await asyncio.to_thread(_fetch, url, timeout_s, headers)


def _fetch(url: str, timeout_s: float, headers: Mapping[str, str]) -> Reply:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        path = parts.path or "/"
        connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers=dict(headers))
        response = connection.getresponse()
        return Reply(response.status, response.read(), response.headers.get("Content-Type", ""))
    except http.client.HTTPException as error:  # whatever is there, it does not speak HTTP
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
