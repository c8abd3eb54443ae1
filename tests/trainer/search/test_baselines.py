"""What every model is compared with."""

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.train.search import baselines
from services.trainer.train.task import Rows
from tests.trainer.search.made import electricity, line, signs, task_with


def test_the_baselines_of_a_classifier():
    """On real data: the last label beats the majority, a linear model is there, each with all metrics."""
    found = baselines(electricity())
    assert ["majority", "last-label", "linear"] == list(found)
    assert {("accuracy", "log_loss", "rows")} == {tuple(one) for one in found.values()}
    assert found["last-label"]["accuracy"] > found["majority"]["accuracy"] + 0.05
    assert found["last-label"]["log_loss"] < found["majority"]["log_loss"]


@pytest.mark.parametrize(("metric", "name"), [("mae", "median"), ("rmse", "mean")])
def test_the_baselines_of_a_regression(metric, name):
    """The constant is the best one for the project's metric."""
    found = baselines(line(metric=metric))
    assert [name, "last-label", "linear"] == list(found)
    assert found["linear"]["mae"] < 0.1 < found[name]["mae"]


def test_the_last_label_is_that_of_the_row_before():
    """Also for the first row of the hold-out, whose row before is the newest training row."""
    y = np.arange(300) // 3 % 2  # three of each in turn: two of three rows repeat the label before
    found = baselines(task_with(np.ones((300, 1)), y, held=99))["last-label"]
    assert 99 == found["rows"]
    assert 2 / 3 == found["accuracy"]


def test_a_feature_without_a_value_is_no_obstacle():
    """It says nothing, and the baselines are the same as without it."""
    task = signs()
    empty = np.full((600, 1), np.nan, dtype=np.float32)
    wider = replace(
        task,
        feature_names=(*task.feature_names, "empty"),
        train=Rows(np.hstack([task.train.x, empty]), task.train.y),
        holdout=Rows(np.hstack([task.holdout.x, empty[:100]]), task.holdout.y),
    )
    assert baselines(task)["linear"]["accuracy"] == baselines(wider)["linear"]["accuracy"] > 0.8
