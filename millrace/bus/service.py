"""How every service process is put together: settings -> log, project, transport, codec -> run until told to stop."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

import uvicorn
from prometheus_client import disable_created_metrics

from millrace.bus import failpoints
from millrace.bus.clock import SystemClock
from millrace.bus.context import Context, Service
from millrace.bus.kafka import KafkaTransport
from millrace.bus.tasks import run_together
from millrace.contracts.codec import Codec
from millrace.contracts.errors import MillraceError
from millrace.contracts.project import load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.settings import ServiceSettings
from millrace.telemetry import host, log
from millrace.telemetry.health import build_app
from millrace.telemetry.metrics import OPENLINEAGE_EVENTS, SPANS
from millrace.telemetry.openlineage import Lineage, Places, Target
from millrace.telemetry.traces import Collector, Traces

__all__ = ["Context", "Service", "main"]


def main(name: str, settings: ServiceSettings, build: Callable[[Context], Service]) -> None:
    """Run the service in this process until SIGTERM or SIGINT; exit status 1 if it failed."""
    log.configure(name, settings.log_level)
    logger = log.get_logger("millrace.service")
    try:
        failpoints.install(settings.failpoints or "")
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, for which no query asks
        _collect_rarely()
        asyncio.run(_run(name, settings, build))
    except MillraceError as error:
        logger.error("stopped", error=str(error), kind=type(error).__name__)  # noqa: TRY400  # the message is enough
        sys.exit(1)


async def _run(name: str, settings: ServiceSettings, build: Callable[[Context], Service]) -> None:
    project = load_project(settings.project)
    process = f"{name}@{socket.gethostname()}"
    transport = KafkaTransport(
        settings.bootstrap_servers,
        client_id=process,
        session_timeout_ms=settings.session_timeout_ms,
        request_timeout_ms=settings.request_timeout_ms,
        client_options=settings.kafka_client_options(),
    )
    registry = SchemaRegistry(settings.schema_registry_url)
    lineage, traces = lineage_of(settings), traces_of(settings, name, process)
    service = build(Context(project, transport, Codec(registry), SystemClock(), process, lineage, traces))
    host.started(name, settings.restarts)
    app = build_app(name, service.checks, partial(host.measure, name, settings.data))
    service.add_routes(app)
    config = uvicorn.Config(
        app, host=settings.http_host, port=settings.http_port, log_config=None, lifespan="off", access_log=False
    )
    server = uvicorn.Server(config)
    try:
        with contextlib.suppress(_Stopped):
            await run_together(_until_signal(), service.run(), server._serve())  # noqa: SLF001  # serve() takes signals
    finally:
        await transport.close()
        await registry.aclose()
        await asyncio.gather(asyncio.to_thread(lineage.close), asyncio.to_thread(traces.close))


def lineage_of(settings: ServiceSettings) -> Lineage:
    """Where OpenLineage events go, as the settings say."""
    key = settings.openlineage_api_key
    target = Target(
        url=None if settings.openlineage_url is None else str(settings.openlineage_url),
        file=settings.openlineage_file,
        api_key=None if key is None else key.get_secret_value(),
    )
    bus = f"kafka://{settings.bootstrap_servers.partition(',')[0]}"
    places = Places(bus=bus, lake=getattr(settings, "lake_root", None))
    return Lineage(target, places, lambda outcome: OPENLINEAGE_EVENTS.labels(outcome).inc())


def traces_of(settings: ServiceSettings, name: str, process: str) -> Traces:
    """Where the spans of traces go, as the settings say."""
    endpoint = None if settings.otlp_endpoint is None else str(settings.otlp_endpoint)
    collector = Collector(endpoint, settings.otlp_header_fields())
    return Traces(collector, name, process, lambda outcome, count: SPANS.labels(outcome).inc(count))


def _collect_rarely() -> None:
    """Look for cycles each 50,000 new objects, not each 700: records make none, and there are a million a second."""
    gc.collect()
    gc.freeze()  # what was imported stays; it need not be looked at again
    gc.set_threshold(50_000, 20, 20)


async def _until_signal() -> None:
    """Return by raising ``_Stopped`` when SIGTERM or SIGINT arrives."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    raise _Stopped


class _Stopped(Exception):  # noqa: N818  # no error: the way out of run_together
    """The process was asked to stop."""
