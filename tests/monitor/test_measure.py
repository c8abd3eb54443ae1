"""Prequential metrics: equal to scikit-learn's, due when they should be, and for each version on its own."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, root_mean_squared_error

from services.monitor.join import Joined
from services.monitor.measure import Measured, Prequential, Task

WINDOW = 500
ROWS = 1_730


def labelled(
    seed: int, classes: int, rows: int = ROWS, versions: Sequence[int] | npt.NDArray[Any] | None = None
) -> Joined:
    """Labelled predictions with random scores; ``classes`` of 0 is regression."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), rows) if classes else np.empty((rows, 0))
    answered = np.ones(rows, np.int64) if versions is None else np.asarray(versions, np.int64)
    return Joined(
        rows=np.arange(rows),
        offsets=np.arange(rows) * 2 + 1,
        event_ids=[f"e{row}" for row in range(rows)],
        times_ms=rng.permutation(rows) * 1000,
        epochs=np.ones(rows, np.int64),
        champions=answered,
        versions=answered,
        values=scores.argmax(1).astype(float) if classes else rng.normal(size=rows),
        labels=rng.integers(0, classes, rows).astype(float) if classes else rng.normal(size=rows),
        scores=scores,
        other_versions=np.zeros(rows, np.int64),
        other_values=np.full(rows, np.nan),
        other_scores=np.full_like(scores, np.nan),
    )


def part(joined: Joined, begin: int, end: int) -> Joined:
    """Some of the rows."""
    columns = {name: getattr(joined, name)[begin:end] for name in Joined.__slots__}
    return Joined(**columns)


def windows(measured: list[Measured]) -> list[slice]:
    """The rows that each measurement of one version is about."""
    return [slice(found.total_rows - found.window_rows, found.total_rows) for found in measured]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_classification_equals_scikit_learn(classes: int) -> None:
    """Accuracy and log loss of every window, with a score of exactly 0 for the truth among them."""
    joined = labelled(0, classes)
    joined.scores[5] = np.eye(classes)[(int(joined.labels[5]) + 1) % classes]

    measured = Prequential("classification", WINDOW).take(joined)

    assert len(measured) == ROWS // (WINDOW // 5)
    for found, rows in zip(measured, windows(measured), strict=True):
        truth = joined.labels[rows]
        expected = {
            "accuracy": accuracy_score(truth, joined.values[rows]),
            "log_loss": log_loss(truth, joined.scores[rows], labels=np.arange(classes)),
        }
        assert expected == pytest.approx(dict(found.metrics), rel=1e-12)


def test_regression_equals_scikit_learn() -> None:
    """Mean absolute and root mean squared error of every window."""
    joined = labelled(1, 0)

    measured = Prequential("regression", WINDOW).take(joined)

    for found, rows in zip(measured, windows(measured), strict=True):
        truth, value = joined.labels[rows], joined.values[rows]
        expected = {"mae": mean_absolute_error(truth, value), "rmse": root_mean_squared_error(truth, value)}
        assert expected == pytest.approx(dict(found.metrics), rel=1e-12)


def test_a_model_without_scores_has_no_log_loss() -> None:
    """Neither has one whose scores are missing; a metric that is no number is not published."""
    bare = labelled(2, 2)
    holed = part(bare, 0, ROWS)
    holed.scores[:] = np.nan

    assert {"accuracy"} == set(Prequential("classification", WINDOW).take(holed)[0].metrics)


def test_windows_grow_to_their_size_and_then_slide() -> None:
    """Due every fifth of a window; each says over how many rows, up to which offset and event time."""
    joined = labelled(3, 2)

    measured = Prequential("classification", WINDOW).take(joined)

    assert [100, 200, 300, 400, 500, 500, 500] == [found.window_rows for found in measured[:7]]
    assert [100, 200, 300, 400, 500, 600, 700] == [found.total_rows for found in measured[:7]]
    assert [joined.offsets[found.total_rows - 1] for found in measured] == [found.offset for found in measured]
    times = [joined.times_ms[rows].max() for rows in windows(measured)]
    assert times == [found.until_time_ms for found in measured]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rows_can_come_in_any_cuts(task: Task) -> None:
    """Two versions, cut at random: the same measurements, to the last bit."""
    versions = np.random.default_rng(4).integers(1, 3, ROWS)
    joined = labelled(4, 2 if task == "classification" else 0, versions=versions)
    whole, parts = Prequential(task, WINDOW), Prequential(task, WINDOW)
    cuts = [0, *sorted(np.random.default_rng(5).integers(0, ROWS, 50).tolist()), ROWS]

    measured = [found for begin, end in itertools.pairwise(cuts) for found in parts.take(part(joined, begin, end))]

    assert whole.take(joined) == measured


def test_versions_are_measured_apart() -> None:
    """A version's window holds its own rows only, whatever comes between them."""
    versions = np.arange(ROWS) % 2 + 1
    joined = labelled(6, 2, versions=versions)

    measured = Prequential("classification", WINDOW).take(joined)

    for version in (1, 2):
        own = np.flatnonzero(versions == version)
        first = next(found for found in measured if found.version == version)
        assert accuracy_score(joined.labels[own[:100]], joined.values[own[:100]]) == first.metrics["accuracy"]


def test_a_version_is_measured_on_all_that_it_scored() -> None:
    """Answered or not: with both versions scoring every event, each is measured as if it had answered all of them."""
    first, second = labelled(7, 2), labelled(8, 2)
    answers = np.random.default_rng(9).random(ROWS) < 0.2
    second = replace(second, labels=first.labels, times_ms=first.times_ms)
    both = replace(
        first,
        versions=np.where(answers, 2, 1),
        values=np.where(answers, second.values, first.values),
        scores=np.where(answers[:, None], second.scores, first.scores),
        other_versions=np.where(answers, 1, 2),
        other_values=np.where(answers, first.values, second.values),
        other_scores=np.where(answers[:, None], first.scores, second.scores),
    )

    measured = Prequential("classification", WINDOW).take(both)

    for version, alone in ((1, first), (2, replace(second, versions=np.full(ROWS, 2)))):
        own = [found for found in measured if found.version == version]
        assert Prequential("classification", WINDOW).take(alone) == own


def test_an_event_that_a_version_did_not_score_is_no_event_of_its() -> None:
    """A value that is no number counts for nobody, in either place."""
    joined = labelled(7, 2)
    holed = replace(joined, values=np.full(ROWS, np.nan), other_versions=np.full(ROWS, 2))

    assert not Prequential("classification", WINDOW).take(holed)
