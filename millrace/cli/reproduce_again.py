"""A run done again, and what to say of it: equal, or what differs."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.cli.data_source import LakeSource
from millrace.cli.reproduce_lake import repeat_from_lake
from millrace.contracts.errors import ArtifactError, MillraceError, OffsetGoneError
from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.project import Project
from millrace.stores.artifacts import ArtifactStore
from services.registry.commands import Log
from services.trainer.answer import Limits
from services.trainer.fitter import ChildFitter, Fitter
from services.trainer.opening import IMPORTED
from services.trainer.reproduce import repeat
from services.trainer.settings import Settings
from services.trainer.sources import Sources, policy_of
from services.trainer.train.task import FitError, FitResult

INPUTS = ("feature_set", "code_hash", "config_hash", "lock_hash")
MEANING = {
    "feature_set": "the features are others",
    "code_hash": "pipeline or training configuration is another",
    "config_hash": "model.yaml or the event's schema is another",
    "lock_hash": "the installed packages are others",
}


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came of it. ``how`` says where the rows were; ``differences`` are by name, the run's value and today's."""

    run_id: str
    equal: bool
    how: str
    artifact_sha256: str | None
    repeated_sha256: str | None
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    why: str | None = None

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.equal:
            yield f"equal: {self.run_id} gives the same model again, {self.artifact_sha256} ({self.how})"
            return
        yield f"not equal: {self.run_id} ({self.how})"
        if self.why is not None:
            yield f"  {self.why}"
        if self.repeated_sha256 is not None:
            yield f"  the run's model is {self.artifact_sha256}, now it is {self.repeated_sha256}"
        for name, (was, now) in self.differences.items():
            yield f"  {name} was {was}, is {now}{': ' if name in MEANING else ''}{MEANING.get(name, '')}"
        if not self.differences and self.repeated_sha256 is not None:
            yield "  all inputs are the same: the pipeline takes randomness from elsewhere than its seed"

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "run_id": self.run_id,
            "equal": self.equal,
            "how": self.how,
            "artifact_sha256": self.artifact_sha256,
            "repeated_sha256": self.repeated_sha256,
            "differences": {name: {"run": was, "now": now} for name, (was, now) in self.differences.items()},
            "why": self.why,
        }


def inputs_that_differ(project: Project, run: TrainingRunChanged) -> dict[str, tuple[Any, Any]]:
    """The hashes that are not what they were, by name. One that the run did not note is not compared."""
    policy = policy_of(project, Sources.read(project))
    both = {name: (getattr(run, name), getattr(policy, name)) for name in INPUTS}
    both["seed"] = (run.seed, policy.training.seed)
    return {name: pair for name, pair in both.items() if pair[0] is not None and pair[0] != pair[1]}


def ahead(project: Project, run: TrainingRunChanged) -> Iterator[str]:
    """What to know before the training: what may make another model of it."""
    if run.source == IMPORTED:
        return
    for name, (was, now) in inputs_that_differ(project, run).items():
        yield f"{name} was {was}, is {now}: {MEANING.get(name, 'it is another')}"


def child_fitter(project: Project, data: Path) -> ChildFitter:
    """A fit in a child process, with the limits that the trainer has."""
    settings = Settings(bootstrap_servers="", schema_registry_url="", project=project.folder, data=data)
    return ChildFitter(
        Limits(
            memory_mb=settings.training_memory_mb,
            threads=settings.training_threads,
            cpu_s=settings.training_cpu_s,
            processes=settings.training_processes,
        )
    )


async def repeated(
    project: Project,
    log: Log,
    store: ArtifactStore,
    run: TrainingRunChanged,
    fit: Fitter,
    lake: Callable[[], LakeSource] | None = None,
) -> Repeated:
    """Do it again and compare. An imported model was not made here: its file is looked up and compared by its digest.

    Raises:
        MillraceError: the run is of another model, or gave none; or the log does not answer.
    """
    if run.model != project.model:
        raise FitError(f"{run.run_id} is of {run.model!r}, the project at {project.folder} of {project.model!r}")
    if run.status != "SUCCEEDED":
        raise FitError(f"{run.run_id} is {run.status}, so it has no model that could come out again")
    if run.source == IMPORTED:
        return _looked_up(store, run)
    differences = inputs_that_differ(project, run)
    how = "rows from the log"
    try:
        try:
            result = await repeat(project, log.transport, log.codec, store, run, fit)
        except OffsetGoneError:
            if lake is None:
                raise
            source, how = lake(), "rows from the lake, retention has removed them from the log"
            result = await repeat_from_lake(project, log, store, run, fit, source)
    except (FitError, OffsetGoneError, ArtifactError) as error:
        return Repeated(run.run_id, False, how, run.artifact_sha256, None, differences, str(error))  # noqa: FBT003  # the second field
    return _judged(run, result, how, differences)


def _judged(run: TrainingRunChanged, result: FitResult, how: str, differences: dict[str, tuple[Any, Any]]) -> Repeated:
    digest = hashlib.sha256(result.artifact).hexdigest()
    equal = digest == run.artifact_sha256
    if not equal:
        names = sorted(set(run.metrics) & set(result.metrics))
        metrics = {f"metrics.{name}": (run.metrics[name], result.metrics[name]) for name in names}
        differences = {**differences, **{name: pair for name, pair in metrics.items() if pair[0] != pair[1]}}
    return Repeated(
        run_id=run.run_id,
        equal=equal,
        how=how,
        artifact_sha256=run.artifact_sha256,
        repeated_sha256=digest,
        differences={} if equal else differences,
    )


def _looked_up(store: ArtifactStore, run: TrainingRunChanged) -> Repeated:
    how = "an imported file, compared by its digest"
    try:
        found = None if run.artifact_sha256 is None else hashlib.sha256(store.get(run.artifact_sha256)).hexdigest()
    except MillraceError as error:
        return Repeated(run.run_id, False, how, run.artifact_sha256, None, {}, str(error))  # noqa: FBT003  # the second field
    return Repeated(run.run_id, found == run.artifact_sha256, how, run.artifact_sha256, found)
