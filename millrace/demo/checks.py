"""Did the loop close? What must hold at the end of a demo, each with what was seen. Pure."""

from millrace.demo.report import Check, Report


def check(report: Report) -> Report:
    """The report with its checks."""
    return report.model_copy(
        update={
            "checks": (
                _each_once(report), _no_duplicates(report), _nothing_skipped(report), _closed(report),
                _better(report, "frozen", "the frozen first model"),
                _better(report, "repeat_last", "repeating the last label"),
            )
        }
    )  # fmt: skip


def _each_once(report: Report) -> Check:
    expected = report.valid_events - report.events_before_first_model
    unique = report.predictions - report.duplicate_predictions
    return Check(
        name="each-event-once",
        passed=report.missing_predictions == 0 and unique == expected and expected > 0,
        message=f"{expected:,} valid events from the first deployment on, {unique:,} of them with a prediction, "
        f"{report.missing_predictions:,} missing",
    )


def _no_duplicates(report: Report) -> Check:
    return Check(
        name="no-duplicates",
        passed=report.duplicate_predictions == 0,
        message=f"{report.duplicate_predictions:,} of {report.predictions:,} predictions are duplicates or "
        "belong to no event",
    )


def _nothing_skipped(report: Report) -> Check:
    """I2 of the design: inputs = before the first model + predictions + dead letters; nothing is pending."""
    lost = {topic: count for topic, count in report.unaccounted_inputs.items() if count}
    before, dead = report.events_before_first_model, report.dead_events
    unique = report.predictions - report.duplicate_predictions
    found = (
        f"{report.rows:,} events = {before:,} before the first model + {unique:,} predictions + {dead:,} dead letters"
    )
    if lost:
        found += f"; offsets that led to no sample and no dead letter: {lost}"
    return Check(
        name="nothing-skipped", passed=not lost and report.rows == before + unique + dead > 0,
        message=found if report.rows == before + unique + dead else found.replace(" = ", " ≠ ", 1),
    )  # fmt: skip


def _closed(report: Report) -> Check:
    chains = [chain for chain in report.chain if chain.drift_id is not None and chain.from_offset is not None]
    message = f"{report.deployments} deployments, none of them caused by a drift event"
    if chains:
        one = chains[0]
        ids = (one.drift_id, one.request_id, one.run_id, *one.change_ids, *one.deployment_ids)
        message = f"{len(chains)} of {report.deployments} deployments were caused by a drift event, the first by " + (
            " → ".join(str(part) for part in ids) + f", serving from offset {one.from_offset}"
        )
    return Check(name="closed-by-drift", passed=bool(chains), message=message)


def _better(report: Report, baseline: str, words: str) -> Check:
    loop, other = report.accuracy.loop, getattr(report.accuracy, baseline)
    name = f"better-than-{baseline.replace('_', '-')}"
    if loop is None or other is None:
        return Check(name=name, passed=False, message=f"no row was answered by both the loop and {words}")
    return Check(name=name, passed=loop > other, message=f"the loop is right in {loop:.2%}, {words} in {other:.2%}")
