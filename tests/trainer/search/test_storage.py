"""A search that is cut short is found again."""

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.train.search import search
from tests.trainer.search.made import BUILDS, quiet, searching, signs


class Stopped(BaseException):
    """The process ends here."""


def counted(stop_at=None, deadly=None):
    """The families, with a list of what was built; stops at the so many-th, or at these parameters."""
    built = []

    def tree(seed, **params):
        built.append(params)
        if len(built) == stop_at or params == deadly:
            raise Stopped
        return BUILDS["tree"](seed, **params)

    return {"tree": tree}, built


def task_in(folder, **changes):
    """Six trials in a file."""
    changes = {"trials": 6, "pruning": False, "folds": 2, **changes}
    return signs(300, search=searching("tree", **changes), study=str(folder / "study" / "run.jsonl"))


def key(trial):
    """What a trial was about."""
    return (trial.family, tuple(sorted(trial.params.items())), trial.window)


def test_a_search_goes_on_where_it_was(tmp_path):
    """Stopped after two trials: these are not done again, and the budget is that of both parts."""

    def stop(progress):
        if progress.step == 2:
            raise Stopped

    task = task_in(tmp_path)
    with pytest.raises(Stopped):
        search(task, BUILDS, stop)
    told = []
    builds, built = counted()
    found = search(task, builds, told.append)
    assert [3, 4, 5, 6] == [one.step for one in told if one.stage == "searching"]
    assert 6 == len(found.trials) == len({key(trial) for trial in found.trials})
    # a look at the parameters, four trials of two folds, the last fit, and its history of three shares
    assert 1 + 4 * 2 + 1 + 3 == len(built)
    finished = search(task, builds, quiet)
    assert found.trials == finished.trials
    assert found.choice == finished.choice


def test_a_trial_that_was_cut_short_is_tried_once_more(tmp_path):
    """The same candidate again, counted once."""
    task = task_in(tmp_path)
    builds, built = counted(stop_at=4)
    with pytest.raises(Stopped):
        search(task, builds, quiet)
    found = search(task, BUILDS, quiet)
    assert 6 == len(found.trials)
    assert 1 == sum(trial.params == built[-1] and trial.state == "complete" for trial in found.trials)


def test_a_trial_that_is_cut_short_twice_has_failed(tmp_path):
    """It may be what ends the process: the search goes on with others."""
    task = task_in(tmp_path)
    builds, built = counted(stop_at=4)
    with pytest.raises(Stopped):
        search(task, builds, quiet)
    deadly, _ = counted(deadly=built[-1])
    with pytest.raises(Stopped):
        search(task, deadly, quiet)
    found = search(task, deadly, quiet)
    assert 6 == len(found.trials)
    assert ["cut short twice"] == [trial.reason[:15] for trial in found.trials if trial.state == "failed"]


def test_what_a_killed_process_leaves_is_put_right(tmp_path):
    """Half a line and a lock."""
    task = task_in(tmp_path)
    expected = search(task, BUILDS, quiet).trials
    path = tmp_path / "study" / "run.jsonl"
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    path.with_name("run.jsonl.lock").symlink_to(path)
    assert expected == search(task, BUILDS, quiet).trials


def test_a_file_that_cannot_be_read_is_set_aside(tmp_path):
    """The search begins anew and says so; the file is kept."""
    task = task_in(tmp_path, trials=2)
    search(task, BUILDS, quiet)
    path = tmp_path / "study" / "run.jsonl"
    damaged = path.read_bytes().replace(b'"op_code"', b'"op_co\xffde"', 1)
    path.write_bytes(damaged)
    told = []
    assert 2 == len(search(task, BUILDS, told.append).trials)
    assert "its file is now run.jsonl.damaged, the search begins anew" in told[0].message
    assert damaged == path.with_name("run.jsonl.damaged").read_bytes()


def test_the_trials_of_another_search_are_not_taken_over(tmp_path):
    """Other rows in the same file: all trials anew."""
    task = task_in(tmp_path, trials=2)
    search(task, BUILDS, quiet)
    other = replace(task, train=replace(task.train, x=np.nan_to_num(task.train.x)))
    told = []
    search(other, BUILDS, told.append)
    assert [1, 2] == [one.step for one in told if one.stage == "searching"]
