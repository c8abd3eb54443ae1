"""How to reach the brokers, how long to wait for them, and how every call to them is bounded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka.errors import KafkaError

from millrace.contracts.errors import BusError
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach the brokers and how long to wait for them.

    A commit has to end before the broker gives its transaction up, else being slow looks like being fenced:
    ``commit_timeout_ms`` < ``transaction_timeout_ms``. ``retry_backoff_ms`` also paces the retries at the start of a
    transaction, while the last one's markers are being written: aiokafka's 100 costs a p50 of 30 ms instead of 4.
    ``client_options`` go to every aiokafka client, for TLS and SASL.
    """

    bootstrap_servers: str
    client_id: str
    session_timeout_ms: int = 6_000
    rebalance_timeout_ms: int = 30_000
    transaction_timeout_ms: int = 15_000
    commit_timeout_ms: int = 10_000
    request_timeout_ms: int = 10_000
    call_timeout_ms: int = 20_000
    close_timeout_ms: int = 3_000
    retry_backoff_ms: int = 5
    compression: str | None = None
    replication_factor: int = 1
    client_options: Mapping[str, Any] = field(default_factory=dict)

    def client(self) -> dict[str, Any]:
        """What every aiokafka client is given."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "request_timeout_ms": self.request_timeout_ms,
            **self.client_options,
        }


class Stoppable(Protocol):
    """A producer or consumer of aiokafka."""

    async def stop(self) -> None:
        """Close it, waiting for what is under way."""
        ...


@contextlib.asynccontextmanager
async def bounded(what: str, timeout_ms: int) -> AsyncIterator[None]:
    """Whatever fails or takes too long in here is a ``BusError`` that says what was asked for."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            yield
    except (KafkaError, TimeoutError) as error:
        raise BusError(f"{what}: {error!r}") from error


async def stop(client: Stoppable, timeout_ms: int) -> None:
    """Close a client of aiokafka, which may wait for a broker that is not there. Never raises."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await client.stop()
    except Exception as error:  # noqa: BLE001 - closing: whatever it is, there is nothing left to do with the client
        log.warning("closing a Kafka client failed", error=repr(error))
