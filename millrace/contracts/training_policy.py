"""What model.yaml may say under ``training:``: when, on what and how a model is trained."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from millrace.contracts.sections import Section

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
WindowKind = Literal["last", "since_drift", "decay"]


class Range(Section):
    """Numbers from ``low`` to ``high``, both included: whole ones if both are, on a logarithmic scale if ``log``."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            msg = f"a range needs low < high, and low > 0 if log; got low {self.low}, high {self.high}, log {self.log}"
            raise ValueError(msg)
        return self


class Family(Section):
    """A family of estimators: ``build`` is file.py:function, called with the seed and a value per name in ``space``.

    A list in ``space`` is a choice. The function returns a scikit-learn estimator, or a river model, which then learns
    row by row.
    """

    name: Name
    build: str = Field(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$")
    space: Mapping[str, Range | tuple[int | float | str | bool | None, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _choices_are_some(self) -> "Family":
        empty = [name for name, values in self.space.items() if values == ()]
        if empty:
            msg = f"family {self.name} has nothing to choose from for {', '.join(empty)}; list values or leave it out"
            raise ValueError(msg)
        return self


class Search(Section):
    """What is tried before a model is fitted: families, their hyperparameters, and the training window.

    Each trial is judged by cross-validation in order of time: ``folds`` stretches of the training rows, each preceded
    by a gap of ``gap_rows`` (None: as many as the label's delay covers), fitted on what lies before the gap. Optuna
    draws the trials, at most ``trials`` of them and no new one after ``seconds``; ``pruning`` ends the hopeless ones
    early.
    ``windows``: the last rows, those since the drift that caused the run, or all of them with weights that halve every
    ``half_life_rows``.
    """

    families: tuple[Family, ...] = ()
    windows: tuple[WindowKind, ...] = Field(("last",), min_length=1)
    trials: int = Field(20, ge=1)
    seconds: float = Field(60.0, gt=0)
    folds: int = Field(3, ge=2)
    gap_rows: int | None = Field(None, ge=0)
    pruning: bool = True
    half_life_rows: int = Field(2000, ge=10)

    @model_validator(mode="after")
    def _families_differ(self) -> "Search":
        names = [family.name for family in self.families]
        if len(set(names)) < len(names):
            msg = f"families need different names, got {names}"
            raise ValueError(msg)
        return self


class Triggers(Section):
    """What causes a run besides drift and an operator's request.

    ``new_rows`` valid labelled rows since the last run; ``every_s`` seconds since it (log time); ``project_changed``:
    pipeline, features, training or gates are not those of the last run. ``debounce_s`` after the newest cause of these
    kinds nothing has happened (log time). Whatever the cause, at most ``runs_per_day`` begin within 24 hours; those of
    an operator are counted, and never held back.
    """

    new_rows: int | None = Field(None, ge=10)
    every_s: float | None = Field(None, gt=0)
    project_changed: bool = False
    debounce_s: float = Field(0.0, ge=0)
    runs_per_day: int = Field(48, ge=1)


class Training(Section):
    """When and on what a model is trained.

    Rows are labelled samples; the newest ``holdout_rows`` are never trained on, the candidate is judged on them.
    ``backend`` is where it is fitted: in a child process of the trainer, or on a Dask cluster.
    """

    pipeline: str = "pipeline.py:build"
    first_rows: int = Field(ge=50)
    window_rows: int = Field(ge=50)
    holdout_rows: int = Field(ge=20)
    snapshot_every_rows: int = Field(1000, ge=10)
    seed: int = 0
    timeout_s: float = Field(300.0, gt=0)
    search: Search | None = None
    triggers: Triggers = Triggers()
    backend: Literal["local", "dask"] = "local"
