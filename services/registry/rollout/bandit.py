"""Thompson sampling: each variant's share is the chance that it is the best, as far as known."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from millrace.contracts.rollout_events import ArmMeasured
from services.registry.rollout import gaussian

POINTS = np.linspace(-8, 8, 101)  # of each posterior, in its standard deviations; exact to 0.001
DECIMALS = 4
Floats = npt.NDArray[np.float64]


def shares(arms: Mapping[str, ArmMeasured], metric: str, min_share: float) -> dict[str, float]:
    """The share of traffic for each variant.

    How it works: for accuracy each variant's chance to be wrong is Beta distributed after a uniform prior; for other
    metrics its mean loss is normal around the mean seen, with the variance of all variants over its rows. The share is
    the chance that a draw from a variant's posterior is the least of all (probability matching: what Thompson's rule
    does event by event), mixed with ``min_share`` for each. It is integrated and not drawn, so the same counts give
    the same shares. It assumes losses whose mean does not move while the bandit runs; where labels come late, shares
    follow what is known.

    Parameters:
        arms: labelled rows and losses of each variant.
        metric: of the gate.
        min_share: least share of a variant; 0 lets one starve, and 1 / variants and more makes all equal.

    >>> from services.registry.rollout.examples import arm
    >>> shares(
    ...     {
    ...         "champion": arm("champion", labelled_rows=300, loss_sum=40.0),
    ...         "arm-2": arm("arm-2", labelled_rows=300, loss_sum=28.0),
    ...     },
    ...     "accuracy",
    ...     min_share=0.05,
    ... )
    {'champion': 0.106, 'arm-2': 0.894}

    References:
        W. R. Thompson: On the Likelihood that One Unknown Probability Exceeds Another in View of the Evidence of Two
        Samples. Biometrika 25, 1933, pp. 285-294.
        O. Chapelle, L. Li: An Empirical Evaluation of Thompson Sampling. Advances in Neural Information Processing
        Systems 24, 2011, pp. 2249-2257.
    """
    names = list(arms)
    floor = min(min_share, 1 / len(names))
    best = _chances_to_be_least(arms, metric)
    found = {
        name: round(floor + (1 - floor * len(names)) * float(chance), DECIMALS)
        for name, chance in zip(names[1:], best[1:], strict=True)
    }
    return {names[0]: round(1 - sum(found.values()), DECIMALS), **found}


def expected_loss(arm: ArmMeasured, metric: str) -> float:
    """Posterior mean of a variant's loss; for accuracy half a wrong answer is known before the first row.

    >>> from services.registry.rollout.examples import arm
    >>> expected_loss(arm("candidate", labelled_rows=8, loss_sum=1.0), "accuracy")
    0.2
    """
    if metric == "accuracy":
        return (arm.loss_sum + 1) / (arm.labelled_rows + 2)
    return arm.loss_sum / arm.labelled_rows if arm.labelled_rows else math.inf


def _chances_to_be_least(arms: Mapping[str, ArmMeasured], metric: str) -> Floats:
    """The integral, for each variant, of its density times the chance that every other one is greater."""
    bounded = metric == "accuracy"
    posteriors = [_beta(arm) if bounded else _normal(arm, list(arms.values())) for arm in arms.values()]
    grid = np.sort(np.concatenate([middle + spread * POINTS for middle, spread in posteriors]))
    if bounded:
        grid = np.clip(grid, 1e-12, 1 - 1e-12)
    widths = _widths(grid)
    masses = np.stack(
        [
            _beta_density(arm, grid) if bounded else np.exp(-(((grid - middle) / spread) ** 2) / 2)
            for arm, (middle, spread) in zip(arms.values(), posteriors, strict=True)
        ]
    )
    masses *= widths
    masses /= masses.sum(axis=1, keepdims=True)
    above = 1 - np.cumsum(masses, axis=1) + masses / 2
    chances = np.array(
        [(masses[at] * np.delete(above, at, axis=0).prod(axis=0)).sum() for at in range(len(posteriors))]
    )
    return np.asarray(chances / chances.sum(), dtype=np.float64)


def _widths(grid: Floats) -> Floats:
    """Half of the way to both neighbours."""
    steps = np.diff(grid)
    return np.asarray((np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2, dtype=np.float64)


def _beta(arm: ArmMeasured) -> tuple[float, float]:
    """Mean and standard deviation of the chance to be wrong."""
    wrong, rows = arm.loss_sum + 1, arm.labelled_rows + 2
    mean = wrong / rows
    return mean, math.sqrt(max(mean * (1 - mean), 0.0) / (rows + 1))


def _beta_density(arm: ArmMeasured, grid: Floats) -> Floats:
    """Up to a factor."""
    logs = arm.loss_sum * np.log(grid) + max(arm.labelled_rows - arm.loss_sum, 0.0) * np.log1p(-grid)
    return np.asarray(np.exp(logs - logs.max()), dtype=np.float64)


def _normal(arm: ArmMeasured, every: list[ArmMeasured]) -> tuple[float, float]:
    """Mean and standard deviation of the mean loss. Where nothing is known, those of a row of any variant."""
    rows, total = sum(one.labelled_rows for one in every), sum(one.loss_sum for one in every)
    spread = math.sqrt(gaussian.variance_of(rows, total, sum(one.loss_squares_sum for one in every)))
    middle = arm.loss_sum / arm.labelled_rows if arm.labelled_rows else total / rows if rows else 0.0
    return middle, max(spread, 1e-12) / math.sqrt(max(arm.labelled_rows, 1))
