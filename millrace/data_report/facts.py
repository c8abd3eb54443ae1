"""What the control topics say about a snapshot: the one before it, what served, and what that was trained on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from millrace.bus.transport import Transport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError, MillraceError
from millrace.contracts.events import (
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    Event,
    ExpectationsLearned,
    ModelVersionChanged,
    OffsetRange,
    TrainingRunChanged,
)
from millrace.contracts.project import Project
from millrace.contracts.topics import TopicRow, topic_name

NEWEST = "newest"
SHOWN = 5
E = TypeVar("E", bound=Event)


class ReportError(MillraceError):
    """There is nothing to report on; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A snapshot and what belongs to it.

    ``previous`` is the snapshot before it in its partition. ``version`` and ``run`` are of the champion when it was
    taken, and ``learned`` is what was learned with that run; None where there was none. ``judged`` are the judgements
    of its partition, ``is_last`` says that no later snapshot of it is known.
    """

    snapshot: DataSnapshotTaken
    previous: DataSnapshotTaken | None
    before_previous: DataSnapshotTaken | None
    version: int | None
    run: TrainingRunChanged | None
    learned: ExpectationsLearned | None
    judged: tuple[DataQualityJudged, ...]
    is_last: bool
    notes: tuple[str, ...]

    @property
    def partition(self) -> int:
        """A snapshot is of one partition."""
        return range_of(self.snapshot).partition

    @property
    def new(self) -> OffsetRange:
        """What this snapshot added."""
        return added(self.snapshot, self.previous)

    @property
    def earlier(self) -> OffsetRange | None:
        """What the previous one had added."""
        return None if self.previous is None else added(self.previous, self.before_previous)


def range_of(snapshot: DataSnapshotTaken) -> OffsetRange:
    """Its range of the samples log."""
    return snapshot.ranges[0]


def added(snapshot: DataSnapshotTaken, before: DataSnapshotTaken | None) -> OffsetRange:
    """The samples of a snapshot that the one before it did not have."""
    whole = range_of(snapshot)
    start = whole.from_offset if before is None else max(whole.from_offset, range_of(before).until_offset)
    return whole.model_copy(update={"from_offset": start})


async def read_facts(project: Project, transport: Transport, codec: Codec, wanted: str = NEWEST) -> Facts:
    """Read the control topics. ``wanted`` is a snapshot's id, the end of one, or ``newest``.

    Raises:
        ReportError: there is no such snapshot, or none at all.
    """
    reader = _Reader(project, transport, codec)
    snapshots = [one async for one in reader.all(topics.DATA_SNAPSHOTS, DataSnapshotTaken) if one.ranges]
    snapshot = choose([one for one in snapshots if one.stream == project.stream], wanted, project.stream)
    partition, until = range_of(snapshot).partition, range_of(snapshot).until_offset
    earlier = {
        range_of(one).until_offset: one
        for one in snapshots
        if one.stream == project.stream and range_of(one).partition == partition and range_of(one).until_offset < until
    }
    is_last = not any(
        range_of(one).partition == partition and range_of(one).until_offset > until
        for one in snapshots
        if one.stream == project.stream
    )
    line = [earlier[end] for end in sorted(earlier)][-2:]
    version, run = await _served(reader, project, snapshot.taken_at_ms)
    learned = None
    async for each in reader.all(topics.EXPECTATIONS, ExpectationsLearned):
        if run is not None and each.model == project.model and each.run_id == run.run_id:
            learned = each
    judged = {
        one.judgement_id: one
        async for one in reader.all(topics.DATA_QUALITY, DataQualityJudged)
        if one.stream == project.stream and one.partition == partition
    }
    return Facts(
        snapshot,
        line[-1] if line else None,
        line[-2] if len(line) > 1 else None,
        version,
        run,
        learned,
        tuple(judged.values()),
        is_last,
        tuple(reader.notes),
    )


def choose(snapshots: list[DataSnapshotTaken], wanted: str, stream: str) -> DataSnapshotTaken:
    """The snapshot that is meant. Raises ``ReportError``."""
    if not snapshots:
        raise ReportError(
            f"stream {stream!r} has no snapshots yet; ingest takes one every training.snapshot_every_rows labelled rows"
        )
    if wanted == NEWEST:
        return max(snapshots, key=lambda one: one.taken_at_ms)
    found = {one.snapshot_id: one for one in snapshots}
    named = [one for key, one in found.items() if wanted in {key, key.removeprefix(f"{stream}/")}]
    if not named:
        last = list(found)[-SHOWN:]
        raise ReportError(
            f"no snapshot {wanted!r} of stream {stream!r}; the newest are {last}, millrace data list shows all"
        )
    return named[0]


async def _served(reader: "_Reader", project: Project, at_ms: int) -> tuple[int | None, TrainingRunChanged | None]:
    """The champion at that time, and the run that made it."""
    newest: DeploymentDecided | None = None
    async for one in reader.all(topics.DEPLOYMENTS, DeploymentDecided):
        if one.model == project.model and one.decided_at_ms <= at_ms and (not newest or one.epoch > newest.epoch):
            newest = one
    if newest is None or not newest.traffic:
        return None, None
    version = max(newest.traffic, key=lambda part: part.share).version
    run_id = None
    async for change in reader.all(topics.MODEL_VERSIONS, ModelVersionChanged):
        if change.model == project.model and change.version == version:
            run_id = change.run_id
    found = None
    async for run in reader.all(topics.TRAINING_RUNS, TrainingRunChanged):
        if run.run_id == run_id and run.ranges:
            found = run
    return version, found


class _Reader:
    """Whole control topics; a record that is no event is noted and left out."""

    def __init__(self, project: Project, transport: Transport, codec: Codec) -> None:
        self._project = project
        self._transport = transport
        self._codec = codec
        self.notes: list[str] = []

    async def all(self, row: TopicRow, kind: type[E]) -> AsyncIterator[E]:
        """The events of a topic, in their order."""
        topic = topic_name(row, self._project)
        begin, end = await self._transport.bounds(topic, 0)
        async for records in self._transport.read(topic, 0, begin, end):
            for record in records:
                try:
                    yield await self._codec.decode(kind, record.value)
                except ContractError as error:
                    self.notes.append(f"{topic}/0/{record.offset} is no {kind.__name__} and was left out: {error}")
