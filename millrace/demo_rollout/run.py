"""The demo: the platform, a sender, the bad models and the measuring client, from an empty folder to a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from millrace.bus.clock import Clock, SystemClock
from millrace.bus.kafka import KafkaTransport
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.demo.dataset import DatasetFile
from millrace.demo.measure import Measure
from millrace.demo.publish import Publisher
from millrace.demo.report import Check
from millrace.demo.stage import empty_folder, work_while
from millrace.demo_rollout.checks import check
from millrace.demo_rollout.figures import Facts, report
from millrace.demo_rollout.project import derive
from millrace.demo_rollout.report import RolloutReport
from millrace.demo_rollout.story import STALLED_S, Means, Story
from millrace.local.bundle import Software
from millrace.local.platform import Platform
from millrace.local.prepare import prepare
from millrace.local.supervisor import Change
from millrace.stores.artifacts import ArtifactStore


@dataclass(frozen=True, slots=True)
class Outcome:
    """A demo that came to its end, whether or not the checks hold."""

    report: RolloutReport
    name: str


class RolloutDemo:
    """One run.

    Args:
        example: the project from which the demo's own is derived.
        data: emptied first, if it is missing, empty, or an earlier demo's.
        rate: rows per second while a case is under way.
        software: the installed programs.
        say: told in words what happens.
        clock: measures.
    """

    def __init__(
        self, example: Path, data: Path, rate: float, software: Software, say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        load_project(example)
        self._example, self._data, self._rate, self._software, self._say = example, data, rate, software, say
        self._clock = clock or SystemClock()

    async def run(self) -> Outcome:
        """Start, tell the story, read back, stop. Whatever happens, nothing is left running.

        Raises:
            LocalError, BusError: the platform could not be started, or its broker is gone for good.
        """
        empty_folder(self._data)
        project = derive(self._example, self._data / "project")
        began_s = self._clock.monotonic_s()
        platform = Platform(
            self._data, project=project.folder, software=self._software, prepare=prepare, on_change=self._changed
        )
        self._say("starting Kafka, the schema registry and five services")
        try:
            await platform.start()
            return await self._on_platform(platform, project, self._clock.monotonic_s() - began_s)
        finally:
            self._say("stopping")
            await platform.stop()

    async def _on_platform(self, platform: Platform, project: Project, start_s: float) -> Outcome:
        transport = KafkaTransport(platform.bootstrap_servers, "millrace-demo-rollout")
        registry = SchemaRegistry(platform.schema_registry_url)
        try:
            codec = Codec(registry)
            measure = Measure(transport, codec, project, self._clock)
            publisher = Publisher(transport, codec, project, self._clock)
            live = measure.new_run()
            store = ArtifactStore(self._data / "artifacts")
            means = Means(
                project, DatasetFile(project), transport, codec, store, publisher, live, self._clock, self._say
            )
            story = Story(means, self._rate)
            began_s = self._clock.monotonic_s()
            stalled = await work_while(story.tell(), platform.wait(), measure.follow(live))
            run_s = self._clock.monotonic_s() - began_s
            self._say("reading everything back from the topics")
            told = await measure.read_all()
            judged = check(report(told, story.told, Facts(run_s, start_s)))
            if stalled is not None:
                message = f"{stalled} within {STALLED_S:.0f} s; see {self._data / 'logs'}"
                came_to_end = Check(name="came-to-an-end", passed=False, message=message)
                judged = judged.model_copy(update={"checks": (came_to_end, *judged.checks)})
            return Outcome(judged, project.model)
        finally:
            await transport.close()
            await registry.aclose()

    async def _changed(self, change: Change) -> None:
        """The supervisor saw a process end, start or become ready again."""
        if change.reason:
            self._say(f"{change.state.name} {change.what} {change.reason}".strip())
