"""What must hold at the end of the demo, each with what was seen. Pure."""

from millrace.demo.report import Check
from millrace.demo_rollout.models import BAD
from millrace.demo_rollout.report import RolloutReport

TOUCHED_MAX = 0.2  # twice the largest step of the canary: the shares of few events vary
ROLLBACK_MS_MAX = 1000.0


def check(report: RolloutReport) -> RolloutReport:
    """The report with its checks."""
    stopped = [_stopped(report, name) for name in (*BAD, "tampered")]
    return report.model_copy(update={"checks": (*stopped, _promoted(report), _rolled_back(report), _each_once(report))})


def _stopped(report: RolloutReport, name: str) -> Check:
    case = report.cases.get(name)
    if case is None:
        return Check(name=f"{name}-stopped", passed=False, message="the demo did not come to it")
    limit = 0.0 if name == "tampered" else TOUCHED_MAX
    message = f"{case.stopped_by}; it answered {case.touched:,} of {case.events:,} events ({case.touched_share:.2%})"
    return Check(name=f"{name}-stopped", passed=case.stopped and case.touched_share <= limit, message=message)


def _promoted(report: RolloutReport) -> Check:
    if report.promoted_version is None:
        return Check(name="sound-promoted", passed=False, message="the sound model did not become champion")
    message = f"version {report.promoted_version} went through its canary and serves since row {report.promoted_at_row}"
    return Check(name="sound-promoted", passed=True, message=message)


def _rolled_back(report: RolloutReport) -> Check:
    if report.rollback_ms is None:
        return Check(name="rollback-under-a-second", passed=False, message="no rollback took effect")
    message = f"{report.rollback_ms:.0f} ms from asking to serving, at {report.rollback_rate_rows_per_s:,.0f} rows/s"
    return Check(name="rollback-under-a-second", passed=report.rollback_ms < ROLLBACK_MS_MAX, message=message)


def _each_once(report: RolloutReport) -> Check:
    faults = report.missing_predictions + report.duplicate_predictions
    message = (
        f"{report.predictions:,} predictions, {report.missing_predictions} missing, "
        f"{report.duplicate_predictions} doubled, through all of it"
    )
    return Check(name="each-event-once", passed=not faults and report.predictions > 0, message=message)
