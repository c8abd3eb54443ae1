"""The figures of a run, computed from what the topics tell. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from millrace.contracts.events import DeploymentDecided, ModelVersionChanged, RetrainModel
from millrace.demo.baseline import repeat_last
from millrace.demo.control import Chain, Control
from millrace.demo.ledger import MISSING, Columns, Floats, Integers, Ledger
from millrace.demo.measure import Run
from millrace.demo.report import Accuracy, ChainIds, Percentiles, Report, Spread, VersionRow

WINDOW_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Curves:
    """The rows in order of event time, and who was right about each: 1, 0, or NaN where nothing can be said."""

    columns: Columns
    loop: Floats
    frozen: Floats
    repeat_last: Floats
    row_of_offset: Mapping[int, tuple[Integers, Integers]]

    def row(self, partition: int, offset: int) -> int:
        """The row that this offset of the samples lies at: of its event, or the next one of its partition."""
        offsets, rows = self.row_of_offset.get(partition, (np.empty(0, np.int64), np.empty(0, np.int64)))
        at = int(np.searchsorted(offsets, offset))
        return int(rows[at]) if at < len(rows) else len(self.columns)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the topics do not tell: how long it took, at which rate, and what had to be started again."""

    run_s: float
    start_s: float
    rate: float
    first_rows: int
    restarts: Mapping[str, int]


def curves(ledger: Ledger, frozen: Floats) -> Curves:
    """Who was right about which row; ``frozen`` is what the first model says, by row of the ledger."""
    columns = ledger.columns()
    order = np.argsort(columns.time_ms, kind="stable")
    columns, frozen = columns.rows(order), frozen[order]
    places: dict[int, tuple[Integers, Integers]] = {}
    for partition in np.unique(columns.partition):
        rows = np.flatnonzero(columns.partition == partition)
        rows = rows[np.argsort(columns.offset[rows])]
        places[int(partition)] = (columns.offset[rows], rows)
    return Curves(
        columns,
        right_of(columns.predicted, columns.label),
        right_of(frozen, columns.label),
        right_of(repeat_last(columns), columns.label),
        places,
    )


def rolling(right: Floats, window: int) -> Floats:
    """Mean over the last ``window`` rows that say something; NaN until there are that many.

    >>> rolling(np.array([1.0, 0.0, np.nan, 1.0]), 2).tolist()
    [nan, 0.5, 0.5, 0.5]
    """
    rows = np.flatnonzero(~np.isnan(right))
    means = np.full(len(right), MISSING)
    if len(rows) >= window:
        sums = np.concatenate([[0.0], np.cumsum(right[rows])])
        means[rows[window - 1 :]] = (sums[window:] - sums[:-window]) / window
        filled = np.maximum.accumulate(np.where(np.isnan(means), -1, np.arange(len(right))))
        means[filled >= 0] = means[filled[filled >= 0]]
    return means


def accuracy(found: Curves, first_rows: int) -> Accuracy:
    """Of loop, frozen model and repeating the last label, over the rows that all three have answered."""
    all_three = np.stack([found.loop, found.frozen, found.repeat_last])[:, first_rows:]
    answered = all_three[:, ~np.isnan(all_three).any(axis=0)]
    if not answered.shape[1]:
        return Accuracy(loop=None, frozen=None, repeat_last=None)
    loop, frozen, last = (round(float(share), 5) for share in answered.mean(axis=1))
    return Accuracy(loop=loop, frozen=frozen, repeat_last=last)


def report(run: Run, received_ms: Mapping[tuple[int, int], int], found: Curves, facts: Facts) -> Report:
    """All figures; the checks are added by ``checks.check``."""
    columns, control = found.columns, run.control
    scored = is_scored(columns, control)
    chains = control.chains()
    caused = [chain for chain in chains if chain.caused_by_drift]
    waits = [wait for chain in caused if (wait := chain.drift_to_serving_s) is not None]
    by_log = columns.predicted_log_ms - columns.source_time_ms
    by_receipt = np.array([
        received_ms[place] - source
        for place, source in zip(_places(columns), columns.source_time_ms.tolist(), strict=True)
        if place in received_ms
    ], dtype=np.float64)  # fmt: skip
    return Report(
        rows=len(run.inputs.get(run.events_topic, ())),
        valid_events=len(columns),
        events_before_first_model=int((~scored).sum()),
        predictions=run.ledger.predictions,
        duplicate_predictions=int(np.maximum(columns.copies - 1, 0).sum()) + run.ledger.early,
        missing_predictions=int((scored & (columns.copies == 0)).sum()),
        accuracy=accuracy(found, facts.first_rows),
        drift_events=len(control.drifts),
        alarms=sum(drift.severity == "ALARM" for drift in control.drifts),
        retrains=len({request.request_id for request in control.of(RetrainModel)}),
        deployments=len({deployment.epoch for deployment in control.of(DeploymentDecided)}),
        drift_caused_deployments=len(caused),
        event_to_prediction_ms=_percentiles(by_receipt),
        event_to_prediction_log_ms=_percentiles(by_log[columns.copies > 0].astype(np.float64)),
        drift_to_serving_s=Spread(
            p50=round(float(np.median(waits)), 3) if waits else None, max=max(waits) if waits else None
        ),
        run_s=round(facts.run_s, 1),
        start_s=round(facts.start_s, 1),
        rate_rows_per_s=facts.rate,
        first_rows=facts.first_rows,
        labels=run.ledger.label_samples,
        dead_letters=dict(run.ledger.dead),
        dead_events=run.ledger.dead_events,
        unaccounted_inputs={
            topic: len(places - run.ledger.inputs.get(topic, set())) for topic, places in run.inputs.items()
        },
        restarts=dict(facts.restarts),
        chain=tuple(_ids(chain, found) for chain in chains),
        versions=tuple(_versions(control, chains, found)),
    )


def right_of(said: Floats, label: Floats) -> Floats:
    """1 where the answer is the label, else 0; NaN where either is missing."""
    right: Floats = (said == label).astype(np.float64)
    right[np.isnan(said) | np.isnan(label)] = MISSING
    return right


def is_scored(columns: Columns, control: Control) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which events lie at or after the offset from which their partition is scored."""
    scored = np.zeros(len(columns), dtype=np.bool_)
    for partition, offset in control.first_offsets().items():
        scored |= (columns.partition == partition) & (columns.offset >= offset)
    return scored


def _places(columns: Columns) -> list[tuple[int, int]]:
    return list(zip(columns.partition.tolist(), columns.offset.tolist(), strict=True))


def _percentiles(values: Floats) -> Percentiles:
    if not len(values):
        return Percentiles(p50=None, p99=None)
    p50, p99 = (round(float(value), 1) for value in np.percentile(values, [50, 99]))
    return Percentiles(p50=p50, p99=p99)


def _ids(chain: Chain, found: Curves) -> ChainIds:
    changes = [change.change_id for change in (chain.registered, chain.entered) if change is not None]
    drift, served, reigned = chain.drift, chain.served, chain.reigned
    return ChainIds(
        version=chain.version,
        drift_id=drift and drift.drift_id,
        request_id=chain.request and chain.request.request_id,
        run_id=chain.run and chain.run.run_id,
        change_ids=tuple(changes),
        deployment_ids=tuple(step.deployment_id for step in chain.steps),
        strategy=chain.deployment.strategy,
        outcome=_outcome(chain),
        epoch=chain.deployment.epoch,
        from_offset=served and served.from_offset,
        drift_row=drift and found.row(drift.partition, drift.sample_offset),
        from_row=served and found.row(served.partition, served.from_offset),
        champion_row=reigned and found.row(reigned.partition, reigned.from_offset),
        drift_to_serving_s=chain.drift_to_serving_s,
        drift_to_champion_s=chain.drift_to_champion_s,
    )


def _outcome(chain: Chain) -> str:
    if chain.ended is None:
        return "under way"
    if not chain.is_champion:
        return "rolled back"
    return "deployed" if len(chain.steps) == 1 else "promoted"


def _versions(control: Control, chains: list[Chain], found: Curves) -> list[VersionRow]:
    """One row for each candidate: what was decided about it last, and why."""
    ways = {chain.version: chain for chain in chains}
    newest: dict[str, ModelVersionChanged] = {}
    for change in control.of(ModelVersionChanged):
        replaced = change.status == "RETIRED" and change.reasons and change.reasons[0].startswith("replaced")
        if not replaced:  # why it once served says more than that it no longer does
            newest[change.run_id] = change
    rows = []
    for change in newest.values():
        chain = ways.get(change.version) if change.version is not None else None
        served = chain.served if chain is not None else None
        rows.append(
            VersionRow(
                version=change.version,
                decision="rejected" if change.status == "REJECTED" else _outcome(chain) if chain else "waiting",
                run_id=change.run_id,
                reasons=change.reasons,
                metrics=change.metrics,
                from_row=served and found.row(served.partition, served.from_offset),
            )
        )
    return rows
