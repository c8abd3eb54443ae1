"""The estimator that the trainer fits for the model $model.

Any scikit-learn estimator or pipeline that skl2onnx can convert will do; `millrace check` tries it. What it must know:

- It is fitted on the features of model.yaml, in their order, as float32.
- The first rows of an entity have no history: lags and differences are missing (NaN) there. Histogram gradient boosting
  takes that as it is; most other estimators need a SimpleImputer before them.
- All randomness must come from the seed, so that the same rows give the same model again.
"""

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline


def build(seed: int) -> Pipeline:
    """Return the unfitted pipeline."""
    trees = HistGradientBoostingClassifier(
        max_iter=50,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        early_stopping=False,  # it would set aside a random part of rows that are ordered by time
        random_state=seed,
    )
    return Pipeline([("trees", trees)])
