"""What a lane reports besides its answers: which deployment it really serves, what was refused, what variants did."""

from collections.abc import Iterable

from millrace.bus.context import Context
from millrace.contracts.events import AlertRaised, DeploymentDecided, ServingStatusReported, VariantScored
from millrace.telemetry.metrics import VARIANT_EVENTS, VARIANT_SCORING_SECONDS


def status(
    context: Context, number: int, deployment: DeploymentDecided, version: int, from_offset: int,
    refused: str | None = None,
) -> ServingStatusReported:  # fmt: skip
    """That the deployment is in force from here on; or, with a reason, that this version of it was refused."""
    return ServingStatusReported(
        model=deployment.model,
        process=context.process,
        partition=number,
        epoch=deployment.epoch,
        version=version,
        status="SERVING" if refused is None else "FAILED",
        from_offset=from_offset,
        reason=refused,
        reported_at_ms=context.clock.now_ms(),
    )


def alert(context: Context, number: int, deployment: DeploymentDecided, version: int, refused: str) -> AlertRaised:
    """That this version was refused, for whoever is on call."""
    return AlertRaised(
        alert_id=f"alert/model-refused/{deployment.model}/{deployment.epoch}/{number}",
        service="serving",
        severity="CRITICAL",
        reason="model-refused",
        subject=f"{deployment.model} version {version}",
        message=f"{refused}; the last good version goes on",
        raised_at_ms=context.clock.now_ms(),
    )


def measure(model: str, counts: Iterable[VariantScored]) -> None:
    """Add what the variants did in a micro-batch to the metrics."""
    for count in counts:
        rows = {
            "answered": count.answered_rows, "scored": count.scored_rows, "error": count.error_rows,
            "missing": count.missing_rows,
        }  # fmt: skip
        for outcome, number in rows.items():
            VARIANT_EVENTS.labels(model, count.variant, outcome).inc(number)
        VARIANT_SCORING_SECONDS.labels(model, count.variant).inc(count.scoring_us / 1e6)
