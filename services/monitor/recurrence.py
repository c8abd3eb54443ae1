"""Recurring drift: do the rows now look like those that an earlier version was trained on?

The rows now are those since the change began, the newest 100 at least and the newest 500 at most.

**Distance.** Each feature is cut at the deciles of the training rows and at those of the rows now; a missing value is
a bin of its own. The Jensen-Shannon divergence of the two histograms, in bits, is 0 for equal ones and 1 for two that
have nothing in common. Samples of one and the same distribution have, on average,
``(bins - 1) / (8 ln 2) * (1/n + 1/m)``; that much is taken off, and what is left, if anything, is summed over the
features.

**Rule.** An earlier champion of the partition is offered back if its training rows are at most half as far from the
rows now as the champion's own, and these are at least 0.1 bits away (one feature that moves by 0.8 of its standard
deviation): so a change of the inputs is there, and an earlier state explains most of it. The nearest is named;
of equals the newest.

What it cannot see: a concept that comes back under inputs that look the same. Offering is all that it does: an operator
decides, or the retrain that was asked for beside it.

References:
    J. Lin: Divergence Measures Based on the Shannon Entropy. IEEE Transactions on Information Theory 37 (1), 1991.
    J. Gama, I. Žliobaitė, A. Bifet, M. Pechenizkiy, A. Bouchachia: A Survey on Concept Drift Adaptation. ACM Computing
    Surveys 46 (4), 2014, section 3.3 on recurring contexts.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from millrace.contracts.profile import Profile
from services.monitor.frames import Floats, Ints

ROWS = 500  # newest rows that are compared, at most
ROWS_MIN = 100  # fewer say too little: chance alone gives them 0.01 bits a feature, and scatter around that
NEARER = 0.5
FAR_BITS = 0.1
DECILES = np.arange(11) / 10  # the ends among them


class Recurrence(NamedTuple):
    """An earlier version that fits the rows now, and both distances in bits."""

    version: int
    distance: float
    own_distance: float


def recurrence(
    profiles: Callable[[int], Profile | None], served: Iterable[int], champion: int, rows: Mapping[str, Floats]
) -> Recurrence | None:
    """The earlier champion to offer back, if there is one.

    Args:
        profiles: of the versions.
        served: versions that were champion before.
        champion: the one now.
        rows: features of the newest rows.
    """
    own = profiles(champion)
    if own is None or max(map(len, rows.values()), default=0) < ROWS_MIN:
        return None
    own_distance = distance(own.features, rows)
    if own_distance < FAR_BITS:
        return None
    known = ((version, profiles(version)) for version in served if version != champion)
    found = [(distance(profile.features, rows), -version) for version, profile in known if profile is not None]
    nearest, version = min(found, default=(math.inf, 0))
    return Recurrence(-version, nearest, own_distance) if nearest <= NEARER * own_distance else None


def distance(trained: Mapping[str, Floats], rows: Mapping[str, Floats]) -> float:
    """How far the rows are from the training rows, in bits, over the features that both have.

    >>> rng = np.random.default_rng(1)
    >>> before, same, later = rng.random(2000), rng.random(500), rng.random(500) + 1
    >>> round(distance({"x": before}, {"x": same}), 1), round(distance({"x": before}, {"x": later}), 1)
    (0.0, 1.0)
    """
    return math.fsum(_divergence(trained[name], rows[name]) for name in sorted(set(trained) & set(rows)))


def _divergence(before: Floats, after: Floats) -> float:
    """Jensen-Shannon divergence above what chance gives."""
    known = [part[np.isfinite(part)] for part in (before, after)]
    edges = np.unique(np.concatenate([np.quantile(part, DECILES) for part in known if len(part)] or [DECILES]))
    bins = len(edges) + 2
    first, second = (_shares(part, edges, bins) for part in (before, after))
    used = int(((first > 0) | (second > 0)).sum())
    chance = (used - 1) / (8 * math.log(2)) * (1 / len(before) + 1 / len(after))
    middle = (first + second) / 2
    return max(0.0, (_relative(first, middle) + _relative(second, middle)) / 2 - chance)


def _shares(part: Floats, edges: Floats, bins: int) -> Floats:
    places: Ints = np.searchsorted(edges, part).astype(np.int64)
    places[~np.isfinite(part)] = bins - 1
    shares: Floats = np.bincount(places, minlength=bins) / len(part)
    return shares


def _relative(part: Floats, middle: Floats) -> float:
    there = part > 0
    return float((part[there] * np.log2(part[there] / middle[there])).sum())
