"""The demo: the platform, a publisher and the measuring client in one process, from an empty folder to a report."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.bus.clock import Clock, SystemClock
from millrace.bus.kafka import KafkaTransport
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ProjectError
from millrace.contracts.events import DeploymentDecided
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.demo.baseline import frozen
from millrace.demo.checks import check
from millrace.demo.control import Control
from millrace.demo.dataset import DatasetFile
from millrace.demo.figures import Curves, Facts, curves, report
from millrace.demo.ledger import MISSING
from millrace.demo.measure import Measure, Run
from millrace.demo.progress import Progress, View
from millrace.demo.publish import Publisher
from millrace.demo.report import Check, Report
from millrace.demo.score import Scorer
from millrace.demo.stage import empty_folder, work_while
from millrace.local.bundle import Software
from millrace.local.platform import SERVICES, Platform
from millrace.local.prepare import prepare
from millrace.local.runfile import RunInfo
from millrace.local.supervisor import Change
from millrace.stores.artifacts import ArtifactStore

LOOK_S = 0.5
STALLED_S = 90.0  # nothing new on any topic for this long: a service that is killed over and over is back by then


@dataclass(frozen=True, slots=True)
class Outcome:
    """A demo that came to its end, whether or not the checks hold."""

    report: Report
    curves: Curves
    control: Control
    project: Project


Stay = Callable[[Outcome, RunInfo], Awaitable[None]]
"""Awaited at the end, while everything still runs."""


class Demo:
    """One run.

    Args:
        project: the model project's folder; it needs a ``dataset``.
        data: emptied first, if it is missing, empty, or an earlier demo's.
        rate: rows per second.
        software: the installed programs.
        view: shows progress.
        clock: measures.
        stay: what to do with the outcome before everything is stopped.
    """

    def __init__(
        self,
        project: Path,
        data: Path,
        rate: float,
        software: Software,
        view: View,
        clock: Clock | None = None,
        stay: Stay | None = None,
    ) -> None:
        self._project = load_project(project)
        if self._project.label.task != "classification":
            raise ProjectError(f"{project}: the demo compares accuracies, so it needs a classification project")
        self._file = DatasetFile(self._project)
        self._first_rows = self._project.training.first_rows
        if self._file.rows <= self._first_rows:
            raise ProjectError(
                f"{self._file.path} has {self._file.rows} rows, training.first_rows is {self._first_rows}: nothing is "
                "left to predict"
            )
        self._data, self._rate, self._view = data, rate, view
        self._clock = clock or SystemClock()
        self._stay = stay
        self._store = ArtifactStore(data / "artifacts")
        self._scorer = Scorer(self._first_rows)
        self._progress = Progress(rows=self._file.rows)
        self._platform = Platform(data, project=project, software=software, prepare=prepare, on_change=self._changed)
        self._began_s = self._scored_s = self._clock.monotonic_s()

    async def run(self) -> Outcome:
        """Start, publish, wait, measure, stop. Whatever happens, nothing is left running.

        Raises:
            LocalError, BusError: the platform could not be started, or its broker is gone for good.
        """
        empty_folder(self._data)
        self._began_s = self._clock.monotonic_s()
        self._phase("starting Kafka, the schema registry and five services")
        try:
            await self._platform.start()
            start_s = self._clock.monotonic_s() - self._began_s
            if (console := self._platform.info().services.get("console")) is not None:
                self._progress.console = console.url
            outcome = await self._on_platform(start_s)
            if self._stay is not None:
                await self._stay(outcome, self._platform.info())
            return outcome
        finally:
            self._phase("stopping")
            await self._platform.stop()

    async def _on_platform(self, start_s: float) -> Outcome:
        transport = KafkaTransport(self._platform.bootstrap_servers, "millrace-demo")
        registry = SchemaRegistry(self._platform.schema_registry_url)
        try:
            codec = Codec(registry)
            measure = Measure(transport, codec, self._project, self._clock)
            publisher = Publisher(transport, codec, self._project, self._clock)
            live = self._progress.run = measure.new_run()
            self._began_s = self._clock.monotonic_s()
            stalled = await work_while(
                self._drive(live, publisher), self._platform.wait(), measure.follow(live), self._look(publisher)
            )
            self._scored_s = self._clock.monotonic_s()
            self._phase("reading everything back from the topics")
            told = await measure.read_all()
            return self._judge(told, live, start_s, stalled)
        finally:
            await transport.close()
            await registry.aclose()

    async def _drive(self, live: Run, publisher: Publisher) -> str | None:
        """Send everything and wait until it is scored. Returns what never happened, or None if all is well."""
        try:
            self._phase(f"sending the first {self._first_rows:,} rows")
            await publisher.send(self._file, 0, self._first_rows, self._rate)
            self._phase("waiting for the first model")
            if not await self._until(lambda: bool(live.control.first_offsets()), live):
                return "no version began to serve"
            self._phase("the loop runs")
            await publisher.send(self._file, self._first_rows, self._file.rows, self._rate)
            self._phase("waiting until everything is scored")
            if not await self._until(lambda: _is_complete(live, publisher), live):
                return "not every event was scored"
        finally:
            await publisher.close()
        return None

    async def _until(self, condition: Callable[[], bool], live: Run) -> bool:
        """Wait for the condition; False if nothing happens on the topics for too long."""
        seen, since_s = _seen(live), self._clock.monotonic_s()
        while not condition():
            await asyncio.sleep(0.05)
            if _seen(live) != seen:
                seen, since_s = _seen(live), self._clock.monotonic_s()
            elif self._clock.monotonic_s() - since_s > STALLED_S:
                return False
        return True

    async def _look(self, publisher: Publisher) -> None:
        """Keep the view up to date, for ever."""
        while True:
            run = self._progress.run
            assert run is not None, "set before"
            deployments = run.control.of(DeploymentDecided)
            if deployments and self._scorer.first_model is None:
                self._scorer.first_model = self._first_model(deployments)
            self._progress.score = await asyncio.to_thread(self._scorer.score, run.ledger.columns())
            self._progress.sent = publisher.sent
            self._show()
            await asyncio.sleep(LOOK_S)

    def _judge(self, told: Run, live: Run, start_s: float, stalled: str | None) -> Outcome:
        """Figures and checks from what the final reading told; receipts are what the live client noted."""
        deployments = told.control.of(DeploymentDecided)
        features = told.ledger.columns().features
        first = frozen(self._first_model(deployments), features) if deployments else np.full(len(features), MISSING)
        found = curves(told.ledger, first)
        restarts = {name: state.restarts for name, state in self._platform.processes().items()}
        facts = Facts(self._scored_s - self._began_s, start_s, self._rate, self._first_rows, restarts)
        judged = check(report(told, live.received_ms, found, facts))
        if stalled is not None:
            message = f"{stalled}: nothing happened for {STALLED_S:.0f} s; see {self._data / 'logs'}"
            came_to_end = Check(name="came-to-an-end", passed=False, message=message)
            judged = judged.model_copy(update={"checks": (came_to_end, *judged.checks)})
        return Outcome(judged, found, told.control, self._project)

    def _first_model(self, deployments: list[DeploymentDecided]) -> bytes:
        first = min(deployments, key=lambda deployment: deployment.epoch)
        return self._store.get(first.traffic[0].artifact_sha256)

    async def _changed(self, change: Change) -> None:
        """The supervisor saw a process end, start or become ready again."""
        self._progress.ended.append(f"{change.state.name} {change.what} {change.reason}".strip())
        self._show()

    def _phase(self, words: str) -> None:
        self._progress.phase = words
        self._show()

    def _show(self) -> None:
        self._progress.services = {
            name: state for name, state in self._platform.processes().items() if name in SERVICES
        }
        self._progress.elapsed_s = self._clock.monotonic_s() - self._began_s
        self._view.show(self._progress)


def _is_complete(live: Run, publisher: Publisher) -> bool:
    """Whether every event and label sent has ended somewhere, and every event since the first model is scored."""
    ledger = live.ledger
    return (
        ledger.events + ledger.dead_events >= publisher.sent
        and ledger.label_samples + ledger.dead_labels >= publisher.labels
        and ledger.predictions >= ledger.events - ledger.before(live.control.first_offsets())
    )


def _seen(live: Run) -> tuple[int, int, int, int, int]:
    """Grows with everything that happens."""
    ledger = live.ledger
    dead = ledger.dead_events + ledger.dead_labels
    return ledger.events, ledger.label_samples, ledger.predictions, dead, len(live.control.said)
