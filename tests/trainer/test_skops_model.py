"""Models from skops files: scikit-learn's own are read, anything else is refused with the way out."""

import io
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from services.trainer.train.skops_model import from_skops, is_skops
from services.trainer.train.task import FitError

X = np.random.default_rng(1).random((120, 3))
Y = (X[:, 0] > 0.5).astype(int)


class Foreign(ClassifierMixin, BaseEstimator):
    """A class of somebody's own, which runs code when it is built."""

    def fit(self, x, y):
        """Nothing is learned."""
        del x, y
        return self


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestClassifier(3),
        GradientBoostingClassifier(n_estimators=3),
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_scikit_learns_own_estimators_are_read(estimator):
    """With the default list, and they predict what they did."""
    content = skops.io.dumps(estimator.fit(X, Y))

    assert is_skops(content)
    assert estimator.predict(X).tolist() == from_skops(content).predict(X).tolist()


def test_a_foreign_type_is_refused_by_name_with_the_way_out():
    """The list is the server's; what is not on it is not built."""
    content = skops.io.dumps(Foreign().fit(X, Y))
    name = f"{Foreign.__module__}.Foreign"

    with pytest.raises(FitError, match="MILLRACE_SKOPS_ALLOWED") as refused:
        from_skops(content)
    assert name in str(refused.value)
    assert isinstance(from_skops(content, [name]), Foreign)


def test_what_is_no_skops_file_is_refused():
    """Half a file, a zip of something else."""
    content = skops.io.dumps(LogisticRegression().fit(X, Y))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")

    for damaged in (content[: len(content) // 2], other.getvalue()):
        with pytest.raises(FitError, match="no skops file"):
            from_skops(damaged)


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch):
    """Before anything of it is unpacked."""
    monkeypatch.setattr("services.trainer.train.skops_model.LARGEST_BYTES", 1000)

    with pytest.raises(FitError, match="unpacks to"):
        from_skops(skops.io.dumps(RandomForestClassifier(20).fit(X, Y)))
