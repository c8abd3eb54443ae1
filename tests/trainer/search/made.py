"""Made-up tasks for a search, and families to search in."""

import gzip
from pathlib import Path

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from millrace.contracts.gates_policy import Gates
from millrace.contracts.sections import Label
from millrace.contracts.training_policy import Family, Search
from services.trainer.train.task import FitTask, PipelineSource, Rows

ELECTRICITY = Path(__file__).parents[3] / "examples" / "electricity" / "electricity.csv.gz"
SOURCE = PipelineSource("pipeline.py", "build", b"")


def quiet(progress):
    """A report that nobody reads."""


def task_with(x, y, *, held=100, classes=("no", "yes"), metric="accuracy", **changes):
    """A fit task on these rows; the newest are held out."""
    x, y, cut = np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float64), len(y) - held
    fields = {
        "model": "made",
        "feature_set": "f" * 12,
        "feature_names": tuple(f"f{at}" for at in range(x.shape[1])),
        "label": Label(task="classification" if classes else "regression", classes=classes, delay_s=0),
        "gates": Gates(first=0.5, metric=metric),
        "seed": 7,
        "pipeline": SOURCE,
        "train": Rows(x[:cut], y[:cut]),
        "holdout": Rows(x[cut:], y[cut:]),
        "champion": None,
        "rows_min": 50,
        "timeout_s": 30.0,
    }
    return FitTask(**{**fields, **changes})


def signs(rows=700, classes=2, **changes):
    """The class is how many of the thresholds the first feature is above, with noise; 5 % of the values are missing."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 3))
    noisy = x[:, 0] + 0.3 * rng.normal(size=rows)
    y = sum(noisy > threshold for threshold in np.linspace(-0.5, 0.5, classes - 1) * (classes > 2))
    x[rng.random(x.shape) < 0.05] = np.nan
    return task_with(x, y, classes=tuple(f"c{at}" for at in range(classes)), **changes)


def line(rows=700, **changes):
    """The label is a number that grows with the first feature."""
    x = np.random.default_rng(3).normal(size=(rows, 3))
    return task_with(x, 3.0 * x[:, 0] + 100.0, classes=(), **{"metric": "mae", **changes})


def electricity(rows=1500, **changes):
    """The first half-hours of the real data, with the label of the row before as a feature."""
    with gzip.open(ELECTRICITY, "rt") as file:
        table = np.loadtxt(file, delimiter=",", skiprows=1, max_rows=rows + 1)
    x = np.column_stack([table[1:, :-1], table[:-1, -1]])
    return task_with(x, table[1:, -1], held=300, classes=("down", "up"), **changes)


def logistic(seed, c=1.0):
    """Logistic regression on imputed values."""
    return make_pipeline(SimpleImputer(), LogisticRegression(C=c, random_state=seed))


def tree(seed, depth=3, leaf=5):
    """A small tree."""
    return DecisionTreeClassifier(max_depth=depth, min_samples_leaf=leaf, random_state=seed)


def ridge(seed, alpha=1.0):
    """Ridge regression."""
    return make_pipeline(SimpleImputer(), Ridge(alpha=alpha, random_state=seed))


def broken(seed, **params):
    """An owner's mistake."""
    raise RuntimeError(f"no seed like {seed}")


BUILDS = {"pipeline": logistic, "logistic": logistic, "tree": tree, "ridge": ridge, "broken": broken}
SPACES = {
    "logistic": {"c": {"low": 0.01, "high": 10.0, "log": True}},
    "tree": {"depth": {"low": 1, "high": 6}, "leaf": [1, 5, 20]},
    "ridge": {},
    "broken": {},
}


def searching(*names, **changes):
    """A search in these families; a few trials."""
    families = tuple(Family(name=name, build=f"pipeline.py:{name}", space=SPACES[name]) for name in names)
    return Search(families=families, **{"trials": 6, **changes})
