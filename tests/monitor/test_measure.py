"""Prequential metrics: equal to scikit-learn's, due when they should be, and for each version on its own."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_absolute_percentage_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from services.monitor.join import Joined
from services.monitor.measure import PARTS_KEPT, Measured, Prequential, Task
from services.monitor.metrics import Estimate, classification, regression
from services.monitor.slices import Slicer
from services.trainer.train.checks.calibration import expected_error
from services.trainer.train.score import Scores
from tests.monitor.rollouts import scored

COLUMNS = [name for name in Joined.__slots__ if name != "corrections"]
WINDOW = 500
ROWS = 1_730


def labelled(
    seed: int,
    classes: int,
    rows: int = ROWS,
    versions: Sequence[int] | npt.NDArray[Any] | None = None,
    codes: npt.NDArray[Any] | None = None,
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
        numbers=np.arange(rows),
        codes=np.empty((rows, 0), np.int32) if codes is None else codes,
    )


def part(joined: Joined, begin: int, end: int) -> Joined:
    """Some of the rows."""
    columns = {name: getattr(joined, name)[begin:end] for name in COLUMNS}
    return Joined(**columns)


def corrected(joined: Joined, corrections: Sequence[tuple[int, int, float]]) -> Joined:
    """The same with corrections: after which row, of which row, to what."""
    after, places, labels = (list(column) for column in zip(*corrections, strict=True))
    whose = Joined(**{name: getattr(joined, name)[places] for name in COLUMNS if name != "event_ids"}, event_ids=[])
    return replace(
        joined,
        rows=joined.rows * 2,
        corrections=replace(whose, rows=np.array(after) * 2 + 1, labels=np.array(labels, float)),
    )


def windows(measured: list[Measured]) -> list[slice]:
    """The rows that each measurement of one version is about."""
    return [slice(found.total_rows - found.window_rows, found.total_rows) for found in measured]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_classification_equals_scikit_learn(classes: int) -> None:
    """Every metric of every window, with a score of exactly 0 for the truth among them, and ties."""
    joined = labelled(0, classes)
    joined.scores[5] = np.eye(classes)[(int(joined.labels[5]) + 1) % classes]
    joined.scores[10:60] = 1 / classes

    measured = Prequential("classification", WINDOW, classes).take(joined)

    assert len(measured) == ROWS // (WINDOW // 5)
    for found, rows in zip(measured, windows(measured), strict=True):
        truth, value, scores = joined.labels[rows], joined.values[rows], joined.scores[rows]
        expected = {
            "accuracy": accuracy_score(truth, value),
            "log_loss": log_loss(truth, scores, labels=np.arange(classes)),
            "f1": f1_score(truth, value, average="binary" if classes == 2 else "macro"),
            "kappa": cohen_kappa_score(truth, value),
            "auc": roc_auc_score(truth, scores[:, 1] if classes == 2 else scores, multi_class="ovr"),
            "ece": expected_error(Scores(value, scores), truth, min(10, found.window_rows // 50)),
        }
        assert expected == pytest.approx(dict(found.metrics), rel=1e-12)
        assert set(expected) == set(found.low) == set(found.high)
        assert all(found.low[name] <= value <= found.high[name] for name, value in found.metrics.items())


def test_regression_equals_scikit_learn() -> None:
    """Every metric of every window."""
    joined = labelled(1, 0)

    measured = Prequential("regression", WINDOW).take(joined)

    for found, rows in zip(measured, windows(measured), strict=True):
        truth, value = joined.labels[rows], joined.values[rows]
        expected = {
            "mae": mean_absolute_error(truth, value),
            "rmse": root_mean_squared_error(truth, value),
            "mape": mean_absolute_percentage_error(truth, value),
            "r2": r2_score(truth, value),
        }
        assert expected == pytest.approx(dict(found.metrics), rel=1e-12)
        assert set(expected) == set(found.low) == set(found.high)


def test_a_model_without_scores_has_no_log_loss() -> None:
    """Neither has one whose scores are missing; a metric that is no number is not published."""
    holed = labelled(2, 2)
    holed.scores[100:150] = np.nan
    of_answers = {"accuracy", "f1", "kappa"}

    measured = Prequential("classification", WINDOW, 2).take(holed)

    assert [6, *[3] * 5, 6] == [len(found.metrics) for found in measured[:7]], "windows with rows 100 to 149 have three"
    assert of_answers == set(measured[1].metrics) == set(measured[1].low)


def test_a_metric_that_the_rows_do_not_define_is_left_out() -> None:
    """No AUC of one class, and no F1 of a class that neither occurs nor is answered; no R2 of equal labels."""
    one = labelled(2, 2)
    one.labels[:] = one.values[:] = 0
    same = labelled(2, 0)
    same.labels[:] = 3.0

    assert {"accuracy", "log_loss", "ece"} == set(Prequential("classification", WINDOW, 2).take(one)[0].metrics)
    assert {"mae", "rmse", "mape"} == set(Prequential("regression", WINDOW).take(same)[0].metrics)


def test_windows_grow_to_their_size_and_then_slide() -> None:
    """Due every fifth of a window; each says over how many rows, up to which offset and event time."""
    joined = labelled(3, 2)

    measured = Prequential("classification", WINDOW).take(joined)

    assert [100, 200, 300, 400, 500, 500, 500] == [found.window_rows for found in measured[:7]]
    assert [100, 200, 300, 400, 500, 600, 700] == [found.total_rows for found in measured[:7]]
    assert [joined.offsets[found.total_rows - 1] for found in measured] == [found.offset for found in measured]
    times = [joined.times_ms[rows].max() for rows in windows(measured)]
    assert times == [found.until_time_ms for found in measured]
    assert [joined.times_ms[rows].min() for rows in windows(measured)] == [found.from_time_ms for found in measured]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rows_can_come_in_any_cuts(task: Task) -> None:
    """Two versions and slices, cut at random and saved there: the same measurements, to the last bit."""
    rng = np.random.default_rng(4)
    slicer = Slicer()
    slicer.restore({"names": ["a", "b"]})
    joined = labelled(
        4,
        3 if task == "classification" else 0,
        versions=rng.integers(1, 3, ROWS),
        codes=rng.integers(-1, 2, (ROWS, 1)).astype(np.int32),
    )
    whole, parts = Prequential(task, 100, 3, slicer), Prequential(task, 100, 3, slicer)
    cuts = [0, *sorted(np.random.default_rng(5).integers(0, ROWS, 50).tolist()), ROWS]

    measured: list[Measured] = []
    for begin, end in itertools.pairwise(cuts):
        measured += parts.take(part(joined, begin, end))
        saved = json.loads(json.dumps(parts.saved()))
        parts = Prequential(task, 100, 3, slicer)
        parts.restore(saved)

    assert whole.take(joined) == measured
    assert {"", "a", "b"} == {found.slice for found in measured}


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


def test_a_part_is_measured_once_a_window_of_its_own() -> None:
    """On its own rows only, under its name; and how many windows are remembered has a limit."""
    codes = (np.arange(ROWS) % 4 // 3).astype(np.int32)[:, None]
    slicer = Slicer()
    slicer.restore({"names": ["common", "rare"]})
    joined = labelled(11, 2, codes=codes)
    prequential = Prequential("classification", 100, 2, slicer)

    measured = prequential.take(joined)

    rare = [found for found in measured if found.slice == "rare"]
    own = np.flatnonzero(codes[:, 0] == 1)
    assert len(own) // 100 == len(rare)
    assert {100} == {found.window_rows for found in rare}
    for number, found in enumerate(rare):
        rows = own[number * 100 : (number + 1) * 100]
        assert accuracy_score(joined.labels[rows], joined.values[rows]) == found.metrics["accuracy"]
        assert joined.offsets[rows[-1]] == found.offset
    for code in range(2 * PARTS_KEPT):
        prequential.take(labelled(1, 2, 1, codes=np.array([[code]], np.int32)))
    assert PARTS_KEPT + 1 == len(prequential.saved()["windows"])


def test_a_variant_is_measured_on_what_it_scored_in_that_role(make: Any) -> None:
    """A version that was tried out and then promoted has one window of all rows, and one for each role."""
    joined = replace(labelled(12, 2, 400, versions=np.full(400, 2)), epochs=np.repeat([4, 5], 200))
    roles = [
        make.rows([make.line("x")], epoch=epoch, rollout_id="r", variants=(scored(name, 2, answered=True),))
        for epoch, name in ((4, "candidate"), (5, "champion"))
    ]
    prequential = Prequential("classification", 100, 2)
    for rows in roles:
        prequential.take(part(joined, 0, 0), rows)

    measured = prequential.take(joined)

    assert ["candidate"] * 2 + ["champion"] * 2 == [found.variant for found in measured if found.variant]
    assert [199, 399, 599, 799] == [found.offset for found in measured if found.variant]


def test_a_correction_takes_the_place_of_the_label_in_windows_that_hold_it() -> None:
    """From its place on: before it nothing changes, and once the row has left, the window is as if it never came."""
    joined = labelled(13, 2)
    row, after = 700, 950
    other = 1.0 - joined.labels[row]

    plain = Prequential("classification", WINDOW, 2).take(joined)
    measured = Prequential("classification", WINDOW, 2).take(corrected(joined, [(after, row, other), (1600, 3, 1.0)]))

    joined.labels[row] = other
    truth = Prequential("classification", WINDOW, 2).take(joined)
    for found, before, later, rows in zip(measured, plain, truth, windows(measured), strict=True):
        holds = rows.start <= row < rows.stop and rows.stop > after
        assert holds == found.corrected_rows
        assert replace(found, corrected_rows=0) == (later if holds else before)
    assert 3 <= sum(found.corrected_rows for found in measured) < len(measured)


def test_corrections_can_come_in_any_cuts() -> None:
    """Many of them, among the labels or in frames of their own: the same measurements, to the last bit."""
    joined = labelled(14, 2, codes=np.zeros((ROWS, 1), np.int32))
    slicer = Slicer()
    slicer.restore({"names": ["all"]})
    rng = np.random.default_rng(15)
    after = np.sort(rng.integers(500, ROWS - 1, 200))
    fixes = [(int(at), int(at - rng.integers(0, 499)), float(rng.integers(0, 2))) for at in after]
    parts = Prequential("classification", 100, 2, slicer)
    cuts = [0, *sorted({at + 1 for at, _, _ in fixes}), ROWS]

    measured: list[Measured] = []
    for begin, end in itertools.pairwise(cuts):
        measured += parts.take(part(joined, begin, end))
        own = [fix for fix in fixes if fix[0] + 1 == end]
        if own:
            measured += parts.take(replace(part(joined, 0, 0), corrections=corrected(joined, own).corrections))

    assert Prequential("classification", 100, 2, slicer).take(corrected(joined, fixes)) == measured
    assert any(found.corrected_rows for found in measured if found.slice)


TRUE_ROWS = 200_000


def coverage(found: dict[str, Estimate], true: dict[str, Estimate]) -> dict[str, float]:
    """How often the interval holds what is true of the population."""
    return {
        name: float(np.mean((each.low <= true[name].value[0]) & (true[name].value[0] <= each.high)))
        for name, each in found.items()
    }


def apart(windows: int, rows: int) -> npt.NDArray[np.int64]:
    """Windows that share no row."""
    return np.arange(windows * rows).reshape(windows, rows)


@pytest.mark.parametrize("classes", [2, 4])
def test_intervals_of_classification_hold_the_truth_19_times_of_20(classes: int) -> None:
    """2,000 windows of 500 rows from one population.

    The calibration error, whose value is too high in a sample, is tried with a model that is wrong in each bin.
    """
    rng = np.random.default_rng(16)

    def drawn(windows: int, rows: int) -> dict[str, Estimate]:
        true = rng.dirichlet(np.full(classes, 0.7), (windows, rows))
        labels = (rng.random((windows, rows, 1)) > np.cumsum(true, 2)).sum(2).clip(0, classes - 1).astype(float)
        said = true**3 / (true**3).sum(2, keepdims=True)
        each = said.reshape(windows * rows, classes)
        values = each.argmax(1).astype(float)
        return classification(labels.ravel(), values, each, apart(windows, rows), classes, 5)

    covered = coverage(drawn(2_000, 500), drawn(1, TRUE_ROWS))

    assert {name: pytest.approx(0.95, abs=0.035) for name in covered} == covered


def test_intervals_of_regression_hold_the_truth_19_times_of_20() -> None:
    """2,000 windows of 500 rows from one population, with labels far from 0 for MAPE."""
    rng = np.random.default_rng(17)

    def drawn(windows: int, rows: int) -> dict[str, Estimate]:
        labels = rng.normal(10, 2, windows * rows)
        return regression(labels, labels + rng.normal(0, 1, windows * rows), apart(windows, rows))

    covered = coverage(drawn(2_000, 500), drawn(1, TRUE_ROWS))

    assert {name: pytest.approx(0.95, abs=0.02) for name in covered} == covered
