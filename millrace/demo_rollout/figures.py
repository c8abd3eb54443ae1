"""The figures of the demo, computed from what the topics tell. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from millrace.contracts.events import DeploymentDecided, ServingStatusReported
from millrace.demo.control import Control
from millrace.demo.figures import is_scored
from millrace.demo.ledger import Columns
from millrace.demo.measure import Run
from millrace.demo_rollout.ending import Ending, ending
from millrace.demo_rollout.models import BAD
from millrace.demo_rollout.report import Case, RolloutReport
from millrace.demo_rollout.story import LOAD_ROWS_PER_S, Told

GUARDRAILS = {  # words of the registry's reason, and the guardrail that says them
    "scoring takes": "latency",
    "error share": "errors",
    "missing scores": "missing",
    "worse than": "metric",
    "cannot load": "load",
    "no verdict": "horizon",
    "label": "no-labels",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the topics do not tell."""

    run_s: float
    start_s: float


def report(run: Run, told: Told, facts: Facts) -> RolloutReport:
    """All figures; the checks are added by ``checks.check``."""
    columns = run.ledger.columns()
    cases = {name: _case(run, columns, ending(run, told.requests[name])) for name in BAD if name in told.requests}
    if told.forged_epoch is not None:
        cases["tampered"] = _forged(run, columns, told.forged_epoch)
    good = ending(run, told.requests["sound"]) if "sound" in told.requests else None
    promoted = good is not None and good.promoted
    scored = is_scored(columns, run.control)
    return RolloutReport(
        cases=cases,
        rollback_ms=_rollback_ms(run.control, told),
        rollback_rate_rows_per_s=LOAD_ROWS_PER_S,
        promoted_version=good.version if good is not None and promoted else None,
        promoted_at_row=_row_of_epoch(run, good.deployments[-1].epoch) if good is not None and promoted else None,
        rows=len(columns),
        predictions=run.ledger.predictions,
        missing_predictions=int((scored & (columns.copies == 0)).sum()),
        duplicate_predictions=int(np.maximum(columns.copies - 1, 0).sum()) + run.ledger.early,
        run_s=round(facts.run_s, 1),
        start_s=round(facts.start_s, 1),
    )


def _case(run: Run, columns: Columns, found: Ending | None) -> Case:
    """A model that came in by the front door."""
    if found is None:
        return _never("nothing: it was still under way at the end of the demo")
    if not found.deployments:
        return Case(
            stopped=True, stopped_by=found.reason, guardrail="gate", touched_share=0.0, touched=0, events=0,
            version=found.version, deployed_at_row=None, stopped_at_row=None, deployment_ids=(),
        )  # fmt: skip
    began, ended = found.deployments[0], found.deployments[-1]
    first, last = _row_of_epoch(run, began.epoch), _row_of_epoch(run, ended.epoch)
    touched = int((columns.version == found.version).sum())
    events = max(0, (last or len(columns)) - (first or 0)) if first is not None else 0
    return Case(
        stopped=not found.promoted,
        stopped_by=found.reason,
        guardrail=_guardrail(found.reason),
        touched_share=round(touched / events, 5) if events else 0.0,
        touched=touched,
        events=events,
        version=found.version,
        deployed_at_row=first,
        stopped_at_row=last,
        deployment_ids=tuple(one.deployment_id for one in found.deployments),
    )


def _forged(run: Run, columns: Columns, epoch: int) -> Case:
    """The deployment that nobody decided: what serving said to it, and whether it answered a single event."""
    forged = next(one for one in run.control.of(DeploymentDecided) if one.epoch == epoch)
    version = forged.traffic[0].version
    refused = [one for one in run.control.of(ServingStatusReported) if one.epoch == epoch and one.status == "FAILED"]
    touched = int((columns.version == version).sum())
    return Case(
        stopped=bool(refused) and not touched,
        stopped_by=refused[0].reason or "" if refused else "nothing: no process refused it",
        guardrail="signature" if refused and "sign" in (refused[0].reason or "") else "load",
        touched_share=0.0 if not touched else 1.0,
        touched=touched,
        events=0,
        version=version,
        deployed_at_row=None,
        stopped_at_row=None,
        deployment_ids=(forged.deployment_id,),
    )


def _never(words: str) -> Case:
    return Case(
        stopped=False, stopped_by=words, guardrail="", touched_share=1.0, touched=0, events=0, version=None,
        deployed_at_row=None, stopped_at_row=None, deployment_ids=(),
    )  # fmt: skip


def _guardrail(reason: str) -> str:
    return next((name for word, name in GUARDRAILS.items() if word in reason), "rollout")


def _rollback_ms(control: Control, told: Told) -> float | None:
    """From the asking to the log time at which the last partition said that the version before is in force."""
    if told.rollback_id is None or told.rollback_at_ms is None:
        return None
    back = [one for one in control.of(DeploymentDecided) if one.decided_at_ms >= told.rollback_at_ms]
    if not back:
        return None
    epoch = min(one.epoch for one in back)
    first: dict[int, int] = {}
    for said in control.said:
        event = said.event
        if isinstance(event, ServingStatusReported) and event.status == "SERVING" and event.epoch >= epoch:
            first[event.partition] = min(said.log_ms, first.get(event.partition, said.log_ms))
    return float(max(first.values()) - told.rollback_at_ms) if first else None


def _row_of_epoch(run: Run, epoch: int) -> int | None:
    """The first row that was scored under this epoch, or a later one."""
    rows = [
        run.ledger.row_at(one.partition, one.from_offset)
        for one in run.control.of(ServingStatusReported)
        if one.status == "SERVING" and one.epoch >= epoch
    ]
    return min(rows, default=None)


WORDS: Mapping[str, str] = {
    "worse": "worse on what the hold-out did not show",
    "slower": "right, and slow",
    "erroring": "raises on what the hold-out did not show",
    "nan": "no number on what the hold-out did not show",
    "tampered": "a forged deployment of somebody's own file",
}
