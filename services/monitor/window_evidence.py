"""One decision from many p-values: what counts as a warning, and how often none is meant.

All windows are compared with one and the same sample of training rows. What that sample has by chance, every window is
compared with: the p-values of a model's windows are valid one by one, but not independent of each other, and a product
of evidence over windows, as Shiryaev and Roberts add it up, grows without end by the luck of the sample. (Simulated:
profiles of 2,000 rows, ten features that never change, windows of 5,000 rows, a threshold for one false warning in
10,000 windows: 8 of 10 models have one within 100.) So nothing is multiplied here:

1. Evidence adds up by pooling rows, not by multiplying p-values: the rows of each window are compared, of each two,
   four, eight and sixteen. A pool is due with its last window, so no window is twice in pools of one size. Each of
   these p-values counts in the size of both samples, whatever the windows before.
2. A p-value becomes an e-value: a number whose mean without a change is at most 1 (``e_values``).
3. The evidence of a stream at a window is the sum of the e-values of its pools that are due, over how many are due on
   average, ``1 + 1/2 + 1/4 + 1/8 + 1/16`` (``JUDGED``). The evidence of the window is the mean over all streams.
4. It is a warning if that is at least ``2 * false_alarm_windows``. By Markov's inequality the probability of that is at
   most the mean of the window's evidence, without a change, over ``2 * false_alarm_windows``. Within the first ``t``
   windows at most ``t / s`` pools of ``s`` windows are due (fewer where a stream forgot its own), so these means add
   up to at most ``t``, whatever the dependence between features, detectors, scores, pools and windows. A warning among
   them has a probability of at most ``t / (2 * false_alarm_windows)``. So the mean number of windows to a false warning
   is at least ``false_alarm_windows``: the sum over t of ``1 - t / (2 * false_alarm_windows)`` where it is positive.

If each pool were judged at each window, overlapping ones again and again, each e-value would have to be divided by 5 in
place of ``JUDGED``: the same promise for more work and less power. A pool of ``s`` may come up to ``s - 1`` windows
later than it could then.

References:
    V. Vovk, R. Wang: E-values: Calibration, Combination and Applications. Annals of Statistics 49 (3), 2021.
    J. Shin, A. Ramdas, A. Rinaldo: E-detectors. The New England Journal of Statistics in Data Science 2 (2), 2024.
    R. Wang, A. Ramdas: False Discovery Rate Control with E-values. Journal of the Royal Statistical Society B 84 (3),
    2022.
"""

import math
from typing import Any

import numpy as np

from services.monitor.detect.window import Floats

SCALES = (1, 2, 4, 8, 16)  # windows in a pool
JUDGED = sum(1 / scale for scale in SCALES)  # pools that are due at a window, on average
NAMED_FALSELY = 0.05  # the expected share of subjects that are named without having changed (e-BH), over all windows


def needed(false_alarm_windows: float) -> float:
    """The mean e-value that is a warning."""
    return 2 * false_alarm_windows


def due(number: int) -> list[int]:
    """The sizes of the pools that are due with the window of this number, the first being 1.

    >>> due(1), due(2), due(12), due(16)
    ([1], [1, 2], [1, 2, 4], [1, 2, 4, 8, 16])
    """
    return [scale for scale in SCALES if number % scale == 0]


def least_p_value(streams: int, false_alarm_windows: float) -> float:
    """The p-value below which a single pool of one stream is a warning alone. Smaller ones are no better.

    >>> f"{least_p_value(streams=50, false_alarm_windows=10_000):.0e}"
    '3e-08'
    """
    alone, least = needed(false_alarm_windows) * JUDGED * streams, 1e-9
    for _ in range(20):  # converges to seven digits in five steps
        least = 1 / (alone * (1 - math.log(least)))
    return least


def e_values(p_values: Any, least: float) -> Floats:
    """The e-values of p-values: ``1 / p`` over a constant, and no larger than that of ``least``.

    Its integral over p from 0 to 1 is 1, so that it is the e-value of a p-value (a calibrator); the limit spends
    nothing on evidence that would decide nothing more.

    >>> e_values(np.array([0.001, 0.5, 0.0]), least=1e-6).round(2).tolist()
    [67.5, 0.13, 67496.83]
    """
    values: Floats = 1 / ((1 - math.log(least)) * np.maximum(np.asarray(p_values, float), least))
    return values


def named(evidence: Floats) -> list[int]:
    """Which streams carry the evidence, strongest first, by the e-BH procedure; the strongest always.

    >>> named(np.array([0.0, 900.0, 0.5, 400.0]))
    [1, 3]
    """
    order = np.argsort(-evidence, kind="stable")
    enough = evidence[order] * np.arange(1, len(order) + 1) >= len(order) / NAMED_FALSELY
    count = int(np.flatnonzero(enough)[-1]) + 1 if enough.any() else 1
    return [int(place) for place in order[:count]]
