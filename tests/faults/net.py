"""A broker of our own that can be paused and killed, with a proxy before it, and the work that goes on meanwhile."""

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import psutil
import pytest

from millrace.bus.clock import SystemClock
from millrace.contracts import topics
from millrace.contracts.events import DeploymentDecided, Traffic
from millrace.local.embedded import Embedded
from millrace.local.platform import Platform
from millrace.local.ports import HOST
from millrace.local.supervisor import BackOff
from millrace.stores.artifacts import ArtifactStore
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import PATIENCE_S, POLL_S, Scene, Service, wait_for
from tests.faults.judge import Books, Live, everything, judge
from tests.faults.proxy import Proxy, behind

T = TypeVar("T")
FORGETFUL = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")
"""For tests in which no broker answers: kafka-python, which must not care, then leaves sockets to the collector."""
RATE = 600.0  # events a second: half of what two busy cores with broker, judges and four services still manage
EVENTS_MIN = 2_500  # and as many labels: the least that a case is worth
AT_WORK = 50  # predictions of each partition after which the work counts as going on
BACK_S = 90.0
"""I6: so long after the fault and the feed have ended the lag is 0. aiokafka takes up to three request timeouts of 10 s
until it has given a silent connection up; the rest is for a busy machine."""


class Net:
    """One broker and schema registry. ``through`` leads through the proxy, ``broker`` does not."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings, port, own = behind(folder)
        self.through = f"{HOST}:{port}"
        self.proxy = Proxy(port, own)
        self._platform = Platform(folder, kafka_overrides=settings)
        self._embedded = Embedded(self._platform)

    def __enter__(self) -> Self:
        """Start."""
        self._embedded.start()
        self.proxy.__enter__()
        self.broker = Broker(self._embedded.bootstrap_servers, self._embedded.schema_registry_url)
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self.proxy.__exit__()
        self._embedded.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The broker is stopped by SIGSTOP: its sockets stay open, nobody answers."""
        pid = self._embedded.processes()["kafka"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_for(lambda: is_stopped(pid), "the broker is stopped")
            yield
            assert is_stopped(pid), "the broker slept all the while"
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def gone(self, number: signal.Signals, pause_s: float) -> Iterator[None]:
        """The broker ends by this signal, and its supervisor starts it again, on the same data, after ``pause_s``.

        Left once another process is ready.
        """
        before = self._embedded.processes()["kafka"]
        assert before.pid is not None
        self._platform.supervisor._back_off = BackOff(first_s=pause_s, factor=1.0)
        os.kill(before.pid, number)
        wait_for(lambda: not psutil.pid_exists(before.pid or 0), "the broker has ended")
        yield
        wait_for(lambda: self._is_another(before.pid, before.restarts), "the supervisor has started another broker")

    def _is_another(self, pid: int | None, restarts: int) -> bool:
        now = self._embedded.processes()["kafka"]
        return now.ready and now.restarts > restarts and now.pid != pid


class Work:
    """Ingest and serving at work on a feed, and two foreign readers of what comes of it.

    Args:
        net, folder: where; the project and the logs go into the folder.
        seed, rate: of the feed, in events a second.
        burst: so many events, all sent before anything else happens, instead of a steady feed.
        through_proxy: whether the services connect through the proxy.
        lives: the failpoints of the serving process, as the harness takes them.
        model: the ONNX file in force, if not the harness's own.
        ingest, serving: settings of these processes.
    """

    def __init__(
        self, net: Net, folder: Path, *, seed: int, through_proxy: bool = False, rate: float = RATE, burst: int = 0,
        lives: tuple[str, ...] = (), model: bytes | None = None, ingest: Mapping[str, str] | None = None,
        **serving: str,
    ) -> None:  # fmt: skip
        self.net = net
        self.scene = Scene.create(net.broker, folder)
        deploy(self.scene, model) if model else self.scene.deploy()
        self._bootstrap = net.through if through_proxy else None
        self.ingest = self.scene.service("ingest", bootstrap_servers=self._bootstrap, **(ingest or {}))
        self.serving = self.scene.service("serving", lives, bootstrap_servers=self._bootstrap, **serving)
        self.live = Live.both(self.scene)
        self.feed = Feed(self.scene, seed, rate)
        self._burst = burst

    def another_serving(self, **options: Any) -> Service:
        """One more process of the group."""
        return self.scene.service("serving", bootstrap_servers=self._bootstrap, **options)

    @property
    def services(self) -> tuple[Service, Service]:
        """The two from the beginning."""
        return self.ingest, self.serving

    def __enter__(self) -> Self:
        """Begin, and return when predictions of each partition are seen."""
        try:
            if self._burst:
                self.feed.send(self._burst)
            else:
                self.feed.start()
            self.goes_on()
        except BaseException as error:  # whatever it is, nothing stays running behind it
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Stop what is left."""
        try:
            self.feed.stop()
        finally:
            self.scene.__exit__(kind, *error)
            for reader in self.live:
                reader.stop()
        gc.collect()  # kafka-python forgets sockets when no broker answers: the warning belongs to this test

    def seen(self) -> dict[int, int]:
        """How many predictions of each partition the first reader has seen."""
        counts = Counter(one.partition for one in list(self.live[0].seen))
        return {number: counts[number] for number in range(self.scene.project.partitions)}

    def goes_on(self, patience_s: float = PATIENCE_S) -> float:
        """Return when each partition has that many more predictions than now; how long that took, in seconds."""
        began_s, before = time.monotonic(), self.seen()
        wait_for(
            lambda: all(count >= before[number] + AT_WORK for number, count in self.seen().items()),
            lambda: f"each partition makes progress: {before}, now {self.seen()}",
            patience_s,
        )
        return time.monotonic() - began_s

    def drain(self, back_s: float = BACK_S) -> None:
        """The fault is over: return when no lag is left, within ``back_s`` of the last event (I6)."""
        self.feed.until(EVENTS_MIN)
        self.feed.stop()
        began_s = time.monotonic()
        for reader in self.live:
            reader.wait(self.feed.events, back_s)
        samples = self.scene.topic(topics.SAMPLES)
        wait_for(
            lambda: len(everything(self.scene, samples)) >= len(self.feed.sent),
            f"each of {len(self.feed.sent)} events and labels is a sample",
            back_s,
        )
        exits = {service.log_path.name: list(service.exits) for service in self.services}
        took_s = round(time.monotonic() - began_s, 1)
        print(f"{self.feed.events} events, the last {took_s} s ago; exits so far {exits}")  # noqa: T201 - logs say why

    def finish(self) -> Books:
        """Drain, stop the services, and judge."""
        self.drain()
        self.scene.stop()
        return judge(self.scene, self.feed.sent, self.live)


class Watch(Generic[T]):
    """Asks something again and again while it is entered. ``answers`` are those that differ from the one before."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self.answers: list[T] = []
        self._question = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="watch", daemon=True)

    def _ask(self) -> None:
        while not self._stop.wait(2 * POLL_S):
            now = self._question()
            if self.answers[-1:] != [now]:
                self.answers.append(now)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join()


def deploy(scene: Scene, model: bytes) -> None:
    """Deploy this ONNX file as the first version."""
    digest = ArtifactStore(scene.folder / "data" / "artifacts").put(model)
    name, features = scene.project.model, scene.project.feature_set
    champion = Traffic(variant="champion", version=1, share=1.0, artifact_sha256=digest, feature_set=features)
    decided = DeploymentDecided(
        deployment_id=f"deployment/{name}/1", model=name, epoch=1, traffic=(champion,), scoring_since_ms=0,
        caused_by="test", reason="test", decided_by="registry", decided_at_ms=SystemClock().now_ms(),
    )  # fmt: skip
    scene.publish(topics.DEPLOYMENTS, decided)


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def lasts(seconds: float) -> None:
    """Let a fault last. It is the one place that only waits: the time is the fault itself."""
    time.sleep(seconds)
