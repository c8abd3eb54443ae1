"""The processes of a data folder: whether they run, are ready, keep up, and stay up."""

import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace.doctor.finding import Finding, well
from millrace.local.probe import failing_checks, http_get
from millrace.local.runfile import RunInfo, RunningService
from millrace.telemetry.scrape import series_of

RESTARTS_WARNING = 3  # one or two have happened to everybody
LAG_WARNING_RECORDS = 10_000  # seconds of work at the rates that one process keeps
MENDS: Mapping[str, str] = {
    "bus": "see whether the broker answers (below); the service comes back by itself when it does",
    "project": "millrace check PROJECT says what is wrong with the project's code",
    "model": "millrace history MODEL says why; millrace promote MODEL VERSION gives it one that can be loaded",
    "database": "see whether the registry's database answers; its content is rebuilt from the log",
}
"""What to do about a failing check, by its name."""


def check_processes(info: RunInfo, logs: Path) -> Iterator[Finding]:
    """Readiness, restarts and lag of each service that runs there. ``logs`` is where each writes what it says."""
    for name, service in info.services.items():
        yield from _service(name, service, logs / f"{name}.log")


def _service(name: str, service: RunningService, log: Path) -> Iterator[Finding]:
    try:
        status, body = http_get(f"{service.url}/readyz")
    except OSError as error:
        mend = f"it is started again by itself; if it does not come back, {log} says why"
        yield Finding(name, "trouble", f"does not answer at {service.url}: {error}", mend)
        return
    if status == http.client.OK:
        yield well(name, f"ready at {service.url}")
    else:
        for check, why in failing_checks(status, body).items():
            yield Finding(name, "trouble", f"not ready: {check}: {why}", MENDS.get(check, f"{log} says more"))
    if service.restarts >= RESTARTS_WARNING:
        yield Finding(name, "warning", f"was started again {service.restarts} times", f"{log} says why it ended")
    yield from _lag(name, service.url)


def _lag(name: str, url: str) -> Iterator[Finding]:
    """What it has not taken in, and what open transactions hide from it."""
    try:
        _, body = http_get(f"{url}/metrics")
        series = series_of(body.decode())
    except (OSError, ValueError) as error:
        yield Finding(name, "unknown", f"its metrics cannot be read: {error}")
        return
    for metric, level, words, mend in (
        ("millrace_lag_records", LAG_WARNING_RECORDS, "behind", "add a process of this service if it stays behind"),
        (
            "millrace_stable_lag_records", 1, "hidden by an open transaction",
            "a producer died in mid-transaction: the broker ends it after its timeout (a minute by default)",
        ),
    ):  # fmt: skip
        for labels, value in series.get(metric, []):
            if value >= level:
                where = f"{labels.get('topic')}/{labels.get('partition')}"
                yield Finding(name, "warning", f"{value:.0f} records of {where} are {words}", mend)
