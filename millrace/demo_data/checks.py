"""Can the data be trusted? What must hold at the end, each with what was seen. Pure."""

from collections.abc import Iterator

from millrace.demo.report import Check
from millrace.demo_data.report import DataReport

FALSE_REJECTIONS_MAX = 0.001
WORDS = {
    "unit_change": "unit change",
    "new_category": "new category",
    "missing_burst": "missing burst",
    "duplicated_hour": "duplicated hour",
    "schema_change": "schema change",
}


def check(report: DataReport) -> DataReport:
    """The report with its checks."""
    return report.model_copy(
        update={
            "checks": (
                *_caught(report), _refused(report), _judged(report), _trained(report), _false_rejections(report),
                _held_up(report), _nothing_lost(report),
            )
        }
    )  # fmt: skip


def _caught(report: DataReport) -> Iterator[Check]:
    for name, figures in report.faults.items():
        by = ", ".join(f"{count} {reason}" for reason, count in figures.caught_by.items())
        yield Check(
            name=f"caught-{name.replace('_', '-')}",
            passed=figures.caught == figures.injected > 0,
            message=f"{figures.caught} of {figures.injected} bad events were caught ({by or 'by nothing'}), "
            f"{figures.passed_before_first_caught} passed before the first of them",
        )


def _refused(report: DataReport) -> Check:
    refusal = report.incompatible_schema
    return Check(name="incompatible-schema-refused", passed=refusal.status is not None, message=refusal.message)


def _judged(report: DataReport) -> Check:
    skewed = [one for one in report.judgements if one.check == "schema-skew" and one.severity == "ALARM"]
    told = f"{len(report.judgements)} judgements, {sum(one.vetoes for one in report.judgements)} of them with a veto"
    message = skewed[0].message if skewed else "no alarm told that a field is not written any more"
    return Check(name="schema-skew-told", passed=bool(skewed), message=f"{told}; {message}")


def _trained(report: DataReport) -> Check:
    runs = [run for run in report.runs if run.status == "SUCCEEDED"]
    after = [run for run in runs if run.trigger == "OPERATOR" or (run.until_row or 0) >= report.faults_until_row - 1]
    tempted = max((run.bad_rows_in_ranges for run in after), default=0)
    return Check(
        name="nothing-bad-in-training",
        passed=report.bad_rows_in_training == 0 and tempted > 0,
        message=f"{report.bad_rows_in_training} bad rows in the {sum(run.rows for run in runs):,} rows of {len(runs)} "
        f"runs; {tempted} flagged ones lay in the ranges of a run after the faults"
        + ("" if after else "; no run after the faults succeeded"),
    )


def _false_rejections(report: DataReport) -> Check:
    rows = report.among_faults.rows + report.rest_of_stream.rows
    count = report.among_faults.refused + report.among_faults.flagged
    count += report.rest_of_stream.refused + report.rest_of_stream.flagged
    whole = report.whole_clean_stream
    return Check(
        name="few-false-rejections",
        passed=max(report.false_rejection_share, whole.share) < FALSE_REJECTIONS_MAX and rows > 0,
        message=f"{count} of {rows:,} good events were refused or flagged ({report.false_rejection_share:.3%}); held "
        f"to what the first version learned, {whole.refused + whole.flagged} of all {whole.rows:,} rows would be "
        f"({whole.share:.3%})",
    )


def _held_up(report: DataReport) -> Check:
    before, during = report.latency_before, report.latency_during
    return Check(
        name="good-rows-not-held-up",
        passed=report.good_rows_held_up == 0 and report.predictions > 0 and report.duplicate_predictions == 0,
        message=f"{report.good_rows_held_up} good events without exactly one prediction; from sending to prediction "
        f"p50 {before.p50_ms} ms before the faults, {during.p50_ms} ms among them",
    )


def _nothing_lost(report: DataReport) -> Check:
    return Check(
        name="nothing-lost",
        passed=not (report.lost_events or report.lost_labels or report.good_labels_refused),
        message=f"{report.events:,} events: {report.lost_events} ended nowhere or twice; {report.labels:,} labels: "
        f"{report.lost_labels} ended nowhere, {report.labels_of_refused_events} belonged to events that were caught, "
        f"{report.good_labels_refused} of good events were refused",
    )
