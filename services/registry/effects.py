"""Small effects that the parts of the shell share: calls that block, tasks that belong together, patient decoding."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol, TypeVar

from millrace.bus.retry import backoff_s
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.errors import RegistryUnavailableError
from millrace.contracts.events import Event
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Event)


class InThread(Protocol):
    """How a blocking call is made: ``asyncio.to_thread``, or :func:`inline`."""

    async def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result."""
        ...


async def inline(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make the call right here. For simulations, whose virtual time must not run on beside a thread."""
    return call(*args, **kwargs)


async def together(*work: Awaitable[object]) -> None:
    """Wait for all; when one fails, cancel the others, wait until they have ended, and raise its error."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # the first error is already on its way


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
