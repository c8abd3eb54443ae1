"""What the log file and the metrics say of decisions."""

from millrace.contracts.events import AuditRecorded, DeploymentDecided, Event, ModelVersionChanged
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import (
    CHAMPION_SINCE_TIMESTAMP_SECONDS,
    CHAMPION_TRAINED_TIMESTAMP_SECONDS,
    CHAMPION_VERSION,
    DEPLOYMENTS,
    VERSIONS_DECIDED,
)
from services.registry.core import ACTOR, State

log = get_logger(__name__)


def begin_counting(model: str) -> None:
    """Counters are there from the start, so that the first of a kind is an increase."""
    for status in ("REGISTERED", "REJECTED"):
        VERSIONS_DECIDED.labels(model, status)
    for kind in ("DEPLOYED", "PROMOTED", "ROLLED_BACK"):
        DEPLOYMENTS.labels(model, kind)


def tell(event: Event, context: bytes | None) -> None:
    """Log and count a decision; what follows from it is in the same transaction. ``context`` is that of its trace."""
    match event:
        case ModelVersionChanged(status="REGISTERED") | ModelVersionChanged(status="REJECTED", version=None):
            VERSIONS_DECIDED.labels(event.model, event.status).inc()
            log.info(
                "decided", run=event.run_id, status=event.status, version=event.version, reasons=event.reasons,
                **trace.for_log(context),
            )  # fmt: skip
        case DeploymentDecided():
            DEPLOYMENTS.labels(event.model, event.kind).inc()
            log.info(
                "deployment", epoch=event.epoch, kind=event.kind, rollout=event.rollout_id, reason=event.reason,
                **trace.for_log(context),
            )  # fmt: skip
        case AuditRecorded() if event.actor != ACTOR:
            log.info("answered", request=event.caused_by, outcome=event.outcome, reason=event.reason)


def measure(state: State) -> None:
    """The champion, as the log has it."""
    if state.champion is None:
        return
    CHAMPION_VERSION.labels(state.model).set(state.champion)
    CHAMPION_SINCE_TIMESTAMP_SECONDS.labels(state.model).set(state.champion_since_ms / 1000)
    version = state.versions.get(state.champion)
    if version is not None:
        CHAMPION_TRAINED_TIMESTAMP_SECONDS.labels(state.model).set(version.registered.changed_at_ms / 1000)
