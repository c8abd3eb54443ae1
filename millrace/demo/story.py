"""The loop's events in words, for people who watch it. Pure.

One line for each alarm with what came of it, one for the first model, one for what went wrong. Warnings of single
features are only counted: there may be dozens, and they ask for nothing.
"""

from collections.abc import Callable, Iterator

from millrace.contracts.events import (
    AlertRaised,
    DriftDetected,
    ModelVersionChanged,
    RetrainModel,
    TrainingRunChanged,
)
from millrace.demo.control import Chain, Control

RowOf = Callable[[int, int], int]
"""The row at a partition's samples offset."""


def tell(control: Control, row_of: RowOf) -> list[str]:
    """What happened, oldest first."""
    chains = control.chains()
    lines = [*_others(control, chains, row_of), *_alarms(control, chains, row_of)]
    return [text for _, text in sorted(lines, key=lambda line: line[0])]


def what_drifted(drift: DriftDetected) -> str:
    """The finding of a detector in a few words."""
    subject = drift.subject.removeprefix("feature:")
    verb = "rose" if drift.after > drift.before else "fell"
    if drift.detector == "persisting":
        verb = "stays up"
    return f"{subject} {verb} {drift.before:.2f} → {drift.after:.2f}"


def _alarms(control: Control, chains: list[Chain], row_of: RowOf) -> Iterator[tuple[int, str]]:
    logged: dict[str, int] = {}
    for said in control.said:
        if isinstance(said.event, DriftDetected):
            logged.setdefault(said.event.drift_id, said.log_ms)
    for drift in control.drifts:
        if drift.severity != "ALARM":
            continue
        text = f"row {row_of(drift.partition, drift.sample_offset):,}: {what_drifted(drift)}"
        requests = [one for one in control.of(RetrainModel) if one.caused_by == drift.drift_id]
        if requests:
            text += ", retrain requested" + _outcome(requests[-1], control, chains, row_of)
        yield logged[drift.drift_id], text


def _outcome(request: RetrainModel, control: Control, chains: list[Chain], row_of: RowOf) -> str:
    """How far a request has come."""
    chain = next((one for one in chains if one.request == request), None)
    if chain is not None:
        if chain.served is None:
            return f"; version {chain.version} is deployed"
        row = row_of(chain.served.partition, chain.served.from_offset)
        wait_s = chain.drift_to_serving_s
        took = "" if wait_s is None else f", {wait_s:.1f} s after the drift"
        if chain.reigned is chain.served:
            return f"; version {chain.version} serves since row {row:,}{took}"
        return f"; {chain.deployment.strategy} of version {chain.version} since row {row:,}{took}{_end(chain, row_of)}"
    runs = [run for run in control.of(TrainingRunChanged) if run.caused_by == request.request_id]
    if not runs:
        return ""
    decided = {change.run_id: change for change in control.of(ModelVersionChanged)}
    change = decided.get(runs[-1].run_id)
    if change is not None and change.status == "REJECTED":
        return f"; the candidate is rejected: {'; '.join(change.reasons)}"
    return {"STARTED": "; training", "SUCCEEDED": "; trained", "FAILED": f"; training failed: {runs[-1].error}"}[
        runs[-1].status
    ]


def _end(chain: Chain, row_of: RowOf) -> str:
    """What became of a rollout."""
    if chain.ended is None:
        return ""
    if chain.reigned is None:
        return "; promoted" if chain.is_champion else f"; {chain.ended.reason}"
    row = row_of(chain.reigned.partition, chain.reigned.from_offset)
    return f"; champion since row {row:,}"


def _others(control: Control, chains: list[Chain], row_of: RowOf) -> Iterator[tuple[int, str]]:
    """The first model, deployments that nobody's drift caused, failed first runs and alerts."""
    for chain in chains:
        if chain.drift is not None or chain.served is None or chain.served_log_ms is None:
            continue
        row = row_of(chain.served.partition, chain.served.from_offset)
        trained = "" if chain.run is None else f", trained on {chain.run.train_rows:,} rows"
        yield chain.served_log_ms, f"row {row:,}: version {chain.version} serves{trained}"
    for said in control.said:
        match said.event:
            case TrainingRunChanged(status="FAILED", trigger="FIRST_DATA"):
                yield said.log_ms, f"the first model could not be trained: {said.event.error}"
            case ModelVersionChanged(status="REJECTED") if not chains:
                yield said.log_ms, f"the first model is rejected: {'; '.join(said.event.reasons)}"
            case AlertRaised(reason=reason) if not reason.startswith("drift"):  # those are told as alarms
                yield said.log_ms, f"{said.event.severity.lower()} of {said.event.service}: {said.event.message}"
            case _:
                pass
