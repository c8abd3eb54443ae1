"""A game of bets against "the mean is at most that": evidence that may be looked at at any time."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import mul

BETS = (0.9, 0.7, 0.5, 0.3, 0.15, 0.06)  # where 5 to 20 % of pairs differ, one of them is near the best


def log_evidence(counts: Mapping[float, int], limit: float, bets: Sequence[float] = BETS) -> float:
    """Logarithm of the e-value against "each row's expected value, given the rows before, is at most ``limit``".

    How it works: somebody who starts with 1 bets on each row that its value is above the limit. A bet of ``b``
    multiplies the capital by ``1 + b (value - limit) / (limit - lowest value)``, which is never negative. If the limit
    holds, each such game is unfavourable, so the capital is a supermartingale, and by Ville's inequality the
    chance that it *ever* reaches ``1/alpha`` is at most ``alpha``: whoever stops at any time, for any reason, errs no
    more often. The capital here is spread evenly over fixed bets; an average of such games is such a game.

    With fixed bets the order of the rows does not matter: the capital is a function of how often each value was
    seen. So counts of partitions may be added. It assumes bounded values and nothing about their distribution.
    More rows of a greater value in place of a smaller one never lower it.

    Parameters:
        counts: how often each possible value was seen; the least possible one has to be named, even if never seen.
        limit: what the mean is said to be at most; above the least value.
        bets: parts of the capital at stake, between 0 and 1. Small ones find small excesses, late; great ones find
            great excesses soon.

    Returns:
        The logarithm, so that long rows do not overflow; ``log(1 / alpha)`` and above rejects.

    The candidate was wrong where the champion was right on 17 of 120 events, right where it was wrong on 3:

    >>> round(math.exp(log_evidence({1: 17, 0: 100, -1: 3}, limit=0.0)))
    73
    >>> math.exp(log_evidence({1: 3, 0: 114, -1: 3}, limit=0.0)) < 1
    True

    References:
        J. Ville: Étude critique de la notion de collectif. Gauthier-Villars, 1939.
        I. Waudby-Smith, A. Ramdas: Estimating Means of Bounded Random Variables by Betting. Journal of the Royal
        Statistical Society B 86(1), 2024, pp. 1-27.
        A. Ramdas, P. Grünwald, V. Vovk, G. Shafer: Game-Theoretic Statistics and Safe Anytime-Valid Inference.
        Statistical Science 38(4), 2023, pp. 576-601.
    """
    games = _gains(tuple(counts), limit, tuple(bets))
    capitals: list[float] = [sum(map(mul, counts.values(), gains)) for gains in games]
    most = max(capitals)
    return most + math.log(sum(math.exp(one - most) for one in capitals) / len(bets))


@lru_cache(maxsize=256)  # a few limits, asked at each look
def _gains(values: tuple[float, ...], limit: float, bets: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """For each bet, what each value does to the logarithm of the capital."""
    room = limit - min(values)
    if room <= 0:
        raise ValueError(f"the limit must be above the least value {min(values):g}, got {limit:g}")
    return tuple(tuple(math.log1p(bet * (value - limit) / room) for value in values) for bet in bets)
