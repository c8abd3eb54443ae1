"""One model's life, folded from the log: what was decided, asked, measured and served. Pure.

The API and the command line ask the same fold (``history_at``, ``history_line``), one fed from the projection, one
from the topics. Rules:

- Like ``state.evolve`` the fold refuses what does not fit: an epoch that does not grow, a second decision about a run,
  a status of a version that was never registered. Only the registry's ``refusal`` says so aloud.
- Between topics the order does not matter, within a topic it is the log's.
- An audit record or a request counts once, by its id. Of a rollout's measurements the one that reaches farthest stands.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from millrace.contracts.events import (
    AuditRecorded,
    DeploymentDecided,
    DriftDetected,
    Event,
    ManageModel,
    ModelVersionChanged,
    RetrainModel,
    RolloutMeasured,
    ServingStatusReported,
    Traffic,
    TrainingRunChanged,
)

CHAMPION = "champion"
REGISTRY = "registry"  # the actor of what happens by itself
ENDED = frozenset({"REJECTED", "RETIRED"})
AGREEING = frozenset({"approve", "promote"})
STOPPED = frozenset({"ROLLED_BACK", "ABORTED"})
FREEZING = frozenset({"freeze", "kill"})


@dataclass(frozen=True, slots=True)
class Effect:
    """What a deployment did in a partition: since when and from which offset it served, or that it could not load."""

    partition: int
    epoch: int
    version: int
    status: str
    from_offset: int
    process: str
    reason: str | None
    first_at_ms: int
    reported_at_ms: int


@dataclass(slots=True)
class Life:
    """Everything about one model, by its id, in log order."""

    model: str
    runs: dict[str, TrainingRunChanged] = field(default_factory=dict)
    changes: dict[str, ModelVersionChanged] = field(default_factory=dict)
    versions: dict[int, list[ModelVersionChanged]] = field(default_factory=dict)
    rejected: dict[str, ModelVersionChanged] = field(default_factory=dict)
    deployments: list[DeploymentDecided] = field(default_factory=list)
    audits: dict[str, AuditRecorded] = field(default_factory=dict)
    requests: dict[str, ManageModel] = field(default_factory=dict)
    retrains: dict[str, RetrainModel] = field(default_factory=dict)
    drifts: dict[str, DriftDetected] = field(default_factory=dict)
    evidence: dict[tuple[str, int, int], RolloutMeasured] = field(default_factory=dict)
    effects: dict[tuple[int, int, str], Effect] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str, events: Iterable[Event]) -> "Life":
        """The life of one model in these events."""
        life = cls(model)
        for event in events:
            life.add(event)
        return life

    def add(self, event: Event) -> None:
        """Take in one more event, in the order of its topic. What is about another model is left out."""
        if isinstance(event, AuditRecorded):
            if about(event) == self.model:
                self.audits.setdefault(event.audit_id, event)
        elif getattr(event, "model", None) == self.model:
            self._decided(event)
            self._asked(event)

    def _decided(self, event: Event) -> None:
        match event:
            case DeploymentDecided():
                if not self.deployments or event.epoch > self.deployments[-1].epoch:
                    self.deployments.append(event)
            case ModelVersionChanged():
                self._change(event)
            case TrainingRunChanged():
                known = self.runs.get(event.run_id)
                if known is None or known.status != "SUCCEEDED":
                    self.runs.pop(event.run_id, None)  # runs stand in the order of their newest word
                    self.runs[event.run_id] = event
            case ServingStatusReported():
                self._report(event)
            case _:
                pass

    def _asked(self, event: Event) -> None:
        match event:
            case RolloutMeasured():
                place = (event.rollout_id, event.epoch, event.partition)
                if place not in self.evidence or event.until_offset >= self.evidence[place].until_offset:
                    self.evidence[place] = event
            case ManageModel():
                self.requests.setdefault(event.request_id, event)
            case RetrainModel():
                self.retrains.setdefault(event.request_id, event)
            case DriftDetected():
                self.drifts.setdefault(event.drift_id, event)
            case _:
                pass

    def _change(self, change: ModelVersionChanged) -> None:
        decides = change.status == "REGISTERED" or change.version is None
        if decides and self.decision(change.run_id) is not None:
            return
        known = self.versions.get(change.version or 0, [])
        if change.version is None:
            if change.status != "REJECTED":
                return
            self.rejected[change.run_id] = change
        elif (change.status == "REGISTERED") == bool(known) or any(one.change_id == change.change_id for one in known):
            return
        else:
            self.versions.setdefault(change.version, []).append(change)
        self.changes.setdefault(change.change_id, change)

    def _report(self, report: ServingStatusReported) -> None:
        place = (report.partition, report.epoch, report.status)
        known = self.effects.get(place)
        self.effects[place] = Effect(
            partition=report.partition,
            epoch=report.epoch,
            version=report.version,
            status=report.status,
            from_offset=report.from_offset if known is None else min(known.from_offset, report.from_offset),
            process=report.process,
            reason=report.reason,
            first_at_ms=report.reported_at_ms if known is None else known.first_at_ms,
            reported_at_ms=report.reported_at_ms,
        )

    @property
    def is_known(self) -> bool:
        """Whether the log says anything about the model."""
        return bool(self.runs or self.changes or self.deployments or self.audits or self.requests)

    def decision(self, run_id: str) -> ModelVersionChanged | None:
        """The registration or the rejection that decided about a run."""
        if run_id in self.rejected:
            return self.rejected[run_id]
        return next((changes[0] for changes in self.versions.values() if changes[0].run_id == run_id), None)

    def in_force(self, at_ms: int | None) -> DeploymentDecided | None:
        """The deployment in force at a time; None: before the first one. Without a time, the newest."""
        known = [one for one in self.deployments if at_ms is None or one.decided_at_ms <= at_ms]
        return known[-1] if known else None

    def after(self, deployment: DeploymentDecided) -> DeploymentDecided | None:
        """The deployment that followed this one."""
        return next((one for one in self.deployments if one.epoch > deployment.epoch), None)

    def rollout_of(self, cause: str | None) -> list[DeploymentDecided]:
        """The deployments of the rollout with this id, or of the one that a measurement of this id belongs to."""
        rollout = cause or ""
        if rollout.startswith("evidence/"):  # evidence/<model>/<rollout>/<epoch>/<partition>/<until_offset>
            rollout = rollout.removeprefix(f"evidence/{self.model}/").rsplit("/", 3)[0]
        return [one for one in self.deployments if one.rollout_id is not None and one.rollout_id == rollout]

    def person(self, audit: AuditRecorded) -> str:
        """Who asked for what an audit record tells; its actor if nobody asked."""
        request = self.requests.get(audit.caused_by or "")
        return audit.actor if request is None else request.requested_by

    def frozen(self, at_ms: int | None) -> AuditRecorded | None:
        """The accepted freeze, or kill, that holds at a time; None if nothing is frozen."""
        newest = None
        for audit in accepted(self.audits.values(), at_ms):
            if audit.action.lower() in FREEZING:
                newest = audit
            elif audit.action.lower() == "unfreeze":
                newest = None
        return newest

    def approvals(self, version: int, at_ms: int | None, *, ever: bool = False) -> list[AuditRecorded]:
        """Who agreed to a version, oldest first; asking for its promotion is agreeing to it.

        What was said before it was retired or rejected counts no more, unless all words ``ever`` said are asked for.
        """
        ends = [
            change.changed_at_ms
            for change in self.versions.get(version, [])
            if not ever and change.status in ENDED and (at_ms is None or change.changed_at_ms <= at_ms)
        ]
        return [
            audit
            for audit in accepted(self.audits.values(), at_ms)
            if audit.version == version and audit.action.lower() in AGREEING and audit.actor != REGISTRY
            and audit.recorded_at_ms > max(ends, default=-1)
        ]  # fmt: skip


def accepted(audits: Iterable[AuditRecorded], at_ms: int | None) -> list[AuditRecorded]:
    """What was accepted by a time, in log order."""
    return [one for one in audits if one.outcome == "ACCEPTED" and (at_ms is None or one.recorded_at_ms <= at_ms)]


def champion_of(deployment: DeploymentDecided) -> Traffic | None:
    """The champion's part of a deployment."""
    return next((part for part in deployment.traffic if part.variant == CHAMPION), None)


def subject_of(deployment: DeploymentDecided) -> int | None:
    """The version that a deployment is about: the newest one that is tried out, else the champion."""
    tried = [part.version for part in deployment.traffic if part.variant != CHAMPION]
    champion = champion_of(deployment)
    return max(tried) if tried else None if champion is None else champion.version


def shares(deployment: DeploymentDecided) -> str:
    """The traffic in words.

    >>> from millrace.contracts.events import Traffic
    >>> parts = [
    ...     Traffic(variant="champion", version=3, share=0.95, artifact_sha256="a", feature_set="f"),
    ...     Traffic(variant="candidate", version=4, share=0.05, artifact_sha256="b", feature_set="f"),
    ... ]
    >>> shares(
    ...     DeploymentDecided(
    ...         deployment_id="d",
    ...         model="m",
    ...         epoch=1,
    ...         traffic=parts,
    ...         scoring_since_ms=0,
    ...         caused_by="c",
    ...         reason="r",
    ...         decided_by="registry",
    ...         decided_at_ms=0,
    ...     )
    ... )
    'version 3 95 %, version 4 5 %'
    """
    said = [
        f"version {part.version} {'unseen' if part.mode == 'SHADOW' else f'{part.share * 100:.3g} %'}"
        for part in deployment.traffic
    ]
    return ", ".join(said)


def about(audit: AuditRecorded) -> str | None:
    """The model that an audit record is about; older ones name it in their subject only."""
    return audit.model or audit.subject.partition(" version ")[0] or None
