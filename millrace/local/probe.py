"""Questions that tell whether something answers. A `no` is an answer here, not an error."""

import asyncio
import http.client
import json
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 2.0
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    content_type: str = ""


def get(url: str, timeout_s: float = TIMEOUT_S, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """GET `url`. Raises OSError when nothing answers.

    Goes straight to the address: a proxy from the environment must not be asked about our own services.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        path = parts.path or "/"
        connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers=dict(headers))
        response = connection.getresponse()
        return Reply(response.status, response.read(), response.headers.get("Content-Type", ""))
    except http.client.HTTPException as error:  # Whatever is there, it does not speak HTTP.
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def http_get(url: str, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes]:
    """Status and body of what `get` gets."""
    reply = get(url, timeout_s)
    return reply.status, reply.body


def failing_checks(status: int, body: bytes) -> dict[str, str]:
    """The failing checks that a /readyz body names; one that cannot be read is a failing check too."""
    try:
        return {str(check): str(why) for check, why in json.loads(body)["failing"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"http": f"status {status}"}


async def http_ready(url: str) -> bool:
    """Whether `url` answers with 200."""
    try:
        status, _body = await asyncio.to_thread(http_get, url)
    except OSError:
        return False
    return status == http.client.OK


async def kafka_ready(host: str, port: int) -> bool:
    """Whether a broker answers, and names at least one live broker in its metadata.

    An open port is not enough: the broker opens it before the controller has let it in, and topics can be made.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _live_brokers(host, port) > 0
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def _live_brokers(host: str, port: int) -> int:
    """Ask for the metadata of no topics (API key 3, version 1) and return how many brokers are named."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        client = b"millrace"
        header = struct.pack(f">hhih{len(client)}s", 3, 1, 0, len(client), client)
        body = struct.pack(">i", 0)
        writer.write(struct.pack(">i", len(header + body)) + header + body)
        answer = await reader.readexactly(12)  # length, correlation id, number of brokers
        return int(struct.unpack(">iii", answer)[2])
    finally:
        writer.close()
