"""The training window as part of a search."""

from dataclasses import replace

import numpy as np
import pytest

from millrace.contracts.training_policy import Search
from services.trainer.train.search.windows import offered, part
from services.trainer.train.task import FitError, Rows
from tests.trainer.search.made import line, signs

ALL = Search(windows=("last", "since_drift", "decay"), half_life_rows=300)


@pytest.mark.parametrize(
    ("window", "until", "expected"),
    [
        ("last", 1000, (0, 1000)),
        ("last:1000", 700, (0, 700)),
        ("last:250", 1000, (750, 1000)),
        ("last:250", 700, (450, 700)),
        ("since_drift:200", 1000, (800, 1000)),
        ("since_drift:200", 900, (800, 900)),
        ("since_drift:200", 849, (0, 849)),
        ("since_drift:200", 700, (0, 700)),
        ("since_drift:9", 1000, (991, 1000)),
        ("decay:100", 700, (0, 700)),
    ],
)
def test_a_window_is_told_by_its_name(window, until, expected):
    """Of 1,000 rows; a fold that ends too soon after the drift is fitted on all it has."""
    assert expected == part(window, 1000, until)[:2]


def test_decay_halves_every_so_many_rows():
    """The newest row weighs 1, one half-life before it a half."""
    weights = part("decay:10", 100, 41).weights
    assert [1.0, 0.5, 0.25, 0.0625] == [float(weights[40 - age]) for age in (0, 10, 20, 40)]
    assert part("last:10", 100, 41).weights is None


@pytest.mark.parametrize("window", ["first:10", "last:", "last:0", "since_drift", "decay:-1", "decay:1.5", ""])
def test_an_unknown_window_is_refused(window):
    """By its name, with those that are known."""
    with pytest.raises(FitError, match="is unknown; last, last:<rows>"):
        part(window, 100, 100)


@pytest.mark.parametrize(
    ("rows", "since", "weighted", "expected"),
    [
        (600, None, False, ("last:600", "last:300", "last:150")),
        (600, 500, True, ("last:600", "last:300", "last:150", "since_drift:100", "decay:300")),
        (600, 551, True, ("last:600", "last:300", "last:150", "decay:300")),
        (600, 600, False, ("last:600", "last:300", "last:150")),
        (120, 0, False, ("last:120", "last:60", "since_drift:120")),
    ],
)
def test_windows_are_offered_where_they_make_sense(rows, since, weighted, expected):
    """Short ones if they are long enough, since_drift with enough rows since, decay for what takes weights."""
    task = line(rows + 100, since_drift=since)
    assert expected == offered(task, ALL, weighted=weighted)


def test_a_window_without_one_of_the_classes_is_not_offered():
    """Its model could not answer with it."""
    task = signs(700)
    y = np.where(np.arange(600) < 400, task.train.y, 1.0)
    task = replace(task, train=Rows(task.train.x, y), since_drift=500)
    assert ("last:600", "last:300", "decay:300") == offered(task, ALL, weighted=True)


def test_there_is_always_a_window():
    """A search in windows that do not apply is one on all rows."""
    assert ("last:600",) == offered(line(700), Search(windows=("since_drift", "decay")), weighted=False)
