"""The search: which family, hyperparameters and training window, fitted at last on all that the window holds.

``search`` is the way in. Without ``training.search`` it fits the project's pipeline once; with it, ``study`` draws
candidates (``space``, ``windows``), judges each by cross-validation in order of time (``cv``, ``fitting``), and the
best one is fitted again on the whole window. ``history`` says how the loss fell. ``river_*`` let a river model learn
row by row and write it as ONNX. ``baselines`` is what every model has to be compared with. Pure mathematics: the one
effect is the study's file, if the task names one.
"""

from collections.abc import Mapping
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs

from millrace.contracts.events import RunProgress
from services.trainer.train.search.baselines import baselines
from services.trainer.train.search.fitting import Build, fit_choice
from services.trainer.train.search.found import Found, Step, Trial
from services.trainer.train.search.history import history
from services.trainer.train.task import PIPELINE_ALONE, Choice, FitTask, Report

__all__ = ["Build", "Found", "Step", "Trial", "baselines", "search"]


def search(task: FitTask, builds: Mapping[str, Build], report: Report) -> Found:
    """Settle on a choice and fit it.

    ``builds`` has a function for each family, called with the seed and the hyperparameters by name; ``"pipeline"`` is
    the project's ``training.pipeline``. ``task.fixed`` is fitted as it is; else ``task.search`` is carried out; without
    either the pipeline is fitted on all training rows. A choice that was found gives the same estimator when it is
    fixed.

    Raises:
        FitError: the rows are too few for the search, no trial gave a model, or the choice does not fit the project.
        Exception: whatever the owner's pipeline raises in the last fit.
    """
    choice, trials = _choose(task, builds, report)
    words = f"fitting {choice.family} on {len(task.train.y)} rows, window {choice.window}"
    report(RunProgress(stage="fitting", step=0, steps=1, message=words, values={}))
    estimator = _fit_choice(task, builds, choice)
    return Found(choice, estimator, trials, history(task, builds, choice, estimator, report))


def _fit_choice(task: FitTask, builds: Mapping[str, Build], choice: Choice) -> Any:
    """The last fit, by joblib's workers where it has more than one."""
    if effective_n_jobs(None) > 1:
        own = {name: build for name, build in builds.items() if name == choice.family}
        return Parallel()([delayed(fit_choice)(task, own, choice)])[0]
    return fit_choice(task, builds, choice)


def _choose(task: FitTask, builds: Mapping[str, Build], report: Report) -> tuple[Choice, tuple[Trial, ...]]:
    if task.fixed is not None:
        return task.fixed, ()
    if task.search is None:
        return PIPELINE_ALONE, ()
    from services.trainer.train.search.study import study  # noqa: PLC0415  # Optuna: 0.3 s, and most runs search nothing

    return study(task, task.search, builds, report)
