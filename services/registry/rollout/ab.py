"""Two versions on different events, judged once at a fixed horizon."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from millrace.contracts.rollout_events import ArmMeasured
from services.registry.rollout import gaussian
from services.registry.rollout.special import student_above, student_quantile

EXPECTED_MIN = 5.0  # of right and of wrong answers in each arm (Cochran's rule); with fewer, Fisher's exact test
ROWS_MIN = 2  # a variance needs two


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean losses of both, their difference (candidate minus champion) with its interval, and the chance of it.

    ``p`` is one-sided: the chance to see at least such an advantage if there is none. ``low`` and ``high`` enclose the
    difference with 1 - 2 alpha, so that ``p < alpha`` and ``high < 0`` say nearly the same.
    """

    test: str
    mean: float
    champion_mean: float
    difference: float
    low: float
    high: float
    p: float


def judge(arm: ArmMeasured, champion: ArmMeasured, metric: str, alpha: float) -> Outcome:
    """Is the candidate's mean loss below the champion's?

    How it works: for accuracy a two-proportion z-test with the pooled variance, and where fewer than five right or
    wrong answers are expected in an arm, Fisher's exact test; for other metrics Welch's t-test. It assumes independent
    rows, a horizon that was fixed before, and one look: it may not be asked again and again.

    Parameters:
        arm: the candidate's labelled rows, at least two.
        champion: the champion's, at least two.
        metric: of the gate.
        alpha: for the interval.

    >>> from services.registry.rollout.examples import arm
    >>> found = judge(
    ...     arm("candidate", labelled_rows=1000, loss_sum=80.0, loss_squares_sum=80.0),
    ...     arm("champion", labelled_rows=1000, loss_sum=110.0, loss_squares_sum=110.0),
    ...     "accuracy",
    ...     alpha=0.05,
    ... )
    >>> found.test, round(found.difference, 3), round(found.high, 3), round(found.p, 3)
    ('two-proportion z', -0.03, -0.008, 0.011)

    References:
        B. L. Welch: The Generalization of "Student's" Problem When Several Different Population Variances Are
        Involved. Biometrika 34, 1947, pp. 28-35.
        R. A. Fisher: The Logic of Inductive Inference. Journal of the Royal Statistical Society 98(1), 1935, pp. 39-82.
        W. G. Cochran: Some Methods for Strengthening the Common χ² Tests. Biometrics 10(4), 1954, pp. 417-451.
    """
    ours, theirs = arm.loss_sum / arm.labelled_rows, champion.loss_sum / champion.labelled_rows
    error = math.sqrt(_mean_variance(arm) + _mean_variance(champion))
    if metric == "accuracy":
        test, p = _proportions(arm, champion)
        reach = NormalDist().inv_cdf(1 - alpha) * error
    else:
        degrees = _degrees(arm, champion)
        test, p = "Welch t", _welch(ours - theirs, error, degrees)
        reach = student_quantile(alpha, degrees) * error
    return Outcome(test, ours, theirs, ours - theirs, ours - theirs - reach, ours - theirs + reach, p)


def p_worse(arm: ArmMeasured, champion: ArmMeasured) -> float:
    """Whether the candidate is worse, asked while the test is under way: valid however often one looks.

    How it works: the difference of means is asymptotically a mean of independent contributions, of which ``gaussian``
    gives an anytime-valid test. It can only end a test in the champion's favour, so it spends nothing of the chance of
    a false promotion at the horizon.

    References:
        I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas: Time-Uniform Central Limit Theory and
        Asymptotic Confidence Sequences. Annals of Statistics 52(6), 2024, pp. 2613-2640, section 3.
    """
    if min(arm.labelled_rows, champion.labelled_rows) < gaussian.ROWS_MIN:
        return 1.0
    rows = arm.labelled_rows + champion.labelled_rows
    difference = arm.loss_sum / arm.labelled_rows - champion.loss_sum / champion.labelled_rows
    variance = rows * (_mean_variance(arm) + _mean_variance(champion))
    found = gaussian.log_evidence(rows, difference, variance, 0.0)
    return 1.0 if found <= 0 else math.exp(-found)


def _mean_variance(arm: ArmMeasured) -> float:
    """Variance of the mean, from the unbiased variance of a row."""
    rows = arm.labelled_rows
    return gaussian.variance_of(rows, arm.loss_sum, arm.loss_squares_sum) / (rows - 1)


def _proportions(arm: ArmMeasured, champion: ArmMeasured) -> tuple[str, float]:
    rows, others = arm.labelled_rows, champion.labelled_rows
    wrong = arm.loss_sum + champion.loss_sum
    share = wrong / (rows + others)
    if min(share, 1 - share) * min(rows, others) < EXPECTED_MIN:
        return "Fisher exact", _fisher(round(arm.loss_sum), rows, round(wrong), rows + others)
    error = math.sqrt(share * (1 - share) * (1 / rows + 1 / others))
    return "two-proportion z", NormalDist().cdf((arm.loss_sum / rows - champion.loss_sum / others) / error)


def _fisher(ours: int, rows: int, wrong: int, all_rows: int) -> float:
    """Chance that at most ``ours`` of the ``wrong`` fall among ``rows`` of ``all_rows``, if chance distributes them.

    >>> round(_fisher(1, 10, 11, 20), 4)  # 1 of 10 against 10 of 10
    0.0001
    """
    least = max(0, wrong - (all_rows - rows))
    ways = sum(math.comb(rows, k) * math.comb(all_rows - rows, wrong - k) for k in range(least, ours + 1))
    return ways / math.comb(all_rows, wrong)


def _degrees(arm: ArmMeasured, champion: ArmMeasured) -> float:
    """Welch's and Satterthwaite's degrees of freedom."""
    ours, theirs = _mean_variance(arm), _mean_variance(champion)
    if ours + theirs == 0:
        return 1.0
    share = ours / (ours + theirs)  # of the variance: squares of the variances themselves may be too great for a double
    return 1 / (share**2 / (arm.labelled_rows - 1) + (1 - share) ** 2 / (champion.labelled_rows - 1))


def _welch(difference: float, error: float, degrees: float) -> float:
    if error == 0:  # all losses are equal in each arm
        return 0.0 if difference < 0 else 1.0
    return student_above(-difference / error, degrees)
