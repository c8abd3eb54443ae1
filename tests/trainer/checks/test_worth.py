"""beats-<baseline>, calibration and explanation-moved; and that all checks stand in the table."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from services.trainer.train.checks import check, importances, shap_importances
from services.trainer.train.checks.calibration import expected_error
from services.trainer.train.checks.explanation import movement, rank_correlation
from services.trainer.train.checks.importances import Importance
from services.trainer.train.checks.run import ABOUT
from services.trainer.train.checks.table import table
from services.trainer.train.export import export
from services.trainer.train.score import Scores, score
from tests.trainer.checks.made import CLASSES, NUMBERS, Step, candidate, fitted, names, result, right_but, task

PAGE = Path(__file__).parents[3] / "docs" / "model-checks.md"


@pytest.mark.parametrize(
    ("margin", "baseline", "passed"),
    [(0.1, 0.98, True), (0.05, 0.999, False), ({"linear": 0.2}, 0.999, True), ({"linear": 0.01}, 0.95, False)],
)
def test_a_baseline_may_be_better_by_its_margin(margin, baseline, passed):
    """Points of accuracy; one margin for all, or one for each that is named."""
    one = task(baseline_margin=margin)
    made = candidate(one, scores=right_but(one, range(40)), baselines={"linear": {"accuracy": baseline}})
    found = result(one, made, "beats-linear")
    assert passed == found.passed, found.message
    assert passed != ("raise gates.baseline_margin" in found.message)


def test_a_loss_is_measured_by_what_a_constant_costs():
    """Of a near perfect baseline a share of its own loss would be huge for next to nothing."""
    one = task(NUMBERS)
    made = candidate(one, baselines={"linear": {"mae": 0.001}})
    found = result(one, made, "beats-linear")
    assert (True, True) == (found.passed, 0.1 < found.value < 0.2)


def test_baselines_that_are_not_judged():
    """The constant's own check has no margin; null and names that are left out turn the others off."""
    both = {"linear": {"accuracy": 1.0}, "majority": {"accuracy": 1.0}, "last-label": {"accuracy": 1.0}}
    for margin, expected in ((None, set()), ({"linear": None}, set()), (0.2, {"beats-linear", "beats-last-label"})):
        one = task(baseline_margin=margin)
        found = {name for name in names(one, candidate(one, baselines=both)) if name.startswith("beats-")}
        assert {"beats-majority", *expected} == found


def test_the_last_label_is_judged_only_where_it_is_known_in_time():
    """With labels later than a row it is, if the project names it."""
    late = {"changes": {"gap_rows": 5}}
    known = {"last-label": {"accuracy": 0.9}}
    tasks = (task(**late), task(**late, baseline_margin={"last-label": 0.5}))
    judged = ["beats-last-label" in names(one, candidate(one, baselines=known)) for one in tasks]
    assert [False, True] == judged


def test_probabilities_mean_what_they_say():
    """A logistic regression on its own kind of data is calibrated; the same answers with less certainty are not."""
    one = task()
    made = candidate(one)
    assert result(one, made, "calibration").value < 0.1
    shy = Scores(made.scores.values, 0.5 + (made.scores.probabilities - 0.5) / 4)
    found = result(one, candidate(one, scores=shy), "calibration")
    assert not found.passed
    assert "CalibratedClassifierCV" in found.message
    off, numbers = task(calibration_max=None), task(NUMBERS)
    assert "calibration" not in names(off, candidate(off)) | names(numbers, candidate(numbers))


def test_calibration_of_three_classes_is_of_the_answer():
    """Half of the answers are right, said with 0.8 each."""
    probabilities = np.tile([0.8, 0.1, 0.1], (100, 1))
    scores = Scores(np.zeros(100), probabilities)
    assert 0.3 == pytest.approx(expected_error(scores, np.arange(100.0) % 2, 1))


def test_importance_is_what_the_model_looks_at():
    """The first feature most, the third not at all; the same each time; in the order of the features."""
    one = task()
    artifact = candidate(one).artifact
    found = importances(one, artifact)
    assert ["a", "b", "c"] == [part.feature for part in found]
    assert found[0].share > 0.8
    assert 1.0 == pytest.approx(sum(part.share for part in found))
    assert abs(found[2].increase) < 0.02
    assert found == importances(one, artifact)
    assert found != importances(replace(one, seed=9), artifact)


@pytest.mark.parametrize(("limit", "passed"), [(None, True), (0.5, False)])
def test_a_model_that_looks_elsewhere_is_named(limit, passed):
    """The champion decided by the third feature; without a limit that is told and nothing more."""
    one = task(explanation_moved_max=limit)
    other = export(LogisticRegression().fit(one.train.x[:, ::-1], one.train.y.astype(int)), one)
    one = replace(one, champion=other)
    made = candidate(one, champion=score(other, one.holdout.x, 2))
    found = result(one, made, "explanation-moved")
    assert passed == found.passed
    assert found.value > 0.7
    assert re.search(r"it looks most at a 0\.\d+.* most by [ac] [+-]0\.", found.message)
    same = replace(one, champion=made.artifact)
    assert 0.0 == result(same, replace(made, champion_scores=made.scores), "explanation-moved").value


def test_movement_and_rank():
    """Half the sum of the distances; Spearman's correlation."""
    one = [Importance("a", 3.0, 0.75), Importance("b", 1.0, 0.25), Importance("c", 0.0, 0.0)]
    other = [Importance("a", 0.0, 0.0), Importance("b", 1.0, 0.25), Importance("c", 3.0, 0.75)]
    assert (0.75, -1.0) == (movement(one, other), pytest.approx(rank_correlation(one, other)))
    assert 1.0 == rank_correlation(one, [Importance(name, 0.0, 0.0) for name in "abc"])


def test_a_regression_is_explained_too():
    """By its errors."""
    one = task(NUMBERS)
    assert importances(one, candidate(one).artifact)[0].share > 0.8


@pytest.mark.parametrize("label", [CLASSES, NUMBERS])
def test_shap_agrees(label):
    """Where the extra is installed, and the project asks for it, SHAP puts the first feature first too."""
    pytest.importorskip("shap", reason="the extra shap is not installed, so SHAP values are not tested")
    one = task(label, shap_rows=20)
    made = candidate(one)
    found = shap_importances(one, made.artifact)
    assert "a" == max(found, key=found.get)
    assert found == shap_importances(one, made.artifact)
    assert "(SHAP: a" in result(one, made, "explanation-moved").message


def test_shap_is_left_out_unless_it_is_asked_for_and_there():
    """Nothing by default; without the package the message says what is missing."""
    one = task()
    assert shap_importances(one, candidate(one).artifact) is None
    if importlib.util.find_spec("shap") is None:
        asked = task(shap_rows=20)
        message = result(asked, candidate(asked), "explanation-moved").message
        assert "SHAP is asked for by gates.shap_rows, but the package shap is not installed" in message


def test_every_check_has_its_row():
    """A judgement with all that can be judged has each name of the table, once, and no other."""
    one = task(
        slices=[{"feature": "b", "bins": 2}], fairness={"field": "f", "metric": "equalized_odds_difference", "max": 1}
    )
    one = replace(one, holdout=replace(one.holdout, groups=("x", "y") * 200))
    one = replace(one, champion=export(fitted(one), one))
    history = tuple(Step(at, 1 / at, 1 / at) for at in range(1, 50))
    made = candidate(
        one, champion=right_but(one, [1]), history=history, baselines={"linear": {"accuracy": 0.5}}, vetoes=()
    )
    found = [each.name for each in check(one, made, lambda: 0.0)]
    numbers = task(NUMBERS)
    found += names(numbers, candidate(numbers)) - set(found)
    written = [about.name.replace("<feature>", "b").replace("<baseline>", "linear") for about in ABOUT]
    assert sorted(written) == sorted(found)
    assert 21 == len(found)


def test_the_page_has_the_table():
    """docs/model-checks.md holds the table that the code writes."""
    assert table() in PAGE.read_text(), "put the text that services.trainer.train.checks.table.table() returns there"
