"""What detectors share that compare one share of rows with another, by Fisher's exact test."""

from services.monitor.detect.tables import many_drawn


def more(hits: int, window: int, before: int, reference: int) -> float:
    """The exact p-value of ``hits`` of ``window`` rows against ``before`` of ``reference`` rows, for a rise.

    >>> float(f"{more(10, 100, 0, 2000):.0e}")
    4e-14
    """
    return many_drawn(hits, window, hits + before, window + reference)


def least_share(level: float, window: int, before: int, reference: int) -> float:
    """The smallest share of the window's rows whose p-value for a rise is at most ``level``; 1 if none is.

    >>> least_share(0.001, 100, 0, 2000)
    0.03
    """
    low, high = 0, window + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if more(middle, window, before, reference) <= level else (middle, high)
    return min(high / window, 1.0) if window else 1.0
