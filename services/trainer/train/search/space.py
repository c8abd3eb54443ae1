"""The space that a search draws from: a family, its hyperparameters, and one of the windows that it may have."""

from collections.abc import Mapping
from typing import NamedTuple

import optuna

from millrace.contracts.training_policy import Family, Range, Search
from services.trainer.train.search.found import Value
from services.trainer.train.search.windows import offered
from services.trainer.train.task import Choice, FitTask

PIPELINE = "pipeline"
FAMILY = "family"


class Candidates(NamedTuple):
    """One family with the values its hyperparameters may take and the windows it may be fitted on."""

    space: Mapping[str, Range | tuple[Value, ...]]
    windows: tuple[str, ...]


def candidates(task: FitTask, search: Search, weighted: Mapping[str, bool]) -> dict[str, Candidates]:
    """Every family by name. ``weighted`` says which of them can be fitted with weights."""
    families = search.families or (Family(name=PIPELINE, build=f"{PIPELINE}.py:{task.pipeline.function}"),)
    return {
        family.name: Candidates(family.space, offered(task, search, weighted=weighted[family.name]))
        for family in families
    }


def draw(trial: optuna.Trial, families: Mapping[str, Candidates]) -> Choice:
    """What the trial is about. A parameter is called by its family's name and its own, so that families share none."""
    family = str(trial.suggest_categorical(FAMILY, list(families)))
    space, windows = families[family]
    params = {name: _suggest(trial, f"{family}.{name}", values) for name, values in space.items()}
    return Choice(family, params, str(trial.suggest_categorical(_window_of(family), list(windows))))


def first_draws(families: Mapping[str, Candidates]) -> list[dict[str, str]]:
    """The parts of the first trials that are not left to chance: each family once, and each window with some family."""
    names = list(families)
    rounds = max(len(names), *(len(one.windows) for one in families.values()))
    draws = []
    for at in range(rounds):
        family = names[at % len(names)]
        windows = families[family].windows
        draws.append({FAMILY: family, _window_of(family): windows[at % len(windows)]})
    return draws


def _window_of(family: str) -> str:
    return f"{family}:window"  # a colon: a hyperparameter may be called window


def _suggest(trial: optuna.Trial, name: str, values: Range | tuple[Value, ...]) -> Value:
    if not isinstance(values, Range):
        drawn: Value = trial.suggest_categorical(name, list(values))
        return drawn
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(name, values.low, values.high, log=values.log)
    return trial.suggest_float(name, float(values.low), float(values.high), log=values.log)
