"""What one fit is given and what it gives back: plain data and arrays, so that it can cross into another process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.errors import MillraceError
from millrace.contracts.events import CheckResult, RunProgress
from millrace.contracts.gates_policy import Gates
from millrace.contracts.sections import Label
from millrace.contracts.training_policy import Search

Features = NDArray[np.float32]
Labels = NDArray[np.float64]
Report = Callable[[RunProgress], None]
"""Told how far a fit is. Called in the process that fits; never raises."""


class FitError(MillraceError):
    """The fit gave no model. The message says why; the same fit would fail again, so it is not tried again."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Features, shape (rows, features), NaN where missing, and their labels, oldest first.

    ``groups`` names each row's group where ``gates.fairness`` names a field; else it is empty.
    """

    x: Features
    y: Labels
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineSource:
    """The owner's ``pipeline.py`` as it was when the trainer started: what is hashed is what is run.

    ``file`` is for messages only; ``function`` is called with the seed and returns the scikit-learn estimator.
    """

    file: str
    function: str
    text: bytes


class Choice(NamedTuple):
    """What a search settled on: family, hyperparameters, and the kind of training window."""

    family: str
    params: Mapping[str, int | float | str | bool | None]
    window: str


PIPELINE_ALONE = Choice("pipeline", {}, "last")


@dataclass(frozen=True, slots=True)
class FitTask:
    """One fit. Everything that the model's bytes depend on is in here, and nothing else.

    ``champion`` is the ONNX file of the version in force, to be judged on the same rows; ``rows_min`` is how many rows
    the project asks for. ``timeout_s`` bounds the wall time. ``families`` has the source of each family that ``search``
    names; ``since_drift`` is the first training row after the drift that caused the run, ``gap_rows`` how many rows a
    label's delay covers. ``fixed`` skips the search, to repeat a run. ``imported`` is an ONNX or skops file, judged in
    place of a fitted one, ``sample`` are the records that came with it; ``train`` is then what the baselines learn
    from. ``study`` is a file in which a search that is cut short is found again. ``vetoes`` say, in words, what ingest
    found that forbids the run.
    """

    model: str
    feature_set: str
    feature_names: tuple[str, ...]
    label: Label
    gates: Gates
    seed: int
    pipeline: PipelineSource
    train: Rows
    holdout: Rows
    champion: bytes | None
    rows_min: int
    timeout_s: float
    search: Search | None = None
    families: Mapping[str, PipelineSource] = field(default_factory=dict)
    since_drift: int | None = None
    gap_rows: int = 0
    fixed: Choice | None = None
    imported: bytes | None = None
    skops_allowed: tuple[str, ...] = ()
    sample: Rows | None = None
    study: str | None = None
    vetoes: tuple[str, ...] = ()
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class FitResult:
    """The ONNX file with its metrics on the hold-out rows, the champion's on the same ones, and the named checks.

    ``baselines`` has the metrics of each baseline on the same rows. ``golden`` are the golden records and ``record``
    the run's record, as files (empty if there is none). ``answers`` is what the file says of the hold-out rows, as
    columns of ``millrace/contracts/profile.py``: ``value``, and ``score_<i>`` where it gives scores.
    ``usage`` is what the fit needed, see ``services/trainer/usage.py``; it differs each time, so it is not compared.
    """

    artifact: bytes
    metrics: Mapping[str, float]
    champion_metrics: Mapping[str, float]
    checks: tuple[CheckResult, ...]
    choice: Choice = PIPELINE_ALONE
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    golden: bytes = b""
    record: bytes = b""
    answers: bytes = b""
    usage: Mapping[str, float] = field(default_factory=dict, compare=False)
