"""How to reach the brokers, how long to wait for them, and how every call to them is bounded."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka.errors import KafkaError

from millrace.bus.streams import CLIENT_OPTIONS
from millrace.contracts.errors import BusError
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach the brokers and how long to wait for them.

    A commit has to end before the broker gives its transaction up, else being slow looks like being fenced:
    ``commit_timeout_ms`` < ``transaction_timeout_ms``. ``retry_backoff_ms`` also paces the retries at the start of a
    transaction, while the last one's markers are being written: aiokafka's 100 costs a p50 of 30 ms instead of 4.
    ``compression`` is off: lz4 makes 2,000 predictions 1.8 times smaller but takes 4 ms of the event loop, a quarter
    of what the batch takes in all. Turn it on where the network or the disk is dearer. Readers understand every kind.
    ``fetch_bytes`` bounds what a reader of one partition is sent at once, and so, twice, what it holds in memory.
    ``client_options`` go to every client, Faust's too, for TLS and SASL: what ``CLIENT_OPTIONS`` names, and no other.
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
    retry_backoff_ms: int = 1
    compression: str | None = None
    fetch_bytes: int = 4 * 1024 * 1024
    replication_factor: int = 1
    client_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what Faust could not be told: half of a process would connect otherwise than the other half."""
        if unknown := sorted(set(self.client_options) - CLIENT_OPTIONS):
            raise ValueError(
                f"client_options {unknown} cannot be passed on to Faust; only {sorted(CLIENT_OPTIONS)} can"
            )

    @property
    def join_timeout_ms(self) -> int:
        """Joining waits for the others to finish what they have in hand, which may take them a rebalance timeout."""
        return self.rebalance_timeout_ms + self.call_timeout_ms

    def client(self) -> dict[str, Any]:
        """What every aiokafka client is given."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "request_timeout_ms": self.request_timeout_ms,
            **self.client_options,
        }


class Sparingly(logging.Filter):
    """Lets each kind of message of a logger pass once in a while, then again.

    While no broker answers, aiokafka tries again every few milliseconds and logs each try: 26,000 lines a minute.
    """

    EVERY_S = 10.0
    LOGGERS = (
        "aiokafka",
        "aiokafka.cluster",
        "aiokafka.conn",
        "aiokafka.consumer.fetcher",
        "aiokafka.consumer.group_coordinator",
        "aiokafka.producer.sender",
    )

    def __init__(self) -> None:
        super().__init__()
        self._last_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this kind of message, which is its text before the values are put in, has not passed lately."""
        now_s = time.monotonic()
        if now_s - self._last_s.get(str(record.msg), -self.EVERY_S) < self.EVERY_S:
            return False
        self._last_s[str(record.msg)] = now_s
        return True

    @classmethod
    def install(cls) -> None:
        """Make aiokafka's loggers sparing, once."""
        for name in cls.LOGGERS:
            logger = logging.getLogger(name)
            if not any(isinstance(each, cls) for each in logger.filters):
                logger.addFilter(cls())


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
