"""The search itself: Optuna draws candidates, cross-validation in order of time judges them, the best one is chosen.

Rules:

- The sampler is TPE, seeded by the task: the same task gives the same trials in the same order, as many as the time
  allows. How many that is depends on the machine; ``task.fixed`` repeats a run exactly.
- The first trials are not all left to chance: each family comes once, and each window with some family.
- With pruning, a trial that is worse after a fold than the median of the earlier ones after that fold is ended.
- Folds go to joblib's workers where it has more than one, as ``joblib.parallel_config(backend="dask")`` gives it. All
  of a trial are fitted then, and those past the end of a pruned one forgotten: the trials are the same.
- A trial that raises has failed, with its reason; the search goes on. A candidate that was tried is not tried again.
- With ``task.study`` every trial is on disk when it ends, and a search that is cut short goes on where it was: trials
  and seconds of both parts count together. What was cut short in the middle is tried once more, and has failed if it
  is cut short again: it may be what ended the process. One process at a time may search in one file.

References:
    T. Akiba et al.: Optuna, KDD 2019. J. Bergstra et al.: Algorithms for hyper-parameter optimization, NIPS 2011.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import optuna
from joblib import Parallel, delayed, effective_n_jobs
from optuna.trial import FrozenTrial, TrialState

from millrace.contracts.events import RunProgress
from millrace.contracts.training_policy import Range, Search
from services.trainer.train.search.cv import Fold, folds
from services.trainer.train.search.fitting import Build, fold_value, make, weight_parameter
from services.trainer.train.search.found import Trial, Value
from services.trainer.train.search.space import PIPELINE, Candidates, candidates, draw, first_draws
from services.trainer.train.search.storage import open_study, rescue
from services.trainer.train.task import Choice, FitError, FitTask, Report

REPEATS_MAX = 30  # draws in a row of what was tried already: the space is as good as used up
REPEATS_TPE = 3  # after so many of them the draw is left to chance: TPE may insist on what was best
REASON_MAX = 500  # characters of what an estimator raised
BEFORE_PRUNING = 4  # trials; the median of fewer says little


@dataclass(frozen=True, slots=True)
class _Search:
    """What every trial needs."""

    task: FitTask
    search: Search
    builds: Mapping[str, Build]
    families: Mapping[str, Candidates]
    folds: tuple[Fold, ...]
    pruner: optuna.pruners.BasePruner


def study(
    task: FitTask, search: Search, builds: Mapping[str, Build], report: Report
) -> tuple[Choice, tuple[Trial, ...]]:
    """Search, and return the best choice with all trials.

    Raises:
        FitError: the rows are too few for the folds, or every trial failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    gap = task.gap_rows if search.gap_rows is None else search.gap_rows
    names = [family.name for family in search.families] or [PIPELINE]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING) if search.pruning else None
    context = _Search(
        task=task,
        search=search,
        builds=builds,
        families=candidates(task, search, {name: _takes_weights(task, search, builds, name) for name in names}),
        folds=folds(len(task.train.y), search.folds, gap),
        pruner=pruner or optuna.pruners.NopPruner(),
    )
    found = open_study(task, search, report)
    rescue(found)
    earlier = len(found.get_trials(deepcopy=False))
    found.pruner = context.pruner
    seed = (task.seed + earlier) % 2**32  # draws of the part before the cut are not drawn once more
    samplers = (
        optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, min(10, search.trials // 3))),
        optuna.samplers.RandomSampler(seed=seed),
    )
    for draws in first_draws(context.families)[: search.trials]:
        found.enqueue_trial(draws, skip_if_exists=True)
    for number in _trials(found, context, samplers):
        _tell_progress(found, context, number, report)
    return _settle(found, context)


def _takes_weights(task: FitTask, search: Search, builds: Mapping[str, Build], name: str) -> bool:
    """Whether the family's estimators can be fitted with weights, asked of one with the first value of everything."""
    space = next((family.space for family in search.families if family.name == name), {})
    params: dict[str, Value] = {
        key: values.low if isinstance(values, Range) else values[0] for key, values in space.items()
    }
    try:
        return weight_parameter(make(task, builds, Choice(name, params, "last"))) is not None
    except Exception:  # noqa: BLE001  # the owner's function may raise anything; the family's trials will show it
        return False


def _trials(
    found: optuna.Study, context: _Search, samplers: tuple[optuna.samplers.BaseSampler, optuna.samplers.BaseSampler]
) -> Iterator[int]:
    """Carry out trials until the budget is used up, and yield the number of each that was carried out."""
    repeats = 0
    while repeats < REPEATS_MAX:
        done = _done(found)
        seconds = sum(_seconds(trial) for trial in done)
        if len(done) >= context.search.trials or seconds >= context.search.seconds:
            return
        found.sampler = samplers[repeats >= REPEATS_TPE]
        trial = found.ask()
        choice = draw(trial, context.families)
        if any(_choice(one) == choice for one in done):
            trial.set_user_attr("repeats", "an earlier trial")
            found.tell(trial, state=TrialState.FAIL)
            repeats += 1
            continue
        repeats = 0
        _carry_out(found, trial, choice, context)
        yield trial.number


def _carry_out(found: optuna.Study, trial: optuna.Trial, choice: Choice, context: _Search) -> None:
    """Judge one candidate fold by fold, and write down how it ended."""
    trial.set_user_attr("choice", choice._asdict())
    values: list[float] = []
    try:
        for at, value in enumerate(_fold_values(context, choice)):
            values.append(value)
            trial.set_user_attr("fold_values", values)
            trial.report(float(np.mean(values)), at)
            if at + 1 < len(context.folds) and trial.should_prune():
                reason = f"worse than the median of the earlier trials after {at + 1} of {len(context.folds)} folds"
                trial.set_user_attr("reason", reason)
                found.tell(trial, state=TrialState.PRUNED)
                return
    except Exception as error:  # noqa: BLE001  # the owner's estimator may raise anything; the search goes on
        trial.set_user_attr("reason", _in_words(error))
        found.tell(trial, state=TrialState.FAIL)
        return
    found.tell(trial, float(np.mean(values)))


def _fold_values(context: _Search, choice: Choice) -> Iterator[float]:
    """The metric on each fold, in order: one after the other, or all at once where joblib has more than one worker."""
    task, builds = (
        context.task,
        {choice.family: context.builds[choice.family]} if choice.family in context.builds else {},
    )
    if effective_n_jobs(None) > 1:
        yield from Parallel()(delayed(_one_fold)(task, builds, choice, fold) for fold in context.folds)
    else:
        yield from (_one_fold(task, builds, choice, fold) for fold in context.folds)


def _one_fold(task: FitTask, builds: Mapping[str, Build], choice: Choice, fold: Fold) -> float:
    return fold_value(make(task, builds, choice), task, fold, choice.window)


def _in_words(error: Exception) -> str:
    """One line, not without end: scikit-learn's messages may have many."""
    said = " ".join(str(error).split())
    said = said if isinstance(error, FitError) else f"{type(error).__name__}: {said}"
    return said if len(said) <= REASON_MAX else f"{said[:REASON_MAX]}…"


def _done(found: optuna.Study) -> list[FrozenTrial]:
    """Trials that count: finished ones, less repeated draws and those that are tried once more."""
    return [
        trial
        for trial in found.get_trials(deepcopy=False)
        if trial.state.is_finished() and not {"repeats", "tried_again"} & set(trial.user_attrs)
    ]


def _seconds(trial: FrozenTrial) -> float:
    """How long it took; 0 if it was cut short, since nobody knows."""
    if trial.duration is None or "cut_short" in trial.user_attrs:
        return 0.0
    return max(0.0, trial.duration.total_seconds())


def _choice(trial: FrozenTrial) -> Choice:
    return Choice(**trial.user_attrs["choice"])


def _as_trial(trial: FrozenTrial) -> Trial:
    choice = _choice(trial)
    complete = trial.state is TrialState.COMPLETE
    return Trial(
        number=trial.number,
        family=choice.family,
        params=choice.params,
        window=choice.window,
        value=trial.value if complete else None,
        fold_values=tuple(trial.user_attrs.get("fold_values", ())),
        state="complete" if complete else "pruned" if trial.state is TrialState.PRUNED else "failed",
        seconds=_seconds(trial),
        reason=trial.user_attrs.get("reason", ""),
    )


def _best(trials: list[Trial], context: _Search) -> Trial | None:
    """The best complete trial; of equals the earliest."""
    complete = [trial for trial in trials if trial.value is not None]
    return max(
        complete, key=lambda trial: (context.task.gates.gain(trial.value or 0.0, 0.0), -trial.number), default=None
    )


def _settle(found: optuna.Study, context: _Search) -> tuple[Choice, tuple[Trial, ...]]:
    trials = [_as_trial(trial) for trial in _done(found)]
    best = _best(trials, context)
    if best is None:
        reasons = Counter(f"{trial.family}: {trial.reason}" for trial in trials)
        said = "; ".join(f"{reason} ({count} times)" for reason, count in reasons.most_common())
        raise FitError(f"all {len(trials)} trials of the search failed: {said}")
    return Choice(best.family, best.params, best.window), tuple(trials)


def _tell_progress(found: optuna.Study, context: _Search, number: int, report: Report) -> None:
    trials = [_as_trial(trial) for trial in _done(found)]
    last = next(trial for trial in trials if trial.number == number)
    best = _best(trials, context)
    metric = context.task.gates.metric
    values = {} if best is None or best.value is None else {f"best_{metric}": best.value}
    if last.value is not None:
        values[metric] = last.value
    outcome = last.state if last.value is None else f"{metric} {last.value:.4g}"
    words = f"trial {number}, {last.family} on {last.window}: {outcome}" + (f", {last.reason}" if last.reason else "")
    report(RunProgress(stage="searching", step=len(trials), steps=context.search.trials, message=words, values=values))
