"""KSWIN: the newest rows against older ones of a sliding window, by the Kolmogorov-Smirnov test."""

from typing import Any, ClassVar

from river import drift

from services.monitor.detect.by_river import ByRiver, whole

KSWIN: Any = drift.KSWIN  # river's own annotations are incomplete


class Kswin(ByRiver):
    """Kolmogorov-Smirnov windowing, by river.

    Keeps the newest ``window_size`` rows. At each row it draws ``stat_size`` of the older ones at random and compares
    their distribution with that of the newest ``stat_size``, by the two-sample Kolmogorov-Smirnov test; a change is a
    p-value of at most ``alpha``. So it sees changes of scale and shape as well as of the mean, and only large ones:
    both samples are small.

    It tests anew at each row and corrects for nothing: ``alpha`` is no rate of false alarms. In simulations of
    50,000 independent normal rows the default gives 4 of them, river's own default of 0.005 gives 64. Each test costs
    0.3 ms, which is for streams of a few hundred rows a second. The draw is seeded, so that nothing is random.

    The evidence is the cut of all rows since the detector began whose means differ most, see ``split.History``; where
    only the shape changed, the two means say little.

    Parameters:
        alpha: p-value of one test below which it is a change, 0 to 1.
        window_size: rows in the sliding window; no test before it is full. 100 is river's default.
        stat_size: rows in each of the two samples; 30 is river's default.
        seed: of the draw.

    >>> import numpy as np
    >>> values = np.random.default_rng(7).normal(np.repeat([0, 2], 500))
    >>> [(place, round(change.before, 1), round(change.after, 1)) for place, change in Kswin().feed(values)]
    [(515, -0.1, 1.7)]

    References:
        C. Raab, M. Heusinger, F.-M. Schleif: Reactive Soft Prototype Computing for Concept Drift Streams.
        Neurocomputing 416, 2020, pp. 340-351.
    """

    name: ClassVar[str] = "KSWIN"

    def __init__(self, alpha: float = 0.0001, window_size: int = 100, stat_size: int = 30, seed: int = 7) -> None:
        super().__init__(
            {
                "alpha": alpha,
                "window_size": whole("window_size", window_size),
                "stat_size": whole("stat_size", stat_size),
                "seed": whole("seed", seed),
            }
        )

    def _new(self) -> Any:
        return KSWIN(**self._parameters)

    @property
    def _replayed(self) -> int:
        """The sliding window is all that it remembers; a longer replay would cost seconds."""
        return int(self._parameters["window_size"])
