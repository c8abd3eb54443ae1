"""The demo: the platform, a sender and the measuring client in one process, from an empty folder to a report."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from millrace.bus.clock import Clock, SystemClock
from millrace.bus.kafka import KafkaTransport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.demo.dataset import DatasetFile
from millrace.demo.report import Check
from millrace.demo.stage import empty_folder, work_while
from millrace.demo_data.checks import check
from millrace.demo_data.figures import Facts, first_learned, hold_to, report
from millrace.demo_data.inject import Plan, clean
from millrace.demo_data.ledger import Fate, fates
from millrace.demo_data.progress import Progress, View
from millrace.demo_data.project import derive
from millrace.demo_data.read import Reader, Told
from millrace.demo_data.report import DataReport
from millrace.demo_data.send import Sender
from millrace.demo_data.story import STALLED_S, Means, Pace, Story
from millrace.demo_data.training import trained_on
from millrace.local.bundle import Software
from millrace.local.platform import SERVICES, Platform
from millrace.local.prepare import prepare
from millrace.local.process import ProcessState
from millrace.local.supervisor import Change
from services.trainer.reader import SamplesReader

LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """A demo that came to its end, whether or not the checks hold."""

    report: DataReport
    fates: list[Fate]
    plan: Plan
    name: str


class DataDemo:
    """One run.

    Args:
        example: the electricity project, from which the demo's own is derived.
        data: emptied first, if it is missing, empty, or an earlier demo's.
        software: the installed programs.
        view: shows progress.
        pace: how much is sent, and how fast.
        clock: measures.
    """

    def __init__(
        self, example: Path, data: Path, software: Software, view: View, pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        load_project(example)
        self._example, self._data, self._software, self._view = example, data, software, view
        self._pace = pace or Pace()
        self._clock = clock or SystemClock()
        self._progress = Progress()
        self._platform: Platform | None = None
        self._began_s = 0.0

    async def run(self) -> Outcome:
        """Start, send, wait, read back, stop. Whatever happens, nothing is left running.

        Raises:
            LocalError, BusError: the platform could not be started, or its broker is gone for good.
        """
        empty_folder(self._data)
        project = derive(self._example, self._data / "project")
        file = DatasetFile(project)
        self._pace.check(project, file)
        self._progress.rows = min(self._pace.stop or file.rows, file.rows)
        self._began_s = self._clock.monotonic_s()
        platform = self._platform = Platform(
            self._data, project=project.folder, software=self._software, prepare=prepare, on_change=self._changed
        )
        self._phase("starting Kafka, the schema registry and five services")
        try:
            await platform.start()
            start_s = self._clock.monotonic_s() - self._began_s
            return await self._on_platform(platform, project, file, start_s)
        finally:
            self._phase("stopping")
            await platform.stop()

    async def _on_platform(self, platform: Platform, project: Project, file: DatasetFile, start_s: float) -> Outcome:
        transport = KafkaTransport(platform.bootstrap_servers, "millrace-demo-data")
        registry = SchemaRegistry(platform.schema_registry_url)
        try:
            codec, changed = Codec(registry), Codec(registry)
            await codec.prepare(project, topics.EVENTS, topics.LABELS)
            reader = Reader(transport, codec, project)
            sender = Sender(transport, codec, changed, project, self._clock)
            live = reader.new()
            means = Means(project, file, transport, registry, codec, changed, sender, live, self._clock)
            story = Story(means, self._pace, self._is_in_force, self._phase)
            self._began_s = self._clock.monotonic_s()
            stalled = await work_while(story.tell(), platform.wait(), reader.follow(live), self._look(sender, live))
            run_s = self._clock.monotonic_s() - self._began_s
            self._phase("reading everything back from the topics")
            told = await reader.read_all()
            judged = await self._judge(means, story, reader, told, (run_s, start_s))
            return self._outcome(judged, story.plan, project.model, stalled)
        finally:
            await transport.close()
            await registry.aclose()

    async def _judge(
        self, means: Means, story: Story, reader: Reader, told: Told, took_s: tuple[float, float]
    ) -> tuple[DataReport, list[Fate]]:
        """Figures and checks from what the final reading told."""
        found = fates(means.sender.sent, told)
        samples = SamplesReader(means.project, means.transport, means.codec)
        runs = await trained_on(samples, told.control, found)
        dead = [(await reader.label_of(letter.value), letter.reason) for letter in told.labels_refused.values()]
        clean_file = map(clean, means.file.slice(0, means.file.rows))
        whole = await asyncio.to_thread(hold_to, first_learned(told.control), means.project, clean_file)
        facts = Facts(
            story.plan, means.project.training.first_rows, story.in_force, story.refusal, story.request_id, whole,
            dead, *took_s, {name: state.restarts for name, state in self._states().items()},
        )  # fmt: skip
        return check(report(told, found, runs, facts)), found

    def _outcome(self, judged: tuple[DataReport, list[Fate]], plan: Plan, name: str, stalled: str | None) -> Outcome:
        told, found = judged
        if stalled is not None:
            message = f"{stalled}: nothing happened for {STALLED_S:.0f} s; see {self._data / 'logs'}"
            came_to_end = Check(name="came-to-an-end", passed=False, message=message)
            told = told.model_copy(update={"checks": (came_to_end, *told.checks)})
        return Outcome(told, found, plan, name)

    def _is_in_force(self, expectations_id: str) -> bool:
        """Whether ingest says that it holds events to these expectations."""
        path = self._data / "logs" / "ingest.log"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        return any("expectations in force" in line and expectations_id in line for line in lines)

    async def _look(self, sender: Sender, live: Told) -> None:
        """Keep the view up to date, for ever."""
        while True:
            progress = self._progress
            progress.sent = sender.sent[-1].sending.row + 1 if sender.sent else 0
            progress.predictions, progress.champion = len(live.predicted), live.control.champion
            progress.judgements = sum(type(said.event).__name__ == "DataQualityJudged" for said in live.control.said)
            progress.bad, progress.caught = dict(sender.bad), dict(live.reasons)
            self._show()
            await asyncio.sleep(LOOK_S)

    async def _changed(self, change: Change) -> None:
        """The supervisor saw a process end, start or become ready again."""
        self._progress.ended.append(f"{change.state.name} {change.what} {change.reason}".strip())
        self._show()

    def _phase(self, words: str) -> None:
        self._progress.phase = words
        self._show()

    def _states(self) -> dict[str, ProcessState]:
        states = self._platform.processes() if self._platform else {}
        return {name: state for name, state in states.items() if name in SERVICES}

    def _show(self) -> None:
        self._progress.services = self._states()
        self._progress.elapsed_s = self._clock.monotonic_s() - self._began_s
        self._view.show(self._progress)
