"""Faust, for what is per decision: at least once, one record at a time. The only file that imports Faust.

``Transport.subscribe`` on Kafka is one Faust app with one agent, built when it is called and gone when it ends. What
Faust 0.15 would do otherwise, and why it does not here:

- It acknowledges a record even if the agent raised, restarts the agent and so skips the record. Here the stream does
  not acknowledge at all; a failing handler leaves the agent standing still until the app has stopped.
- It works out the position to commit from acknowledged offsets without gaps. What was aborted leaves a gap, which it
  misses right after offset 0: then the position stands still for good. And what a rebalance made it drop counts as
  acknowledged. Here only a record whose handler has returned moves the position, to the place after it: the records
  of a partition come one at a time, in order.
- At least once it reads uncommitted data. Here its consumer is told to read committed data only.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from millrace.bus.transport import Handler
from millrace.bus.types import Record
from millrace.contracts.errors import BusError
from millrace.telemetry.log import get_logger

log = get_logger(__name__)

COMMIT_INTERVAL_S = 0.5  # how much is handed over again after a crash
STOP_TIMEOUT_S = 10.0
WATCH_S = 0.5  # how often the app is asked whether it has crashed
BUFFERED = 100  # records that wait in memory for the handler, of each partition
RESUME_S = 0.01
RESUME_LOOKS = 100  # a second in all; then Faust's own sleep is right: nothing is assigned
NEVER_S = 2_000_000.0  # a handler may take as long as it likes: membership is kept alive from a thread
CLIENT_OPTIONS = frozenset(  # aiokafka's names for what Faust has words for as well
    {"security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"}
)


async def run_agents(
    bootstrap_servers: str,
    group: str,
    topics: Sequence[str],
    handler: Handler,
    *,
    client_id: str,
    session_timeout_s: float = 6.0,
    client_options: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Hand every record of these topics to the handler, until cancelled or until it raises; then its error is raised.

    A new group begins at the earliest offset. If the process dies, another member of the group takes over after
    ``session_timeout_s``. A rebalance does not wait for a record in hand, so another member may be given it as well.
    ``client_options`` are those of an aiokafka client, of the names in ``CLIENT_OPTIONS``.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    app = _build_app(bootstrap_servers, group, client_id, session_timeout_s, _credentials(client_options))
    _add_agent(app, topics, handler, failed)
    try:
        await app.start()
        while not failed.done():
            if app.crashed:
                raise BusError(f"group {group}: the consumer crashed: {app.crash_reason!r}") from app.crash_reason
            await asyncio.wait([failed], timeout=WATCH_S)
        failed.result()
    finally:
        await _stop(app, group)


async def _stop(app: Any, group: str) -> None:
    """Commit what was handled and leave the group, in bounded time."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await app.stop()
    except Exception as error:  # noqa: BLE001 - stopping: the next member begins at the last committed position
        log.warning("a subscription did not stop cleanly", group=group, error=repr(error))


def _credentials(options: Mapping[str, Any]) -> Any:
    """The same in Faust's words. It encrypts if it is given a context, whatever protocol is asked for."""
    import faust  # noqa: PLC0415 - as below

    protocol = options.get("security_protocol", "PLAINTEXT")
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(options["ssl_context"])
    return faust.SASLCredentials(
        username=options.get("sasl_plain_username"),
        password=options.get("sasl_plain_password"),
        mechanism=options.get("sasl_mechanism", "PLAIN"),
        ssl_context=options["ssl_context"] if protocol == "SASL_SSL" else None,
    )


def _build_app(bootstrap_servers: str, group: str, client_id: str, session_timeout_s: float, credentials: Any) -> Any:
    import faust  # noqa: PLC0415 - takes a second, and nothing happens at import

    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.ERROR)  # each rebalance is a dozen lines at INFO and WARNING
    app = faust.App(
        group,
        broker=[f"kafka://{server.strip()}" for server in bootstrap_servers.split(",")],
        broker_client_id=client_id,
        broker_credentials=credentials,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=session_timeout_s / 6,
        broker_rebalance_timeout=2 * session_timeout_s,
        broker_request_timeout=2 * session_timeout_s,
        broker_max_poll_interval=NEVER_S,
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_commit_livelock_soft_timeout=NEVER_S,
        stream_processing_timeout=NEVER_S,
        stream_buffer_maxsize=BUFFERED,
        stream_wait_empty=False,  # nothing is ever acknowledged
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        store="memory://",
    )
    app.transport = _transport(app)
    # There are no tables, and it would leave a folder wherever the process runs.
    app._create_directories = lambda: None  # type: ignore[method-assign]  # noqa: SLF001
    return app


def _add_agent(app: Any, topics: Sequence[str], handler: Handler, failed: asyncio.Future[None]) -> None:
    async def work(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                await handler(_record(event.message))
            except Exception as error:  # noqa: BLE001 - handed to run_agents, which raises it
                if not failed.done():
                    failed.set_exception(error)
                await asyncio.Event().wait()  # nothing after it is looked at; stopping the app cancels this
            app.consumer.handled(event.message)

    channel = app.topic(*topics, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes)
    app.agent(channel, name="millrace", concurrency=1)(work)


def _record(message: Any) -> Record:
    return Record(
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        message.key,
        message.value,
        tuple(message.headers or ()),
    )


def _transport(app: Any) -> Any:  # noqa: C901 - four small methods, not one winding one
    """Faust's Kafka driver, with the two changes that the module's docstring names."""
    from faust.transport.drivers import aiokafka as driver  # noqa: PLC0415 - as above

    class ConsumerThread(driver.AIOKafkaConsumerThread):
        """Reads committed data only."""

        def _create_worker_consumer(self, transport: Any) -> Any:
            consumer = super()._create_worker_consumer(transport)
            consumer._isolation_level = "read_committed"  # noqa: SLF001 - read at start; Faust has no setting for it
            return consumer

    class Consumer(driver.Consumer):
        """Commits the positions of what was handled."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._handled: dict[Any, int] = {}

        def handled(self, message: Any) -> None:
            """The handler has returned. A message from before a rebalance says nothing about what is owned now."""
            if message.generation_id == self.app.consumer_generation_id:
                self._handled[message.tp] = message.offset + 1

        async def on_partitions_revoked(self, revoked: Any) -> None:
            await super().on_partitions_revoked(revoked)  # commits what was handled
            self._handled.clear()

        async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
            """Forget gaps: positions are those of what was handled.

            Every transaction leaves a gap, its marker. Faust keeps them in an interval tree until acknowledgements
            reach them, which never come here: it would grow for ever, and each record cost more than the one before.
            """

        async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
            """Look often whether a partition may be read again.

            Faust sleeps for a second when all are paused, which is what a full buffer does: a backlog would be handed
            over in bursts of one buffer a second.
            """
            for _ in range(RESUME_LOOKS):
                if not self.flow_active or self._get_active_partitions():
                    break
                await asyncio.sleep(RESUME_S)
            return await super()._wait_next_records(timeout)

        def _new_consumer_thread(self) -> Any:
            return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

        def _filter_committable_offsets(self, tps: Any) -> dict[Any, int]:  # noqa: ARG002 - those with acknowledgements
            return {tp: position for tp, position in self._handled.items() if position != self._committed_offset[tp]}

    class Transport(driver.Transport):
        """The driver with that consumer."""

    Transport.Consumer = Consumer
    ConsumerThread.logger = Consumer.logger = driver.logger  # else it would log under this module's name
    return Transport(app.conf.broker_consumer, app, loop=app.loop)
