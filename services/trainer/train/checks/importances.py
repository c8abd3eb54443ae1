"""How much the model needs each feature.

*Permutation importance*: by how much the loss on hold-out rows grows when a feature's values are shuffled among the
rows. The loss is that of the gate's metric (of accuracy the log loss), the answers are those of the ONNX file. The same
task shuffles any file in the same way, so that two files are compared on the very same rows.

*SHAP*, where the project asks for it and the package is installed: the mean size of a feature's contribution to the
answer (to the probability of the second of two classes; of more classes the mean over them), by its permutation
explainer, again on the ONNX file. Not by default, because the package compiles itself in each new process, which takes
some ten seconds.

References: Breiman, Machine Learning 45 (2001) 5; Lundberg and Lee, NIPS 2017.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.trainer.train.checks.disturb import evenly, generator
from services.trainer.train.checks.losses import smooth_losses
from services.trainer.train.score import score
from services.trainer.train.task import Features, FitTask

STREAM = 4
ROWS_MAX = 500
REPEATS_MAX = 3
SCORED_MAX = 7_000  # rows scored for one file, about 20 ms of a boosted model; few features are shuffled repeatedly
BACKGROUND_ROWS = 20


class Importance(NamedTuple):
    """``increase``: of the loss when the feature is shuffled. ``share``: its part of all that are above 0."""

    feature: str
    increase: float
    share: float


def importances(task: FitTask, artifact: bytes) -> tuple[Importance, ...]:
    """The permutation importance of each feature, in their order, for this ONNX file on the task's hold-out rows."""
    width, rng = len(task.feature_names), generator(task, STREAM)
    at = evenly(len(task.holdout.y), max(20, min(ROWS_MAX, SCORED_MAX // width)))
    x, y, rows = task.holdout.x[at], task.holdout.y[at], len(at)
    repeats = max(1, min(REPEATS_MAX, SCORED_MAX // (width * rows)))
    shuffled: Features = np.tile(x, (width * repeats, 1, 1))
    for place in range(width * repeats):
        feature = place % width
        shuffled[place, :, feature] = x[rng.permutation(rows), feature]
    classes, metric = len(task.label.classes), task.gates.metric
    before = smooth_losses(score(artifact, x, classes), y, metric).mean()
    scored = score(artifact, shuffled.reshape(-1, width), classes)
    losses = smooth_losses(scored, np.tile(y, width * repeats), metric).reshape(repeats, width, rows)
    increases = np.nan_to_num(losses.mean(axis=(0, 2)) - before)
    positive = np.maximum(increases, 0.0)
    shares = positive / positive.sum() if positive.sum() > 0 else positive
    return tuple(map(Importance, task.feature_names, increases.tolist(), shares.tolist()))


def shap_importances(task: FitTask, artifact: bytes) -> dict[str, float] | None:
    """The mean size of each feature's SHAP value over ``gates.shap_rows`` hold-out rows; None without the package."""
    if not task.gates.shap_rows:
        return None
    try:
        import shap  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    holdout, classes = task.holdout.x, len(task.label.classes)

    def answer(x: Any) -> NDArray[np.float64]:
        scores = score(artifact, np.asarray(x, dtype=np.float32), classes)
        if not classes:
            return scores.values
        return scores.probabilities[:, 1] if classes == 2 else scores.probabilities

    background = holdout[evenly(len(holdout), BACKGROUND_ROWS)].astype(np.float64)
    explained = holdout[evenly(len(holdout), task.gates.shap_rows)].astype(np.float64)
    explainer = shap.explainers.Permutation(answer, shap.maskers.Independent(background), seed=task.seed % 2**32)
    sizes = np.abs(explainer(explained, max_evals=2 * len(task.feature_names) + 1, silent=True).values)
    means = sizes.mean(axis=0) if sizes.ndim == 2 else sizes.mean(axis=(0, 2))
    return dict(zip(task.feature_names, means.tolist(), strict=True))
