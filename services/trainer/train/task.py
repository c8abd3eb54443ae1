"""What one fit is given and what it gives back: plain data and arrays, so that it can cross into another process."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.errors import MillraceError
from millrace.contracts.events import CheckResult
from millrace.contracts.sections import Gates, Label

Features = NDArray[np.float32]
Labels = NDArray[np.float64]


class FitError(MillraceError):
    """The fit gave no model. The message says why; the same fit would fail again, so it is not tried again."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Features, shape (rows, features), NaN where missing, and their labels, oldest first."""

    x: Features
    y: Labels


@dataclass(frozen=True, slots=True)
class PipelineSource:
    """The owner's ``pipeline.py`` as it was when the trainer started: what is hashed is what is run.

    ``file`` is for messages only; ``function`` is called with the seed and returns the scikit-learn estimator.
    """

    file: str
    function: str
    text: bytes


@dataclass(frozen=True, slots=True)
class FitTask:
    """One fit. Everything that the model's bytes depend on is in here, and nothing else.

    ``champion`` is the ONNX file of the version in force, to be judged on the same rows; ``rows_min`` is how many rows
    the project asks for. ``timeout_s`` bounds the wall time.
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


@dataclass(frozen=True, slots=True)
class FitResult:
    """The ONNX file with its metrics on the hold-out rows, the champion's on the same ones, and the named checks."""

    artifact: bytes
    metrics: Mapping[str, float]
    champion_metrics: Mapping[str, float]
    checks: tuple[CheckResult, ...]
