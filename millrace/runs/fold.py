"""Runs, put together from the events about them. Pure.

A run that failed may be begun again under its id, because the same inputs are the same run. What is shown is the newest
attempt, with how often it was begun.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from millrace.contracts.errors import MillraceError
from millrace.contracts.events import Event, ModelVersionChanged, RunProgress, TrainingRunChanged

SPARKS = "▁▂▃▄▅▆▇█"


class RunUnknownError(MillraceError):
    """No run, or more than one, goes by that name."""


class Told(NamedTuple):
    """How far the run was at a time."""

    at_ms: int
    progress: RunProgress


@dataclass(slots=True)
class Run:
    """One run: ``last`` is the newest event besides progress, ``changes`` what the registry said of it."""

    last: TrainingRunChanged
    began_ms: int
    attempts: int = 1
    progress: list[Told] = field(default_factory=list)
    changes: list[ModelVersionChanged] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.last.run_id

    @property
    def ended(self) -> bool:
        """Whether it has an outcome."""
        return self.last.status != "STARTED"

    @property
    def version(self) -> int | None:
        """The version that it became."""
        return next((one.version for one in self.changes if one.version is not None), None)

    @property
    def decision(self) -> str:
        """What the registry made of it, in a few words."""
        if not self.changes:
            return "waits for the registry" if self.last.status == "SUCCEEDED" else ""
        newest = self.changes[-1]
        where = f" in {newest.space}" if newest.status == "PROMOTED" else ""
        return newest.status if newest.version is None else f"version {newest.version} {newest.status}{where}"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, as the registry said last."""
        return self.changes[-1].reasons if self.changes else ()

    def series(self) -> dict[str, list[float]]:
        """What was measured while it worked, by name, in order."""
        found: dict[str, list[float]] = {}
        for told in self.progress:
            for name, value in told.progress.values.items():
                found.setdefault(name, []).append(value)
        return found

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            **self.last.model_dump(mode="json", exclude={"progress"}),
            "began_at_ms": self.began_ms,
            "attempts": self.attempts,
            "version": self.version,
            "decision": self.decision,
            "reasons": self.reasons,
            "history": [{"at_ms": told.at_ms, **told.progress.model_dump()} for told in self.progress],
        }


class Runs:
    """Every run of the log, filled event by event in the log's order."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._runs: dict[str, Run] = {}
        self._changes: dict[str, list[ModelVersionChanged]] = {}
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take in one more event; others than those about runs and versions are left out."""
        if isinstance(event, TrainingRunChanged):
            self._add_run(event)
        elif isinstance(event, ModelVersionChanged):
            self._changes.setdefault(event.run_id, []).append(event)
            if event.run_id in self._runs:
                self._runs[event.run_id].changes = self._changes[event.run_id]

    def _add_run(self, event: TrainingRunChanged) -> None:
        known = self._runs.get(event.run_id)
        if event.progress is not None and known is not None:
            known.progress.append(Told(event.changed_at_ms, event.progress))
            return
        if known is None or (known.ended and event.status == "STARTED"):
            began_ms = event.changed_at_ms - round(event.duration_s * 1000)
            attempts = 1 if known is None else known.attempts + 1
            known = Run(event, began_ms, attempts, [], self._changes.setdefault(event.run_id, []))
            self._runs[event.run_id] = known
        known.last = event.model_copy(update={"progress": None})
        if event.progress is not None:  # of a run whose beginning is not in what was read
            known.progress.append(Told(event.changed_at_ms, event.progress))

    def of(self, model: str | None = None) -> list[Run]:
        """The runs of a model, or of all, the newest first."""
        found = [run for run in self._runs.values() if model in {None, run.last.model}]
        return sorted(found, key=lambda run: run.began_ms, reverse=True)

    def find(self, name: str) -> Run:
        """The run of that id, or of the only id that begins so.

        Raises:
            RunUnknownError: there is none, or there are several.
        """
        if name in self._runs:
            return self._runs[name]
        found = [run_id for run_id in self._runs if run_id.startswith(name)]
        if len(found) == 1:
            return self._runs[found[0]]
        if found:
            raise RunUnknownError(f"{name!r} begins the ids of {len(found)} runs: {', '.join(sorted(found)[:5])}")
        raise RunUnknownError(f"there is no run {name!r} among {len(self._runs)}; millrace runs list names them")


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values as a row of small bars, the newest last; of more than fit, evenly chosen ones.

    >>> sparkline([3, 2, 1, 1])
    '█▅▁▁'
    """
    if len(values) > width:
        values = [values[place * (len(values) - 1) // (width - 1)] for place in range(width)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    size = (high - low) or 1.0
    return "".join(SPARKS[min(7, int(7 * (value - low) / size + 0.5))] for value in values)
