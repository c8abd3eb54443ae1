"""Broker and schema registry for code that is not asynchronous: test fixtures, notebooks, benchmarks."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from millrace.local.platform import Platform
from millrace.local.process import ProcessState

T = TypeVar("T")


class Embedded:
    """A running platform, driven by an event loop in a thread of its own."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="millrace-embedded", daemon=True)

    @property
    def bootstrap_servers(self) -> str:
        """Where the broker answers."""
        return self._platform.bootstrap_servers

    @property
    def schema_registry_url(self) -> str:
        """The base of the registry's Confluent API."""
        return self._platform.schema_registry_url

    def processes(self) -> dict[str, ProcessState]:
        """What is known about each child process, by name: for tests that kill one."""
        return self._platform.processes()

    def start(self) -> Self:
        """Start and return when everything is ready. Raises what `Platform.start` raises."""
        self._thread.start()
        try:
            self._run(self._platform.start())
        except BaseException:  # also Ctrl-C: the thread must not stay
            self._close()
            raise
        return self

    def stop(self) -> None:
        """Stop everything. May be called again."""
        if not self._loop.is_closed():
            self._run(self._platform.stop())
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop's thread and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _close(self) -> None:
        """End the thread and the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


def start_embedded(data: Path, *, kafka_overrides: dict[str, str] | None = None) -> Embedded:
    """Start a broker and a schema registry that keep their data in `data`, and return when both are ready."""
    return Embedded(Platform(data, kafka_overrides=kafka_overrides)).start()
