"""Is the share of faulty events above its limit?"""

import math

from services.registry.rollout.betting import log_evidence

FAULTS_MIN = 3  # one or two may be the event's fault; a version that always fails reaches three at once
BETS = (0.8, 0.3, 0.1, 0.03, 0.01)  # for a limit of 1 %: finds shares from 80 % down to 2 % about as soon as can be


def is_above(faults: int, rows: int, limit: float, alpha: float) -> bool:
    """Whether the share of faults is shown to be above ``limit``, however often that is asked.

    How it works: the betting test on faults (1) and sound events (0). More faults never make it doubtful again. It
    assumes that the chance of a fault, given what was before, is at most ``limit`` for each event of a sound version;
    faults that come in bunches (a whole micro-batch) break that, towards rolling back.

    Parameters:
        faults: events with a fault.
        rows: events in all, these among them.
        limit: share that is allowed. With 0 a single fault is proof; with 1 nothing is.
        alpha: chance that a version within the limit is ever found to be above it.

    >>> [is_above(faults, rows, limit=0.01, alpha=0.05) for faults, rows in ((1, 1), (3, 3), (3, 300), (8, 200))]
    [False, True, False, True]

    References:
        I. Waudby-Smith, A. Ramdas: Estimating Means of Bounded Random Variables by Betting. Journal of the Royal
        Statistical Society B 86(1), 2024, pp. 1-27.
    """
    if limit <= 0:
        return faults > 0
    if limit >= 1 or faults < FAULTS_MIN:
        return False
    return log_evidence({0: max(rows - faults, 0), 1: faults}, limit, BETS) >= math.log(1 / alpha)
