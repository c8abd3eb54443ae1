"""The candidate and the champion on the same labelled events: is it worse, is it good enough?"""

import math
from dataclasses import dataclass

from millrace.contracts.rollout_events import ArmMeasured, PairMeasured
from services.registry.rollout import betting, gaussian


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of the difference of mean losses, candidate minus champion.

    ``p_worse`` bounds the chance of such evidence at any time for a candidate that is not worse; ``p_good`` that for
    one that is worse by ``margin`` or more. Both are valid however often one looks.
    """

    rows: int
    difference: float
    margin: float
    p_worse: float
    p_good: float

    def is_worse(self, alpha: float) -> bool:
        """Shown to be worse, and by more than the margin as far as seen."""
        return self.p_worse <= alpha and self.difference > self.margin

    def is_good(self, alpha: float) -> bool:
        """Shown to be not worse by the margin."""
        return self.p_good <= alpha


def compare(pair: PairMeasured, metric: str, margin: float, champion: ArmMeasured | None = None) -> Comparison:
    """Two sequential tests on the differences of paired losses.

    How it works: two hypotheses are tested at once, each by an e-process that is a function of sums: "the candidate is
    not worse" (if it falls, and the difference seen is above the margin, roll back), and "the candidate is worse by the
    margin or more" (if it falls, the candidate may be promoted: non-inferiority). A good candidate is thus rolled
    back with a chance of at most alpha, and one that is too bad promoted with a chance of at most alpha, whenever
    one looks. Testing "worse" against equality and not against the margin finds a bad one in a quarter of the rows;
    one that is worse by less than the margin is left alone as long as it looks so.

    For accuracy a difference is -1, 0 or 1, and the bets of ``betting.py`` need only the counts; for other metrics the
    asymptotic test of ``gaussian.py`` needs number, sum and sum of squares. Both assume that the expected difference,
    given the past, stays on its side of the hypothesis. Differences that come in bunches of one sign break that: with
    bunches of 2.5 events some 12 % of equal candidates are rolled back at alpha 0.05, not under 1 % (benchmark).

    Parameters:
        pair: counts and sums of losses; for ``rmse`` they are squared errors.
        metric: of the gate.
        margin: how much worse is tolerated, in the metric's unit. With 0 only a better candidate is good.
        champion: its own losses; ``rmse`` needs them to translate the margin into squared errors.

    >>> from services.registry.rollout.examples import pair
    >>> bad = compare(pair(120, worse=17, better=3), "accuracy", margin=0.02)
    >>> bad.is_worse(0.05), bad.is_good(0.05)
    (True, False)
    >>> equal = compare(pair(240, worse=6, better=6), "accuracy", margin=0.05)
    >>> equal.is_worse(0.05), equal.is_good(0.05)
    (False, True)

    References:
        I. Waudby-Smith, A. Ramdas: Estimating Means of Bounded Random Variables by Betting. Journal of the Royal
        Statistical Society B 86(1), 2024, pp. 1-27.
        S. Wellek: Testing Statistical Hypotheses of Equivalence and Noninferiority. Chapman and Hall, 2nd ed., 2010.
    """
    rows = pair.paired_rows
    difference = pair.difference_sum / rows if rows else 0.0
    if metric == "accuracy":
        same = max(rows - pair.worse_rows - pair.better_rows, 0)
        worse = betting.log_evidence({1: pair.worse_rows, 0: same, -1: pair.better_rows}, 0.0)
        good = -math.inf
        if margin < 1:
            good = betting.log_evidence({1: pair.better_rows, 0: same, -1: pair.worse_rows}, -margin)
    else:
        if metric == "rmse":
            margin = _squared(margin, champion)
        variance = gaussian.variance_of(rows, pair.difference_sum, pair.difference_squares_sum)
        worse = gaussian.log_evidence(rows, difference, variance, 0.0)
        good = gaussian.log_evidence(rows, -difference, variance, -margin)
    return Comparison(rows, difference, margin, _p(worse), _p(good))


def _squared(margin: float, champion: ArmMeasured | None) -> float:
    """The margin in squared errors: (r + margin)² - r², r the champion's rmse so far."""
    known = champion is not None and champion.labelled_rows > 0
    mean = champion.loss_sum / champion.labelled_rows if known and champion is not None else 0.0
    return margin * (2 * math.sqrt(max(mean, 0.0)) + margin)


def _p(log_evidence: float) -> float:
    return 1.0 if log_evidence <= 0 else math.exp(-log_evidence)
