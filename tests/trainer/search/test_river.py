"""River models as candidates: they learn row by row and are served as ONNX."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from river import ensemble, forest, linear_model, optim, preprocessing, tree

from services.serving.score import Model
from services.trainer.train.score import score
from services.trainer.train.search import search
from services.trainer.train.search.fitting import score_rows
from services.trainer.train.task import FitError
from tests.trainer.search.made import BUILDS, electricity, line, quiet, searching, signs

MAJORITY = {"leaf_prediction": "mc", "grace_period": 40, "delta": 0.01}
MEAN = {"leaf_prediction": "mean", "grace_period": 40, "delta": 0.01}


def hoeffding():
    """A tree whose leaves answer with the majority."""
    return tree.HoeffdingTreeClassifier(**MAJORITY)


CLASSIFIERS = {
    "logistic": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "logistic alone": lambda: linear_model.LogisticRegression(optim.Adam(0.01), l2=0.01),
    "two scalers": lambda: (
        preprocessing.MinMaxScaler() | preprocessing.StandardScaler(window_size=90) | linear_model.LogisticRegression()
    ),
    "without spread": lambda: preprocessing.StandardScaler(with_std=False) | linear_model.LogisticRegression(),
    "softmax": lambda: preprocessing.StandardScaler() | linear_model.SoftmaxRegression(),
    "tree": hoeffding,
    "fast tree": lambda: tree.ExtremelyFastDecisionTreeClassifier(**MAJORITY),
    "tree that learned nothing": lambda: tree.HoeffdingTreeClassifier(leaf_prediction="mc", grace_period=10_000),
    "bag": lambda: ensemble.BaggingClassifier(hoeffding(), n_models=3, seed=1),
    "ADWIN bag": lambda: ensemble.ADWINBaggingClassifier(hoeffding(), n_models=3, seed=1),
    "leveraging bag": lambda: ensemble.LeveragingBaggingClassifier(hoeffding(), n_models=3, seed=1),
    "adaptive forest": lambda: forest.ARFClassifier(n_models=3, seed=1, **MAJORITY),
}
REGRESSORS = {
    "linear": lambda: preprocessing.StandardScaler() | linear_model.LinearRegression(intercept_lr=0.1),
    "tree": lambda: tree.HoeffdingTreeRegressor(**MEAN),
    "bag": lambda: ensemble.BaggingRegressor(tree.HoeffdingTreeRegressor(**MEAN), n_models=3, seed=1),
}


def agree(model, task):
    """The largest difference between river and its ONNX file, with and without missing values; labels are equal."""
    found = search(task, {"pipeline": lambda seed: model}, quiet)
    content = found.to_onnx(task)
    onnx.checker.check_model(onnx.load_model_from_string(content))
    classes = len(task.label.classes)
    Model(content, width=len(task.feature_names), classes=classes)  # what serving asks of a file
    gaps = task.train.x.copy()
    gaps[np.random.default_rng(1).random(gaps.shape) < 0.4] = np.nan
    worst = 0.0
    for x in (task.holdout.x, gaps):
        ours, theirs = score(content, x, classes), score_rows(found.estimator, x, task)
        if classes:
            assert ours.values.tolist() == theirs.values.tolist()
        answers = (ours.probabilities, theirs.probabilities) if classes else (ours.values, theirs.values)
        worst = max(worst, float(np.abs(answers[0] - answers[1]).max()))
    return worst


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_a_river_classifier_and_its_file_agree(case):
    """To float32, missing values included; and serving takes the file."""
    assert agree(CLASSIFIERS[case](), signs()) < 2e-7


@pytest.mark.parametrize("case", ["softmax", "tree", "adaptive forest"])
def test_three_classes_agree(case):
    """The same for more than two classes."""
    assert agree(CLASSIFIERS[case](), signs(classes=3)) < 2e-7


@pytest.mark.parametrize("case", REGRESSORS)
def test_a_river_regressor_and_its_file_agree(case):
    """To float32, of numbers about 100."""
    assert agree(REGRESSORS[case](), line()) < 2e-5


def test_trees_compare_the_same_at_the_threshold():
    """A double threshold between two float32 neighbours sends both the same way in river and in the file."""
    task = signs(2000)
    found = search(task, {"pipeline": lambda seed: hoeffding()}, quiet)
    branch = found.estimator.model_._root
    at = task.feature_names.index(branch.feature)
    single = np.float32(branch.threshold)
    near = [np.nextafter(single, np.float32(-9)), single, np.nextafter(single, np.float32(9))]
    x = np.zeros((3, 3), dtype=np.float32)
    x[:, at] = near
    ours, theirs = score(found.to_onnx(task), x, 2), score_rows(found.estimator, x, task)
    assert np.abs(ours.probabilities - theirs.probabilities).max() < 1e-6
    assert len(np.unique(ours.probabilities[:, 0])) == 2


def test_a_learner_learns_each_row_once_in_order_and_keeps_its_losses():
    """Test, then train: no row has been learned when it is scored."""
    seen = []

    class Diary(linear_model.LogisticRegression):
        def predict_proba_one(self, x):
            seen.append(("test", x["f0"]))
            return super().predict_proba_one(x)

        def learn_one(self, x, y, w=1.0):
            seen.append(("train", x["f0"]))
            super().learn_one(x, y, w)

    Diary.__name__ = "LogisticRegression"
    task = signs(230)
    losses = [
        step.train_loss for step in search(task, {"pipeline": lambda seed: CLASSIFIERS["logistic"]()}, quiet).history
    ]
    assert losses[-1] < losses[0]
    rows = np.arange(130, dtype=np.float32)
    x = np.column_stack([rows, rows, rows]) / 100
    task = replace(task, train=replace(task.train, x=x))
    found = search(task, {"pipeline": lambda seed: Diary()}, quiet)
    expected = [(what, value) for value in x[:, 0].tolist() for what in ("test", "train")]
    assert expected == seen[:260]
    assert 20 == len(found.history)
    assert (130, 7) == (found.history[-1].step, found.history[0].step)


def test_river_and_others_compete_in_one_search():
    """On real data; the same task gives the same bytes; a river family is offered no decay."""
    chosen = searching("logistic", trials=4, windows=("last", "decay"))
    family = chosen.families[0].model_copy(update={"name": "river", "space": {"rate": (0.01, 0.1)}})
    task = electricity(900, search=chosen.model_copy(update={"families": (family,)}))

    def build(seed, rate):
        return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(rate))

    found = search(task, {"river": build}, quiet)
    assert "river" == found.choice.family
    assert not any(trial.window.startswith("decay") for trial in found.trials)
    assert not [trial.reason for trial in found.trials if trial.state == "failed"]
    again = search(replace(task, fixed=found.choice), {"river": build}, quiet)
    assert found.to_onnx(task) == again.to_onnx(task)
    both = task.search.model_copy(update={"families": (family, *searching("tree").families)})
    mixed = search(replace(task, search=both), BUILDS | {"river": build}, quiet)
    assert {"river", "tree"} == {trial.family for trial in mixed.trials}


REFUSED = {
    "naive Bayes in its leaves": (signs, tree.HoeffdingTreeClassifier, "leaf_prediction 'nba' .'mc' can. is not"),
    "another class": (signs, linear_model.PAClassifier, "PAClassifier is not written"),
    "a bag of others": (
        signs,
        lambda: ensemble.BaggingClassifier(linear_model.LogisticRegression(), seed=1),
        "BaggingClassifier of LogisticRegression is not",
    ),
    "another scaler": (
        signs,
        lambda: preprocessing.RobustScaler() | linear_model.LogisticRegression(),
        "RobustScaler is no scaler that is written",
    ),
    "a scaled tree": (
        signs,
        lambda: preprocessing.StandardScaler() | hoeffding(),
        "HoeffdingTreeClassifier after StandardScaler is not",
    ),
    "too many classes": (lambda: signs(classes=3), linear_model.LogisticRegression, "LogisticRegression for 3 classes"),
    "another link": (
        line,
        lambda: linear_model.LinearRegression(loss=optim.losses.Poisson()),
        "LinearRegression with the loss Poisson is not",
    ),
    "the wrong kind": (line, linear_model.LogisticRegression, "a regression model is needed: a river regressor"),
    "chance without a seed": (signs, lambda: forest.ARFClassifier(**MAJORITY), "ARFClassifier has no seed"),
    "many branches": (
        line,
        lambda: tree.HoeffdingTreeRegressor(splitter=tree.splitter.QOSplitter(allow_multiway_splits=True), **MEAN),
        "a split of the kind NumericMultiwayBranch",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused(case):
    """With what it is, before or in the first trial."""
    make_task, build, said = REFUSED[case]
    task = replace(make_task(), search=searching("ridge", trials=1).model_copy(update={"families": ()}))
    with pytest.raises(FitError, match=said):
        search(task, {"pipeline": lambda seed: build()}, quiet)
