"""What the control topics say about the model, read to their end whenever it matters.

Not by subscription: a decision needs what is true *now*, and alarms are rare, so the topics are read on from where
they were left just before each decision. Every process of the monitor sees all of them, whatever it owns in the group.

Training profiles are read with them, and before the first frame of a champion that was not seen yet: a profile is
written with the end of its run, so before the version is deployed. The newest ``PROFILES_KEPT`` of the model are kept,
and the champion's however old it is.
"""

from collections.abc import Mapping
from functools import lru_cache

from millrace.bus.context import Context
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError
from millrace.contracts.events import (
    DeploymentDecided,
    DriftDetected,
    ModelMetricsMeasured,
    ModelVersionChanged,
    RetrainModel,
    RolloutMeasured,
    TrainingProfileRecorded,
    TrainingRunChanged,
)
from millrace.contracts.profile import Profile, profile_of
from millrace.contracts.topics import TopicRow, topic_name
from millrace.telemetry.log import get_logger
from services.monitor.core import INITIAL, State, evolve

log = get_logger(__name__)

ControlEvent = (
    RetrainModel
    | TrainingRunChanged
    | TrainingProfileRecorded
    | ModelVersionChanged
    | DeploymentDecided
    | DriftDetected
)
PROFILES_KEPT = 32  # of at most 1 MB each; more runs than that between two deployments are rare
FINDINGS: tuple[tuple[TopicRow, type[ModelMetricsMeasured | DriftDetected | RolloutMeasured]], ...] = (
    (topics.MODEL_METRICS, ModelMetricsMeasured),
    (topics.DRIFT_EVENTS, DriftDetected),
    (topics.ROLLOUT_EVIDENCE, RolloutMeasured),
)


class Control:
    """The fold of some topics, each of one partition. ``state`` is as of the last :meth:`refresh`."""

    def __init__(self, context: Context) -> None:
        self.state: State = INITIAL
        self._context = context
        self._key = context.project.model.encode()
        self._profiles: dict[str, TrainingProfileRecorded] = {}  # by run
        self._run_of: dict[int, str] = {}  # by version
        self._known: set[int] = set()
        self._decoded = lru_cache(maxsize=4)(self._decode_profile)
        self._classes: Mapping[str, type[ControlEvent]] = {
            topic_name(topics.RETRAIN_REQUESTS, context.project): RetrainModel,
            topic_name(topics.TRAINING_RUNS, context.project): TrainingRunChanged,
            topic_name(topics.MODEL_VERSIONS, context.project): ModelVersionChanged,
            topic_name(topics.DEPLOYMENTS, context.project): DeploymentDecided,
            topic_name(topics.DRIFT_EVENTS, context.project): DriftDetected,
            # the last: so that a process that begins knows the champion before it lets go of profiles
            topic_name(topics.TRAINING_PROFILES, context.project): TrainingProfileRecorded,
        }
        self._next: dict[str, int] = {}

    async def refresh(self) -> State:
        """Read on to the end of each topic. After an error it can be called again: nothing is counted twice."""
        for topic in self._classes:
            bounds = await self._context.transport.bounds(topic, 0)
            start = self._next.get(topic, bounds.begin)
            if start >= bounds.end:
                continue
            async for records in self._context.transport.read(topic, 0, start, bounds.end):
                for record in records:
                    await self._take(record)
                    self._next[topic] = record.offset + 1
            self._next[topic] = bounds.end
        return self.state

    async def know(self, version: int) -> None:
        """Have read what there is about a version that serves now; at once if it was asked about before."""
        if version not in self._known:
            await self.refresh()
            self._known.add(version)

    def profile(self, version: int) -> Profile | None:
        """What the version was trained on; None if no profile was recorded, or it cannot be read."""
        run_id = self._run_of.get(version)
        return self._decoded(run_id) if run_id is not None and run_id in self._profiles else None

    def _decode_profile(self, run_id: str) -> Profile | None:
        try:
            return profile_of(self._profiles[run_id])
        except ContractError as error:
            log.error("training profile left out", run=run_id, error=str(error))  # noqa: TRY400  # the message is enough
            return None

    async def _take(self, record: Record) -> None:
        kind = self._classes[record.topic]
        if kind is TrainingProfileRecorded and record.key != self._key:
            return  # they are large, and of other models most of them
        try:
            event = await self._context.codec.decode(kind, record.value)
        except ContractError as error:
            log.error("control record left out", topic=record.topic, offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
            return
        if event.model != self._context.project.model:
            return
        if isinstance(event, TrainingProfileRecorded):
            self._keep(event)
            return
        if isinstance(event, ModelVersionChanged) and event.version is not None:
            self._run_of[event.version] = event.run_id
        self.state = evolve(self.state, event)

    def _keep(self, event: TrainingProfileRecorded) -> None:
        self._profiles[event.run_id] = event
        champions = self._run_of.get(self.state.champion or 0)
        while len(self._profiles) > PROFILES_KEPT:
            del self._profiles[next(run for run in self._profiles if run != champions)]


async def published_until(context: Context, partition: int) -> int:
    """The first samples offset about which nothing is published, from the monitor's own output.

    For when the position is gone that says so exactly: the broker forgets positions of a group that has been idle for
    a week. Findings are published in samples order, so the newest one tells. It may lie within a frame; that frame's
    findings went out together.
    """
    until = 0
    for row, kind in FINDINGS:
        topic = topic_name(row, context.project)
        bounds = await context.transport.bounds(topic, 0)
        async for records in context.transport.read(topic, 0, bounds.begin, bounds.end):
            for record in records:
                try:
                    event = await context.codec.decode(kind, record.value)
                except ContractError as error:  # nobody's finding: of it alone nothing is known
                    log.error("finding left out", topic=topic, offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
                    continue
                if (event.model, event.partition) == (context.project.model, partition):
                    until = max(until, _end(event))
    return until


def _end(finding: ModelMetricsMeasured | DriftDetected | RolloutMeasured) -> int:
    """The first samples offset after what it is about; of a rollout that is the end of a frame, not a row."""
    match finding:
        case RolloutMeasured():
            return finding.until_offset
        case DriftDetected():
            return finding.sample_offset + 1
        case ModelMetricsMeasured():
            return finding.until_offset + 1
