"""What became of a model that somebody asked to deploy, as the topics tell it. Pure."""

from dataclasses import dataclass

from millrace.contracts.events import (
    DeploymentDecided,
    ModelVersionChanged,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.demo.measure import Run


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended. ``deployments`` are those in which its version had a part, and the one that ended that."""

    version: int | None
    promoted: bool
    reason: str
    deployments: tuple[DeploymentDecided, ...] = ()


def ending(live: Run, request_id: str) -> Ending | None:
    """What became of the model that this request brought in; None while it is open."""
    control = live.control
    run = next((one for one in control.of(TrainingRunChanged) if one.caused_by == request_id), None)
    if run is None:
        return None
    failed = [one for one in control.of(TrainingRunChanged) if one.run_id == run.run_id and one.status == "FAILED"]
    if failed:
        return Ending(None, promoted=False, reason=failed[0].error or "it failed")
    changes = [one for one in control.of(ModelVersionChanged) if one.run_id == run.run_id]
    rejected = [one for one in changes if one.status == "REJECTED"]
    if rejected:
        return Ending(None, promoted=False, reason="; ".join(rejected[0].reasons))
    return _of_version(live, next((one.version for one in changes if one.version is not None), None))


def is_judged(live: Run, request_id: str) -> bool:
    """Whether the run that the request caused has ended, and been decided about."""
    runs = {one.run_id for one in live.control.of(TrainingRunChanged) if one.caused_by == request_id}
    decided = {one.run_id for one in live.control.of(ModelVersionChanged)}
    return bool(runs & decided) or ending(live, request_id) is not None


def _of_version(live: Run, version: int | None) -> Ending | None:
    """What became of a registered version; None while its rollout goes on, or before it began."""
    deployments = sorted(live.control.of(DeploymentDecided), key=lambda one: one.epoch)
    with_it = [one for one in deployments if any(part.version == version for part in one.traffic)]
    if version is None or not with_it:
        return None
    if with_it[-1].kind == "PROMOTED" and is_served(live, with_it[-1]):
        return Ending(version, promoted=True, reason=with_it[-1].reason, deployments=tuple(with_it))
    after = next((one for one in deployments if one.epoch > with_it[-1].epoch), None)
    if after is None or not is_served(live, after):
        return None
    return Ending(version, promoted=False, reason=after.reason, deployments=(*with_it, after))


def is_served(live: Run, deployment: DeploymentDecided) -> bool:
    """Whether some process has said that this epoch, or a later one, is in force."""
    statuses = live.control.of(ServingStatusReported)
    return any(one.status == "SERVING" and one.epoch >= deployment.epoch for one in statuses)
