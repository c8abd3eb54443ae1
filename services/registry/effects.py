"""Small effects that the parts of the shell share: patience, and patient decoding."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from millrace.bus.retry import backoff_s
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.errors import RegistryUnavailableError
from millrace.contracts.events import Event
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
T = TypeVar("T")
E = TypeVar("E", bound=Event)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to a question that needs the schema registry, however long that stays away."""
    failures = 0
    while True:
        try:
            return await ask()
        except RegistryUnavailableError as error:
            failures += 1
            log.warning("waiting for the schema registry", error=str(error), attempt=failures)
            await asyncio.sleep(backoff_s(failures))


async def decoded(codec: Codec, kind: type[E], record: Record) -> E:
    """The event in a record. Raises ``ContractError`` if it holds none."""
    return await patiently(lambda: codec.decode(kind, record.value))
