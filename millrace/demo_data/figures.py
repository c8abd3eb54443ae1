"""From fates to the report. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from millrace.contracts.errors import ContractError
from millrace.contracts.events import (
    DataQualityJudged,
    DeploymentDecided,
    ExpectationsLearned,
    ServingStatusReported,
)
from millrace.contracts.project import Project
from millrace.demo.control import Control
from millrace.demo_data.inject import Plan, Sending
from millrace.demo_data.ledger import Fate, clean_rows, fault_figures, latency, lost
from millrace.demo_data.read import Told
from millrace.demo_data.report import CleanRows, DataReport, Judgement, Refusal, Serving, TrainedOn
from millrace.expectations.learned import LearnedRules
from services.ingest.admit import check_expectations

REPEATED = "duplicate-label"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the demo did, besides what the topics tell.

    ``in_force`` numbers the first event that was judged by learned expectations. ``dead_labels`` are the event ids of
    labels that were refused, and why.
    """

    plan: Plan
    first_rows: int
    in_force: int
    refusal: Refusal
    retrain_request: str
    whole_clean_stream: CleanRows
    dead_labels: Sequence[tuple[str, str]]
    run_s: float
    start_s: float
    restarts: Mapping[str, int]


def report(told: Told, found: Sequence[Fate], runs: Sequence[TrainedOn], facts: Facts) -> DataReport:
    """All figures, without the checks."""
    plan = facts.plan
    judged = found[facts.in_force :]
    among = clean_rows(one for one in judged if one.sending.row < plan.stop)
    rest = clean_rows(one for one in judged if one.sending.row >= plan.stop)
    good = clean_rows(judged)
    faults = fault_figures(found, plan)
    first_stretch = min(rows.start for rows in plan.stretches.values())
    scored = [one for one in found if one.sending.fault is None and one.is_scored]
    admitted = {one.sending.event_id for one in found if one.sample is not None}
    good_labels = sum(event_id in admitted and reason != REPEATED for event_id, reason in facts.dead_labels)
    return DataReport(
        faults={str(name): figures for name, figures in faults.items()},
        false_rejection_share=good.share,
        bad_rows_in_training=sum(run.bad_rows for run in runs),
        good_rows_held_up=sum(one.is_held_up for one in scored),
        events=len(found),
        labels=told.labels,
        predictions=sum(map(len, told.predicted.values())),
        duplicate_predictions=sum(len(copies) - 1 for copies in told.predicted.values()),
        lost_events=lost(found),
        lost_labels=told.labels - told.labels_joined - len(told.labels_refused),
        labels_of_refused_events=len(facts.dead_labels) - good_labels,
        good_labels_refused=good_labels,
        among_faults=among,
        rest_of_stream=rest,
        whole_clean_stream=facts.whole_clean_stream,
        latency_before=latency(one for one in scored if one.sending.row < first_stretch),
        latency_during=latency(one for one in scored if plan.fault_at(one.sending.row)),
        latency_after=latency(one for one in scored if one.sending.row >= plan.stop),
        latency_by_fault={
            str(name): latency(one for one in scored if one.sending.row in rows)
            for name, rows in plan.stretches.items()
        },
        incompatible_schema=facts.refusal,
        judgements=_judgements(told.control, found),
        runs=tuple(runs),
        retrain_request=facts.retrain_request,
        serving=_serving(told.control, found),
        first_rows=facts.first_rows,
        in_force_from_row=found[facts.in_force].sending.row if facts.in_force < len(found) else 0,
        faults_until_row=plan.stop,
        run_s=round(facts.run_s, 1),
        start_s=round(facts.start_s, 1),
        restarts=facts.restarts,
    )


def first_learned(control: Control) -> ExpectationsLearned | None:
    """What the first version that was deployed had learned."""
    first = min(control.of(DeploymentDecided), key=lambda one: one.epoch, default=None)
    if first is None:
        return None
    digest = first.traffic[0].artifact_sha256
    return next((one for one in control.of(ExpectationsLearned) if one.artifact_sha256 == digest), None)


def hold_to(learned: ExpectationsLearned | None, project: Project, sendings: Iterable[Sending]) -> CleanRows:
    """Good rows held to the rules that look at one record, declared and learned, with the code that ingest uses."""
    rules = None if learned is None else LearnedRules.of(learned, project)
    rows = refused = flagged = 0
    by: Counter[str] = Counter()
    for one in sendings:
        rows += 1
        try:
            flags = check_expectations(project, one.event, learned=rules)
        except ContractError as error:
            refused += 1
            by[error.reason] += 1
        else:
            flagged += bool(flags)
            by.update(flags)
    return CleanRows(rows=rows, refused=refused, flagged=flagged, by=dict(by.most_common()))


def _judgements(control: Control, found: Sequence[Fate]) -> tuple[Judgement, ...]:
    places = sorted((one.source, one.sending.row) for one in found if one.source is not None)
    sources = [source for source, _ in places]

    def row_at(partition: int, offset: int) -> int:
        at = min(bisect_left(sources, (partition, offset)), len(places) - 1)
        return places[at][1]

    return tuple(
        Judgement(
            check=one.check, subject=one.subject, severity=one.severity, vetoes=one.vetoes, message=one.message,
            from_offset=one.from_offset, until_offset=one.until_offset,
            from_row=row_at(one.partition, one.from_event_offset),
            until_row=row_at(one.partition, max(one.from_event_offset, one.until_event_offset - 1)) + 1,
        )
        for one in control.of(DataQualityJudged)
    )  # fmt: skip


def _serving(control: Control, found: Collection[Fate]) -> tuple[Serving, ...]:
    samples = sorted((one.sample, one.sending.row) for one in found if one.sample is not None)
    places = [place for place, _ in samples]
    begun: dict[int, int] = {}
    for status in control.of(ServingStatusReported):
        if status.status == "SERVING" and status.version not in begun and samples:
            at = min(bisect_left(places, (status.partition, status.from_offset)), len(samples) - 1)
            begun[status.version] = samples[at][1]
    return tuple(Serving(version=version, from_row=row) for version, row in sorted(begun.items()))
