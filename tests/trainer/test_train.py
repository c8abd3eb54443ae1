"""The mathematics of a run: fit, export, judge."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from millrace.contracts.gates_policy import Gates
from services.trainer.child import run_task
from services.trainer.train.judge import constant, differing, measure
from services.trainer.train.score import Scores, score
from services.trainer.train.task import FitError, Rows
from tests.trainer.mill import BOOSTING, REGRESSION, numbers, project_with, regression_project, task_of

LIAR = """
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def build(seed):
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression())
    honest = pipeline.predict_proba
    pipeline.predict_proba = lambda x: honest(x)[:, ::-1]
    return pipeline
"""
BROKEN = """
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def build(seed):
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression())
    fit = pipeline.fit

    def fit_and_break(x, y):
        fit(x, y)
        pipeline[-1].coef_[:] = float("nan")
        return pipeline

    pipeline.fit = fit_and_break
    return pipeline
"""
ALWAYS = [
    "schema", "onnx-parity", "finite-scores", "enough-rows", "no-veto", "size", "beats-last-label", "beats-linear",
    "robust-noise", "robust-missing", "robust-adversarial", "explanation-moved",
]  # fmt: skip
PRINT_HASH = """
import hashlib, pickle, sys
from services.trainer.child import run_task
print(hashlib.sha256(run_task(pickle.load(sys.stdin.buffer)).artifact).hexdigest())
"""


def checks_of(result):
    """Whether each named check passed."""
    return {check.name: check.passed for check in result.checks}


def with_rows(task, **parts):
    """The task with other labels, as ``train=`` or ``holdout=`` functions of the old ones."""
    changed = {name: Rows(getattr(task, name).x, change(getattr(task, name).y)) for name, change in parts.items()}
    return replace(task, **changed)


@pytest.mark.parametrize("pipeline", [None, BOOSTING])
def test_a_classifier_becomes_a_checked_model(tmp_path, pipeline):
    """Logistic regression and boosting: a valid file, one input, two outputs, every check passed."""
    task = task_of(project_with(tmp_path, pipeline))
    result = run_task(task)
    model = onnx.load_model_from_string(result.artifact)
    onnx.checker.check_model(model)
    assert (["features"], ["label", "probabilities"]) == (
        [one.name for one in model.graph.input],
        [one.name for one in model.graph.output],
    )
    judged = ["beats-majority", "calibration", *ALWAYS, *(["converged", "validation-loss"] if pipeline else [])]
    assert dict.fromkeys(["both-classes", *judged], True) == checks_of(result)
    assert ["accuracy", "log_loss", "rows"] == sorted(result.metrics)
    assert result.metrics["accuracy"] > 0.8
    assert {} == result.champion_metrics


def test_a_regression_becomes_a_checked_model(tmp_path):
    """The same for numbers: one output, errors instead of shares."""
    project = regression_project(tmp_path)
    data = numbers(400, 3)
    y = 3.0 * np.nan_to_num(data.x[:, 0]).astype(np.float64) + 100.0
    task = task_of(project, train=Rows(data.x[:300], y[:300]), holdout=Rows(data.x[300:], y[300:]))
    result = run_task(task)
    judged = ["beats-constant", *ALWAYS, "converged", "validation-loss"]
    assert dict.fromkeys(judged, True) == checks_of(result)
    assert ["mae", "rmse", "rows"] == sorted(result.metrics)
    assert result.metrics["mae"] < 1.0


def test_the_file_says_what_it_is(tmp_path):
    """Model, features, classes; nothing that differs between two runs on the same data."""
    project = project_with(tmp_path)
    model = onnx.load_model_from_string(run_task(task_of(project)).artifact)
    said = {entry.key: entry.value for entry in model.metadata_props}
    expected = {
        "model": "tiny",
        "feature_set": project.feature_set,
        "features": json.dumps(["x", "x_change", "last"]),
        "task": "classification",
        "classes": json.dumps(["no", "yes"]),
    }
    assert expected == said
    assert {"": 18, "ai.onnx.ml": 1} == {opset.domain: opset.version for opset in model.opset_import}
    assert ("tiny", "") == (model.graph.name, model.doc_string)


@pytest.mark.parametrize("pipeline", [None, BOOSTING])
def test_the_bytes_do_not_depend_on_the_process(tmp_path, pipeline):
    """I5: two interpreters with different hash seeds write the same file."""
    import pickle

    task = pickle.dumps(task_of(project_with(tmp_path, pipeline)))
    found = {
        subprocess.run(
            [sys.executable, "-c", PRINT_HASH],
            input=task,
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert 1 == len(found)


def test_the_champion_is_measured_on_the_very_same_rows(tmp_path):
    """The champion's metrics are what its file scores on the candidate's hold-out; against itself, the same."""
    task = task_of(project_with(tmp_path))
    first = run_task(task)
    assert first.metrics == run_task(replace(task, champion=first.artifact)).champion_metrics
    turned = with_rows(task, train=lambda y: 1 - y, holdout=lambda y: 1 - y)
    second = run_task(replace(turned, champion=first.artifact))
    expected = measure(score(first.artifact, turned.holdout.x, 2), turned.holdout.y)
    assert expected == second.champion_metrics
    assert second.champion_metrics["accuracy"] < 0.2
    assert second.metrics["accuracy"] > 0.8


def test_a_champion_that_cannot_be_scored_is_an_error(tmp_path):
    """Damaged, or of another width: never taken for "there is none"."""
    task = task_of(project_with(tmp_path))
    artifact = run_task(task).artifact
    narrow = Rows(task.holdout.x[:, :2], task.holdout.y), Rows(task.train.x[:, :2], task.train.y)
    other = replace(task, feature_names=("a", "b"), holdout=narrow[0], train=narrow[1], champion=artifact)
    for broken in (replace(task, champion=artifact[:100]), other):
        with pytest.raises(FitError, match="champion cannot be scored"):
            run_task(broken)


def test_a_model_that_scores_otherwise_than_its_estimator_fails_parity(tmp_path):
    """Planted: an estimator whose probabilities are not those that were exported."""
    result = run_task(task_of(project_with(tmp_path, LIAR)))
    parity = next(check for check in result.checks if check.name == "onnx-parity")
    assert (False, 1.0) == (parity.passed, parity.value)


def test_parity_counts_rows_apart():
    """A class that differs, a probability that differs by more than the tolerance, and NaN each count once."""

    class Estimator:
        def predict(self, x):
            return np.array([0, 0, 1, 1, 1])

        def predict_proba(self, x):
            return np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7], [0.3, 0.7]])

    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3002, 0.6998], [np.nan, 0.7]])
    scores = Scores(np.array([0.0, 1.0, 1.0, 1.0, 1.0]), probabilities)
    assert 3 == differing(Estimator(), scores, np.zeros((5, 1), dtype=np.float32))


def test_parity_of_a_regression_is_relative():
    """A value near zero is compared with the size of all values, a large one with its own."""

    class Estimator:
        def predict(self, x):
            return np.array([0.0, 1000.0, 1000.0])

    scores = Scores(np.array([1e-3, 1000.05, 1000.2]), np.empty((3, 0)))
    assert 1 == differing(Estimator(), scores, np.zeros((3, 1), dtype=np.float32))


def test_weights_that_are_no_numbers_are_found(tmp_path):
    """Planted NaN weights: the scores are not finite, and no check that compares numbers passes by accident."""
    passed = checks_of(run_task(task_of(project_with(tmp_path, BROKEN))))
    assert (False, False) == (passed["finite-scores"], passed["onnx-parity"])


@pytest.mark.parametrize(
    ("train_y", "error"),
    [(np.zeros_like, "has the label 'yes'"), (np.ones_like, "has the label 'no'")],
)
def test_one_class_is_nothing_to_learn_from(tmp_path, train_y, error):
    """A window without one of the declared classes is refused, naming it."""
    with pytest.raises(FitError, match=error):
        run_task(with_rows(task_of(project_with(tmp_path)), train=train_y))


def test_a_holdout_of_one_class_judges_nothing(tmp_path):
    """The run ends with its check failed, so the registry turns it down with the reason."""
    result = run_task(with_rows(task_of(project_with(tmp_path)), holdout=np.zeros_like))
    assert checks_of(result)["both-classes"] is False


def test_noise_does_not_beat_the_majority(tmp_path):
    """A model of labels that depend on nothing is worse than always saying what is frequent."""
    rng = np.random.default_rng(3)
    noisy = with_rows(
        task_of(project_with(tmp_path, BOOSTING.replace("early_stopping=True", "early_stopping=False"))),
        train=lambda y: (rng.random(len(y)) < 0.8).astype(float),
        holdout=lambda y: (np.arange(len(y)) % 10 < 8).astype(float),
    )
    assert checks_of(run_task(noisy))["beats-majority"] is False


def test_fewer_rows_than_asked_for_fail_the_check(tmp_path):
    """The fit is done, and the check says how many rows there were."""
    result = run_task(task_of(project_with(tmp_path), rows_min=401))
    assert checks_of(result)["enough-rows"] is False


def test_the_best_constant_is_of_the_training_rows(tmp_path):
    """Class shares for a classifier; median or mean of a regression, whichever its metric rewards."""
    task = with_rows(task_of(project_with(tmp_path / "c"), rows=8), train=lambda y: np.array([1.0, 1, 1, 0, 1, 1]))
    shares = constant(task)
    assert ([1.0, 1.0], 5 / 6) == (shares.values.tolist(), shares.probabilities[0, 1])
    task = task_of(regression_project(tmp_path / "r"), rows=8)
    task = with_rows(task, train=lambda y: np.array([0.0, 0, 0, 0, 0, 6]))
    assert [0.0, 0.0] == constant(task).values.tolist()
    task = replace(task, gates=task.gates.model_copy(update={"metric": "rmse"}))
    assert [1.0, 1.0] == constant(task).values.tolist()


def test_pipeline_and_project_must_agree(tmp_path):
    """A regressor for classes, a classifier for numbers, a metric of the other kind: said in the project's words."""
    plain = project_with(tmp_path / "3")
    cases = [
        (task_of(project_with(tmp_path / "1", REGRESSION)), "a classifier with predict_proba is needed"),
        (task_of(regression_project(tmp_path / "2", BOOSTING)), "a regressor is needed"),
        (task_of(plain, gates=Gates(first=1, metric="mae")), "classification has accuracy and log_loss"),
    ]
    for task, error in cases:
        with pytest.raises(FitError, match=error):
            run_task(task)


def test_a_feature_without_a_single_value_is_named(tmp_path):
    """Where an estimator cannot take it; what it says itself names nothing."""
    task = task_of(project_with(tmp_path, BOOSTING))
    task.train.x[:, 1] = np.nan

    with pytest.raises(FitError, match=rf"{task.feature_names[1]} is missing in all 300 training rows"):
        run_task(task)
