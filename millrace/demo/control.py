"""The decisions of a run: what was said on the control topics, and the causal chains in it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from millrace.contracts import topics
from millrace.contracts.events import (
    AlertRaised,
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelVersionChanged,
    RetrainModel,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.contracts.topics import TopicRow

CONTROL: dict[TopicRow, type[Event]] = {
    topics.DRIFT_EVENTS: DriftDetected,
    topics.RETRAIN_REQUESTS: RetrainModel,
    topics.TRAINING_RUNS: TrainingRunChanged,
    topics.MODEL_VERSIONS: ModelVersionChanged,
    topics.DEPLOYMENTS: DeploymentDecided,
    topics.SERVING_STATUS: ServingStatusReported,
    topics.ALERTS: AlertRaised,
}
E_ = TypeVar("E_", bound=Event)


@dataclass(frozen=True, slots=True)
class Said:
    """An event and its log time."""

    log_ms: int
    event: Event


@dataclass(frozen=True, slots=True)
class Chain:
    """A version's way to the events, and what led to it, as far back as ids lead.

    ``steps`` are the deployments of its rollout, oldest first: one alone where it took over at once, else the start,
    its advances, and its end if it has come. ``served`` is the first report under an epoch in which the version
    answers events, ``reigned`` the first under which it is champion.
    """

    steps: tuple[DeploymentDecided, ...]
    version: int
    registered: ModelVersionChanged | None = None
    entered: ModelVersionChanged | None = None
    run: TrainingRunChanged | None = None
    request: RetrainModel | None = None
    drift: DriftDetected | None = None
    drift_log_ms: int | None = None
    served: ServingStatusReported | None = None
    served_log_ms: int | None = None
    reigned: ServingStatusReported | None = None
    reigned_log_ms: int | None = None

    @property
    def deployment(self) -> DeploymentDecided:
        """The first one that has a part for the version."""
        return self.steps[0]

    @property
    def ended(self) -> DeploymentDecided | None:
        """What ended the rollout, or put the version in force at once; None while the rollout goes on."""
        last = self.steps[-1]
        return last if last.rollout_id is None else None

    @property
    def is_champion(self) -> bool:
        """Whether it became champion."""
        return self.ended is not None and self.ended.traffic[0].version == self.version

    @property
    def caused_by_drift(self) -> bool:
        """Whether the ids lead from a drift event, without a gap, to a version that answers events."""
        return self.drift is not None and self.served is not None

    @property
    def drift_to_serving_s(self) -> float | None:
        """From the log time of the drift event to that of the report that the version answers events."""
        return self._since_drift_s(self.served_log_ms)

    @property
    def drift_to_champion_s(self) -> float | None:
        """From the log time of the drift event to that of the report that the version is champion."""
        return self._since_drift_s(self.reigned_log_ms)

    def _since_drift_s(self, log_ms: int | None) -> float | None:
        return None if self.drift_log_ms is None or log_ms is None else (log_ms - self.drift_log_ms) / 1000


@dataclass(slots=True)
class Control:
    """All control events of one model, in the order in which they were read."""

    model: str
    said: list[Said] = field(default_factory=list)

    def add(self, log_ms: int, event: Event) -> None:
        """Take in an event; those of other models are left out."""
        if getattr(event, "model", self.model) == self.model:
            self.said.append(Said(log_ms, event))

    def of(self, kind: type[E_]) -> list[E_]:
        """The events of one class."""
        return [said.event for said in self.said if isinstance(said.event, kind)]

    @property
    def drifts(self) -> list[DriftDetected]:
        """Drift events, each once."""
        return list({drift.drift_id: drift for drift in self.of(DriftDetected)}.values())

    @property
    def champion(self) -> int:
        """The version that reported last that it serves; 0 before the first."""
        served = [status for status in self.of(ServingStatusReported) if status.status == "SERVING"]
        return max(served, key=lambda status: status.epoch).version if served else 0

    def first_offsets(self) -> dict[int, int]:
        """By partition, the samples offset from which on events are scored."""
        first: dict[int, int] = {}
        for status in self.of(ServingStatusReported):
            if status.status == "SERVING":
                first[status.partition] = min(status.from_offset, first.get(status.partition, status.from_offset))
        return first

    def chains(self) -> list[Chain]:
        """Every version's way to the events, with its causes, by the epoch in which it began."""
        deployments = {deployment.epoch: deployment for deployment in self.of(DeploymentDecided)}
        ways: list[list[DeploymentDecided]] = []
        for _, deployment in sorted(deployments.items()):
            goes_on = ways and ways[-1][-1].rollout_id and deployment.caused_by == ways[-1][-1].deployment_id
            if goes_on:
                ways[-1].append(deployment)
            else:
                ways.append([deployment])
        return [self._chain(tuple(way)) for way in ways]

    def _chain(self, steps: tuple[DeploymentDecided, ...]) -> Chain:
        version = steps[0].traffic[-1].version  # the newcomer stands last
        entered, registered = self._admission(steps[0])
        run = request = drift = None
        if registered is not None and registered.caused_by == registered.run_id:
            succeeded = (run for run in self.of(TrainingRunChanged) if run.status == "SUCCEEDED")
            run = next((run for run in succeeded if run.run_id == registered.run_id), None)
        if run is not None:
            request = next((one for one in self.of(RetrainModel) if one.request_id == run.caused_by), None)
        if request is not None:
            alarms = (one for one in self.drifts if one.severity == "ALARM")
            drift = next((one for one in alarms if one.drift_id == request.caused_by), None)
        served = self._first_report(step for step in steps if _answers(step, version))
        reigned = self._first_report(step for step in steps if step.traffic[0].version == version)
        return Chain(
            steps, version, registered, entered, run, request, drift,
            None if drift is None else self._log_ms(drift),
            served,
            None if served is None else self._log_ms(served),
            reigned,
            None if reigned is None else self._log_ms(reigned),
        )  # fmt: skip

    def _admission(
        self, deployment: DeploymentDecided
    ) -> tuple[ModelVersionChanged | None, ModelVersionChanged | None]:
        """The fact that let the version in, and its registration, by the causes that are named."""
        changes = {change.change_id: change for change in self.of(ModelVersionChanged)}
        entered = change = changes.get(deployment.caused_by)
        while change is not None and change.status == "PROMOTED":
            change = changes.get(change.caused_by)
        return entered, change if change is not None and change.status == "REGISTERED" else None

    def _first_report(self, steps: Iterable[DeploymentDecided]) -> ServingStatusReported | None:
        epochs = {step.epoch for step in steps}
        reports = self.of(ServingStatusReported)
        return next((one for one in reports if one.epoch in epochs and one.status == "SERVING"), None)

    def _log_ms(self, event: Event) -> int:
        return next(said.log_ms for said in self.said if said.event == event)


def _answers(deployment: DeploymentDecided, version: int) -> bool:
    return any(part.version == version and part.share > 0 for part in deployment.traffic)
