"""OpenLineage: tells a lineage server or a file what was made from what. Off unless it is given a place.

    lineage = Lineage(Target(url="http://marquez:5000/api/v1/lineage"))
    lineage.training(run, project.feature_names)
    lineage.close()

Rules:

- It never waits and never fails: events are put aside and told by a thread of their own. When more wait than
  ``WAITING_MAX``, or one cannot be told, it is lost, counted, and the first loss of a row is logged.
- An event told twice is the same event: run ids are made from ours, times are in ours.
- Nothing is read from the environment. The library's client would (``OPENLINEAGE_*``, files named openlineage.yml, and
  proxies), so only its events and transports are used, with all that they need given here.
- The library is imported when something is told for the first time, in the thread: it takes half a second.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.contracts.events import DataSnapshotTaken, DeploymentDecided, TrainingRunChanged
from millrace.telemetry.log import get_logger

if TYPE_CHECKING:
    from openlineage.client.transport import Transport

log = get_logger(__name__)
WAITING_MAX = 1000
TIMEOUT_S = 5.0
RETRY = {"total": 3, "connect": 3, "read": 3, "backoff_factor": 0.3}


@dataclass(frozen=True, slots=True)
class Target:
    """Where events are told: an HTTP endpoint, a file of JSON lines, both, or neither.

    ``url`` is the whole address, such as ``http://marquez:5000/api/v1/lineage``; ``api_key`` is sent as a bearer token.
    """

    url: str | None = None
    file: Path | None = None
    api_key: str | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def is_off(self) -> bool:
        """Whether there is nowhere to tell anything."""
        return self.url is None and self.file is None


@dataclass(frozen=True, slots=True)
class Places:
    """What datasets are called: the log (``kafka://host:port``), the lake's root (an URL), our own jobs and models."""

    bus: str = "kafka://localhost:9092"
    lake: str | None = None
    namespace: str = "millrace"


def _uncounted(outcome: str) -> None:
    """Nobody counts."""


class Lineage:
    """Tells OpenLineage events.

    Args:
        target: where to; an empty one turns everything off, and no thread is started.
        places: how datasets are named.
        counted: called with ``told`` or ``lost`` for each event, from any thread.
    """

    def __init__(
        self, target: Target, places: Places | None = None, counted: Callable[[str], None] = _uncounted
    ) -> None:
        self._target = target
        self._places = places or Places()
        self._counted = counted
        self._news = threading.Condition()
        self._waiting: deque[Callable[[], list[Any]]] = deque()
        self._busy = False
        self._closed = False
        self._abandoned = False  # what was being told at the end is counted as lost; the thread must not count it too
        self._failing = False
        self._thread: threading.Thread | None = None

    def training(self, run: TrainingRunChanged, feature_names: Sequence[str] = ()) -> None:
        """A training run has STARTED (START), SUCCEEDED (COMPLETE) or FAILED (FAIL)."""
        self._put(lambda: _events().training(run, feature_names, self._places))

    def snapshot(self, snapshot: DataSnapshotTaken, feature_names: Sequence[str] = ()) -> None:
        """A snapshot was taken of the samples, into the lake where there is one."""
        self._put(lambda: _events().snapshot(snapshot, feature_names, self._places))

    def deployment(self, decided: DeploymentDecided) -> None:
        """Versions were given the traffic: from now on the predictions are made from them."""
        self._put(lambda: _events().deployment(decided, self._places))

    def close(self, timeout_s: float = TIMEOUT_S) -> None:
        """Tell what waits, for at most so long; what is not told then is lost, and counted."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._news:
            left, self._waiting = len(self._waiting) + self._busy, deque()
            self._abandoned = self._busy
        for _ in range(left):
            self._lose("it was still waiting when the service ended")

    def _put(self, make: Callable[[], list[Any]]) -> None:
        if self._target.is_off:
            return
        with self._news:
            full = len(self._waiting) >= WAITING_MAX or self._closed
            if not full:
                self._waiting.append(make)
                self._news.notify()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._tell_all, name="openlineage", daemon=True)
                self._thread.start()
        if full:
            self._lose(f"{WAITING_MAX} events wait already, or it is closed")

    def _tell_all(self) -> None:
        """The thread: until it is closed and nothing waits."""
        transports: list[Transport] = []
        while (make := self._next()) is not None:
            fault = None
            try:
                transports = transports or _transports(self._target)
                for event in make():
                    for transport in transports:
                        transport.emit(event)
            except Exception as error:  # noqa: BLE001  # whatever a library or a server does, the service goes on
                fault = f"{type(error).__name__}: {error}"
            with self._news:
                self._busy, abandoned = False, self._abandoned
            if not abandoned:
                self._done(fault)
        for transport in transports:
            transport.close()

    def _next(self) -> Callable[[], list[Any]] | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed)
            self._busy = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None

    def _done(self, fault: str | None) -> None:
        if fault is not None:
            self._lose(fault)
            return
        self._failing = False
        self._counted("told")

    def _lose(self, why: str) -> None:
        if not self._failing:
            log.warning("a lineage event is lost, and so may those be that follow", reason=why)
        self._failing = True
        self._counted("lost")


def _events() -> Any:
    from millrace.telemetry import openlineage_events  # noqa: PLC0415  # half a second, and only where it is on

    return openlineage_events


def _transports(target: Target) -> "list[Transport]":
    """The library's transports, with everything given."""
    from openlineage.client.transport.file import FileConfig, FileTransport  # noqa: PLC0415  # as in _events
    from openlineage.client.transport.http import (  # noqa: PLC0415
        ApiKeyTokenProvider,
        HttpConfig,
        HttpTransport,
        TokenProvider,
    )
    from requests import Session  # noqa: PLC0415

    made: list[Transport] = []
    if target.url is not None:
        session = Session()
        session.trust_env = False  # no proxies and no .netrc: the address is the address
        auth = TokenProvider({}) if target.api_key is None else ApiKeyTokenProvider({"apiKey": target.api_key})
        retry = {**RETRY, "status_forcelist": [500, 502, 503, 504], "allowed_methods": ["POST"]}
        config = HttpConfig(
            url=target.url, endpoint="", timeout=target.timeout_s, auth=auth, session=session, retry=retry
        )
        made.append(HttpTransport(config))
    if target.file is not None:
        made.append(FileTransport(FileConfig(log_file_path=str(target.file), append=True)))
    return made
