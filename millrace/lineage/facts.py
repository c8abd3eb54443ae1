"""What the control topics say about one model, ordered so that it can be asked. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from millrace.contracts.events import (
    DataSnapshotTaken,
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelVersionChanged,
    OffsetRange,
    PredictionMade,
    RetrainModel,
    SampleRecorded,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.lineage.reach import Reached


class Placed(NamedTuple):
    """A sample with its place in the samples log."""

    partition: int
    offset: int
    sample: SampleRecorded


class Span(NamedTuple):
    """The samples that a version scored in a partition under one epoch. ``until_offset`` None is to this day."""

    epoch: int
    partition: int
    from_offset: int
    until_offset: int | None


class Count(NamedTuple):
    """How many predictions of a version there are in a partition, and the samples of the first and the last of them."""

    version: int
    partition: int
    rows: int
    from_offset: int
    until_offset: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was read from the data topics to answer a question.

    ``events`` and ``labels`` are of one event id, ``predictions`` were made from it. ``counts`` are of the versions
    that the answer names, ``reached`` the later samples whose features may look back at an event. ``notes`` say what
    could not be read.
    """

    events: tuple[Placed, ...] = ()
    labels: tuple[Placed, ...] = ()
    predictions: tuple[PredictionMade, ...] = ()
    counts: tuple[Count, ...] = ()
    reached: tuple[Reached, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Facts:
    """Everything by its id. ``runs`` is the newest word about each run, ``versions`` all words about each version."""

    model: str
    stream: str
    runs: dict[str, TrainingRunChanged] = field(default_factory=dict)
    versions: dict[int, list[ModelVersionChanged]] = field(default_factory=dict)
    rejected: dict[str, ModelVersionChanged] = field(default_factory=dict)
    deployments: dict[int, DeploymentDecided] = field(default_factory=dict)
    statuses: list[ServingStatusReported] = field(default_factory=list)
    snapshots: dict[str, DataSnapshotTaken] = field(default_factory=dict)
    requests: dict[str, RetrainModel] = field(default_factory=dict)
    drifts: dict[str, DriftDetected] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Take in one more event, in the order of its topic. Events of other models and streams are left out."""
        match event:
            case DataSnapshotTaken() if event.stream == self.stream:
                self.snapshots[event.snapshot_id] = event
            case TrainingRunChanged() if event.model == self.model:
                self.runs[event.run_id] = event
            case ModelVersionChanged(version=None) if event.model == self.model:
                self.rejected[event.run_id] = event
            case ModelVersionChanged() if event.model == self.model and event.version is not None:
                self.versions.setdefault(event.version, []).append(event)
            case DeploymentDecided() if event.model == self.model:
                self.deployments[event.epoch] = event
            case ServingStatusReported() if event.model == self.model:
                self.statuses.append(event)
            case RetrainModel() if event.model == self.model:
                self.requests[event.request_id] = event
            case DriftDetected() if event.model == self.model:
                self.drifts[event.drift_id] = event
            case _:
                pass

    @classmethod
    def of(cls, model: str, stream: str, events: Iterable[Event]) -> "Facts":
        """The facts of one model in these events."""
        facts = cls(model, stream)
        for event in events:
            facts.add(event)
        return facts

    def version_of(self, run_id: str) -> int | None:
        """The version that a run became."""
        return next((number for number, changes in self.versions.items() if changes[0].run_id == run_id), None)

    def deployed(self, version: int) -> list[DeploymentDecided]:
        """The deployments that give traffic to a version, oldest first."""
        decided = sorted(self.deployments.values(), key=lambda one: one.epoch)
        return [one for one in decided if any(part.version == version for part in one.traffic)]

    def spans(self, version: int) -> list[Span]:
        """Where a version answered, partition by partition, as the serving processes reported it.

        A version that could not be loaded leaves the one before in place: such a report ends nothing. While a rollout
        shares the events out, each version with a share has the span; which of its events it answered, the predictions
        say.
        """
        sharing = {
            one.epoch: {part.version for part in one.traffic if part.share > 0} for one in self.deployments.values()
        }
        begins: dict[int, dict[int, int]] = {}
        versions: dict[tuple[int, int], set[int]] = {}
        for report in self.statuses:
            if report.status == "SERVING":
                begins.setdefault(report.partition, {}).setdefault(report.epoch, report.from_offset)
                known = versions.setdefault((report.partition, report.epoch), set())
                known |= {report.version, *sharing.get(report.epoch, ())}
        spans = []
        for partition, epochs in sorted(begins.items()):
            for epoch, start in sorted(epochs.items()):
                later = [epochs[other] for other in epochs if other > epoch]
                if version in versions[partition, epoch]:
                    spans.append(Span(epoch, partition, start, min(later, default=None)))
        return [span for span in spans if span.until_offset is None or span.until_offset > span.from_offset]

    def scored_by(self, partition: int, offset: int) -> list[tuple[int, int]]:
        """The (version, epoch) in whose span a sample lies; for predictions that retention has removed."""
        return [
            (version, span.epoch)
            for version in self.versions
            for span in self.spans(version)
            if span.partition == partition
            and span.from_offset <= offset
            and (span.until_offset is None or offset < span.until_offset)
        ]

    def trained_on(self, found: Found) -> list[TrainingRunChanged]:
        """The runs that have the event as one of their rows.

        A row is an unflagged EVENT of the run's feature set whose label lies in the same range; excluded parts hold no
        rows.
        """
        return [run for run in self.runs.values() if any(_is_row(run, event, found.labels) for event in found.events)]

    def holding(self, reached: Reached) -> list[TrainingRunChanged]:
        """The runs in whose ranges one of these samples lies; whether it was labelled there is not asked."""
        return [
            run
            for run in self.runs.values()
            if any(
                any(holds(part, reached.partition, offset) for part in run.ranges)
                and not any(holds(part, reached.partition, offset) for part in run.excluded)
                for offset in reached.offsets
            )
        ]

    def snapshots_of(self, run: TrainingRunChanged) -> list[tuple[DataSnapshotTaken, str]]:
        """The snapshots of a run's rows, and how that is known: for each partition the first that holds them all."""
        named = self.snapshots.get(run.snapshot_id or "")
        found = [] if named is None else [(named, "named by the run")]
        for part in run.ranges:
            covering = [
                snapshot
                for snapshot in self.snapshots.values()
                if any(_covers(other, part) for other in snapshot.ranges)
            ]
            first = min(covering, key=lambda one: max(other.until_offset for other in one.ranges), default=None)
            if first is not None and all(first is not known for known, _ in found):
                found.append(
                    (first, f"the first that reaches {part.topic}/{part.partition} offset {part.until_offset}")
                )
        return found


def _covers(whole: OffsetRange, part: OffsetRange) -> bool:
    return (whole.topic, whole.partition) == (part.topic, part.partition) and whole.until_offset >= part.until_offset


def _is_row(run: TrainingRunChanged, event: Placed, labels: Iterable[Placed]) -> bool:
    if event.sample.feature_set != run.feature_set or event.sample.flags:
        return False
    if any(holds(part, event.partition, event.offset) for part in run.excluded):
        return False
    return any(
        holds(part, event.partition, event.offset)
        and any(event.offset < label.offset and holds(part, label.partition, label.offset) for label in labels)
        for part in run.ranges
    )


def holds(part: OffsetRange, partition: int, offset: int) -> bool:
    """Whether the range has that place."""
    return part.partition == partition and part.from_offset <= offset < part.until_offset


def hashes(run: TrainingRunChanged) -> Mapping[str, str | int | None]:
    """All that a run's result depends on, by content."""
    names = ("feature_set", "code_hash", "config_hash", "lock_hash", "rows_sha256", "expectations_id", "seed")
    return {name: getattr(run, name) for name in names}
