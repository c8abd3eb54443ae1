"""What each feature added to one answer: Shapley values, estimated by sampling."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PERMUTATIONS = 1024  # even; the standard error falls with its root
Answer = Callable[[Floats], Floats]
"""Rows of features in, shape (rows, features); one number for each out: a class's score, or the value."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """``added`` (features,) sums to ``answer - usual`` within rounding; ``error`` (features,) are standard errors.

    ``answer`` is what the model says to the row, ``usual`` its mean over the background rows that were drawn.
    """

    added: Floats
    error: Floats
    answer: float
    usual: float


def attribute(
    answer: Answer, row: Floats, background: Floats, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Attribution:
    """Explain the answer to one row against rows of the training data.

    For a random order of the features and a random background row, features are set from the background's value to the
    row's one after another; what the answer changes at each is what that feature added there. The mean over many orders
    and background rows is the Shapley value of the game in which the features that are not known yet are those of the
    background (*interventional*: how the model answers, not how the world depends). Orders come in pairs, forwards and
    backwards, which lowers the variance for nothing. Features that always move together share by chance of the model.

    Parameters:
        answer: the model; asked once, for ``permutations * (features + 1)`` rows.
        row: of the features, shape (features,); NaN is a value like any other.
        background: training rows, shape (rows, features), at least one.
        permutations: orders tried, an even number; 1024 give a standard error of some 4 % of the spread of answers.
        seed: of the draws; the same seed gives the same numbers.

    Raises:
        ValueError: shapes that do not fit, or an odd number of permutations.

    >>> import numpy as np
    >>> background = np.random.default_rng(1).normal(size=(500, 3))
    >>> linear = lambda rows: rows @ np.array([2.0, -1.0, 0.0])
    >>> found = attribute(linear, np.array([1.0, 1.0, 1.0]), background)
    >>> found.added.round(1).tolist(), round(found.answer, 6)
    ([2.0, -1.0, 0.0], 1.0)

    References:
        E. Štrumbelj, I. Kononenko: Explaining prediction models and individual predictions with feature contributions.
        Knowledge and Information Systems 41 (3), 2014, pp. 647-665.
        D. Janzing, L. Minorics, P. Blöbaum: Feature relevance quantification in explainable AI: a causal problem.
        AISTATS 2020 (why the features that are not known are drawn, not conditioned on).
    """
    width = len(row)
    if background.ndim != 2 or background.shape[1] != width or not len(background):
        raise ValueError(f"background rows of shape {background.shape} do not fit a row of {width} features")
    if permutations < 2 or permutations % 2:
        raise ValueError(f"permutations come in pairs, got {permutations}; give an even number")
    rng = np.random.default_rng(seed)
    forwards = rng.permuted(np.tile(np.arange(width), (permutations // 2, 1)), axis=1)
    orders = np.concatenate([forwards, forwards[:, ::-1]])
    rounds = -(-permutations // 2 // len(background))  # no background row twice before each was drawn once
    shuffled = rng.permuted(np.tile(np.arange(len(background)), (rounds, 1)), axis=1).reshape(-1)
    drawn = np.tile(background[shuffled[: permutations // 2]], (2, 1))
    known = np.argsort(orders, axis=1)[:, None, :] < np.arange(width + 1)[None, :, None]  # after k steps: those set
    walks = np.where(known, row, drawn[:, None, :])
    said = answer(walks.reshape(-1, width)).reshape(permutations, width + 1)
    steps = np.diff(said, axis=1)
    added = np.empty((permutations, width))
    np.put_along_axis(added, orders, steps, axis=1)
    pairs = (added[: permutations // 2] + added[permutations // 2 :]) / 2
    error = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.full(width, np.nan)
    return Attribution(added.mean(axis=0), error, float(said[0, -1]), float(said[:, 0].mean()))
