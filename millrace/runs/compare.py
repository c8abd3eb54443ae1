"""Runs side by side: one line for each thing that can differ, marked where it does. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from millrace.runs.fold import Run

Value = str | int | float | bool | None


class Line(NamedTuple):
    """One thing, with its value in each run; None where a run has none."""

    name: str
    values: tuple[Value, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs are not of one mind."""
        return len(set(self.values)) > 1


FIELDS = (
    "model", "status", "source", "trigger", "caused_by", "seed", "train_rows", "holdout_rows", "rows_sha256",
    "feature_set", "code_hash", "config_hash", "lock_hash", "table_version", "backend", "family", "window",
)  # fmt: skip
OUTCOME = ("champion_version", "artifact_sha256", "artifact_bytes", "duration_s", "error")


def compare(runs: Sequence[Run]) -> list[Line]:
    """The lines in the order of a run's life: what it had, what was chosen, how good it is, what became of it."""
    return [line for line in _lines(runs) if any(value is not None for value in line.values)]


def _lines(runs: Sequence[Run]) -> Iterator[Line]:
    for name in FIELDS:
        yield _line(name, runs, lambda run, name=name: getattr(run.last, name))
    for prefix in ("params", "metrics", "champion_metrics", "baselines"):
        names = dict.fromkeys(name for run in runs for name in sorted(getattr(run.last, prefix)))
        for name in names:
            yield _line(f"{prefix}.{name}", runs, lambda run, prefix=prefix, name=name: _of(run, prefix, name))
    checks = dict.fromkeys(check.name for run in runs for check in run.last.checks)
    for name in checks:
        yield _line(f"checks.{name}", runs, lambda run, name=name: _check(run, name))
    for name in OUTCOME:
        yield _line(name, runs, lambda run, name=name: getattr(run.last, name))
    yield _line("decision", runs, lambda run: run.decision)


def _line(name: str, runs: Sequence[Run], ask: Callable[..., Value]) -> Line:
    values = (ask(run) for run in runs)
    return Line(name, tuple(None if value == "" else value for value in values))


def _of(run: Run, prefix: str, name: str) -> Value:
    values: dict[str, Any] = getattr(run.last, prefix)
    return values.get(name)


def _check(run: Run, name: str) -> Value:
    """Passed or failed, with what was measured; checks of one name may be several, by slice or group."""
    found = [check for check in run.last.checks if check.name == name]
    if not found:
        return None
    failed = [check for check in found if not check.passed]
    return f"{'failed' if failed else 'passed'} {', '.join(f'{check.value:.4g}' for check in failed or found)}"
