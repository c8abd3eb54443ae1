"""Time travel: what is asked for, and the rows that answer it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from millrace.cli.data_rows import Rows, feature_names, known, rows_of
from millrace.cli.data_source import LakeSource, LogSource, Source
from millrace.contracts.errors import MillraceError, OffsetGoneError
from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.project import Project
from millrace.lineage.facts import Facts
from millrace.lineage.subject import LineageError, parse
from millrace.stores.lake import LakeError

FORMS = "a run id (run-…), a version (v3 or version 3), or a time (2026-03-01T12:00Z, or milliseconds since 1970)"
_MILLISECONDS = re.compile(r"[0-9]{11,}")


class TravelError(MillraceError):
    """The question is not understood, or the rows cannot be read any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows, and what is known about them. ``verified`` is None where there is nothing to compare with."""

    run: TrainingRunChanged | None
    time_ms: int | None
    source: str
    rows: Rows
    verified: bool | None
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The stable form of all but the rows."""
        run = self.run
        return {
            "run_id": None if run is None else run.run_id,
            "time_ms": self.time_ms,
            "source": self.source,
            "rows": self.rows.table.num_rows,
            "train_rows": None if run is None else run.train_rows,
            "holdout_rows": None if run is None else run.holdout_rows,
            "rows_sha256": self.rows.sha256,
            "verified": self.verified,
            "columns": self.rows.table.column_names,
            "notes": list(self.notes),
        }


def parse_time(text: str) -> int | None:
    """A time in milliseconds; without a zone it is UTC. None if it is none.

    >>> parse_time("2020-09-13T12:26:40Z") == parse_time("2020-09-13 12:26:40") == parse_time("1600000000000")
    True
    >>> parse_time("yesterday") is None
    True
    """
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def run_asked(facts: Facts, when: str) -> TrainingRunChanged | None:
    """The run that is asked for; None if it is a time. Raises ``TravelError`` if it is neither, or not known."""
    try:
        subject = parse(when)
    except LineageError:
        subject = None
    if subject is None or subject.kind not in {"run", "version"}:
        if parse_time(when) is None:
            raise TravelError(f"{when!r} is not understood; give {FORMS}")
        return None
    if subject.kind == "version" and subject.version not in facts.versions:
        raise TravelError(f"no version {subject.version} of model {facts.model}; there are {sorted(facts.versions)}")
    run_id = subject.name if subject.kind == "run" else facts.versions[subject.version][0].run_id
    run = facts.runs.get(run_id)
    if run is None:
        raise TravelError(f"no run {run_id} of model {facts.model} in training-runs; millrace data list shows all")
    if not run.ranges:
        raise TravelError(f"{run_id} has no rows: {run.error}")
    return run


async def travel(
    project: Project, facts: Facts, when: str, log: LogSource, lake: Callable[[], LakeSource], origin: str = "auto"
) -> Answer:
    """The rows as the run saw them, or as they were known at the time.

    Args:
        project: names the features.
        facts: the runs and versions.
        when: a run, a version or a time.
        log: the samples log.
        lake: opens the lake; called only if it is needed.
        origin: ``log`` or ``lake``, or ``auto``: the log, and the lake for what retention has removed from it.

    Raises:
        TravelError: neither has the rows, and why.
    """
    run = run_asked(facts, when)
    if origin == "lake":
        return await _from(project, run, when, lake())
    try:
        return await _from(project, run, when, log)
    except OffsetGoneError as gone:
        if origin == "log":
            raise
        try:
            return await _from(project, run, when, lake(), (f"read from the lake: {gone}",))
        except LakeError as error:
            raise TravelError(f"neither the log nor the lake has all the rows: {gone}; {error}") from error


async def _from(
    project: Project, run: TrainingRunChanged | None, when: str, source: Source, notes: Sequence[str] = ()
) -> Answer:
    if run is None:
        time_ms = parse_time(when)
        assert time_ms is not None, "run_asked refuses what is neither"
        rows = known(await source.until(time_ms), project.feature_set, project.feature_names)
        said = [*notes, *getattr(source, "notes", ())]
        if rows.left_out:
            said.append(f"{rows.left_out} events of other feature sets are left out")
        return Answer(None, time_ms, source.name, rows, None, tuple(said))
    records = await source.rows_of(run)
    names = feature_names(run.feature_set, project.feature_set, project.feature_names, records)
    rows = rows_of(run, records, names)
    said = [*notes, *getattr(source, "notes", ())]
    if run.feature_set != project.feature_set:
        said.append("the project's features have changed since the run: they are numbered, their names are not known")
    wrong = _wrong(run, rows)
    checked = None if not wrong and run.rows_sha256 is None else not wrong
    return Answer(run, None, source.name, rows, checked, (*said, *wrong))


def _wrong(run: TrainingRunChanged, rows: Rows) -> list[str]:
    """How the rows differ from those that the run began with."""
    wrong = []
    if rows.table.num_rows != run.train_rows + run.holdout_rows:
        wrong.append(
            f"there are {rows.table.num_rows} rows, the run had {run.train_rows} and {run.holdout_rows}: some were "
            "removed since, as by millrace erase"
        )
    if run.rows_sha256 not in {None, rows.sha256}:
        wrong.append(f"the rows hash to {rows.sha256}, the run's to {run.rows_sha256}: they are not the same rows")
    return wrong
