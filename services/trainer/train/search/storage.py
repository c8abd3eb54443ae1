"""Where a search keeps its trials: in memory, or in the one file that the task names.

The file is Optuna's journal, a line for each step, appended and synced. A process that is killed may leave half a line
or a lock behind; both are put right here, which is safe because one process at a time searches in a file.
"""

import hashlib
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from millrace.contracts.events import RunProgress
from millrace.contracts.training_policy import Search
from services.trainer.train.task import FitTask, Report


def open_study(task: FitTask, search: Search, report: Report) -> optuna.Study:
    """The task's study, with what an earlier process left in it.

    Its name is made of what is searched and on which rows, so that the trials of another search in the same file are
    not taken for this one's. A file that cannot be read is set aside, with a word in the run's progress.
    """
    direction = StudyDirection.MAXIMIZE if task.gates.higher_is_better else StudyDirection.MINIMIZE
    if task.study is None:
        return optuna.create_study(direction=direction)
    path = Path(task.study)
    _mend(path)
    try:
        return _load(path, _name(task, search), direction)
    except (ValueError, KeyError, TypeError) as error:  # what JSON and Optuna make of a damaged journal
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        words = f"the search so far cannot be read ({error}); its file is now {aside.name}, the search begins anew"
        report(RunProgress(stage="searching", step=0, steps=search.trials, message=words, values={}))
        return _load(path, _name(task, search), direction)


def rescue(study: optuna.Study) -> None:
    """Settle what an earlier process was doing when it ended: it is tried once more, or has failed if that was it."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        mark = _Marks(study, trial.number)
        mark("cut_short", value=True)
        if "choice" not in trial.user_attrs:  # nothing was begun
            mark("repeats", value=True)
        elif "again" in trial.user_attrs:
            mark("reason", value="cut short twice: it may need more memory or time than the fit has")
        else:
            mark("tried_again", value=True)
            study.enqueue_trial(trial.params, user_attrs={"again": True})
        study.tell(trial.number, state=TrialState.FAIL)


class _Marks:
    """Writes attributes of a trial that another process began."""

    def __init__(self, study: optuna.Study, number: int) -> None:
        self._storage = study._storage  # noqa: SLF001  # Optuna has no public way to mark a trial that is not one's own
        self._id = self._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)  # noqa: SLF001

    def __call__(self, name: str, *, value: bool | str) -> None:
        self._storage.set_trial_user_attr(self._id, name, value)


def _load(path: Path, name: str, direction: StudyDirection) -> optuna.Study:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)


def _mend(path: Path) -> None:
    """Remove a lock and half a line that a killed process left."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        path.write_bytes(content[:whole])


def _name(task: FitTask, search: Search) -> str:
    digest = hashlib.sha256(search.model_dump_json().encode())
    digest.update(f"{task.gates.metric} {task.seed} {task.since_drift} {task.gap_rows}".encode())
    for source in (task.pipeline, *(task.families[name] for name in sorted(task.families))):
        digest.update(source.function.encode() + source.text)
    digest.update(task.train.x.tobytes())
    digest.update(task.train.y.tobytes())
    return digest.hexdigest()
