"""The decisions of a run: what was said on the control topics, and the causal chains in it. Pure."""

from collections.abc import Iterator
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
    """A deployment and what led to it, as far back as ids lead. ``served`` is the first report that it serves."""

    deployment: DeploymentDecided
    promoted: ModelVersionChanged | None = None
    registered: ModelVersionChanged | None = None
    run: TrainingRunChanged | None = None
    request: RetrainModel | None = None
    drift: DriftDetected | None = None
    drift_log_ms: int | None = None
    served: ServingStatusReported | None = None
    served_log_ms: int | None = None

    @property
    def version(self) -> int:
        """The champion that was deployed."""
        return self.deployment.traffic[0].version

    @property
    def caused_by_drift(self) -> bool:
        """Whether the ids lead from a drift event, without a gap, to a version that serves."""
        return self.drift is not None and self.served is not None

    @property
    def drift_to_serving_s(self) -> float | None:
        """From the log time of the drift event to that of the report that the version serves."""
        if self.drift_log_ms is None or self.served_log_ms is None:
            return None
        return (self.served_log_ms - self.drift_log_ms) / 1000


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
        """Every deployment with its causes, by epoch."""
        deployments = {deployment.epoch: deployment for deployment in self.of(DeploymentDecided)}
        return [self._chain(deployment) for _, deployment in sorted(deployments.items())]

    def _chain(self, deployment: DeploymentDecided) -> Chain:
        changes = {change.change_id: change for change in self.of(ModelVersionChanged)}
        promoted = changes.get(deployment.caused_by)
        registered = changes.get(promoted.caused_by) if promoted and promoted.status == "PROMOTED" else None
        run = request = drift = None
        if registered is not None and registered.caused_by == registered.run_id:
            succeeded = (run for run in self.of(TrainingRunChanged) if run.status == "SUCCEEDED")
            run = next((run for run in succeeded if run.run_id == registered.run_id), None)
        if run is not None:
            request = next((one for one in self.of(RetrainModel) if one.request_id == run.caused_by), None)
        if request is not None:
            alarms = (one for one in self.drifts if one.severity == "ALARM")
            drift = next((one for one in alarms if one.drift_id == request.caused_by), None)
        served = next(self._served(deployment), None)
        return Chain(
            deployment,
            promoted,
            registered,
            run,
            request,
            drift,
            None if drift is None else self._log_ms(drift),
            served,
            None if served is None else self._log_ms(served),
        )

    def _served(self, deployment: DeploymentDecided) -> Iterator[ServingStatusReported]:
        for status in self.of(ServingStatusReported):
            if status.epoch == deployment.epoch and status.status == "SERVING":
                yield status

    def _log_ms(self, event: Event) -> int:
        return next(said.log_ms for said in self.said if said.event == event)
