"""The bars that a number's distribution is drawn with. Pure."""

import math

import numpy as np
from numpy.typing import NDArray

from millrace.data_report.report import Bars

Floats = NDArray[np.float64]
BARS = 28  # of a picture
DISTINCT_MAX = 12  # a number with no more different values has a bar for each
SHOWN_SHARE = 0.005  # of each window may lie beyond either end of its picture; it is drawn in the outermost bars
GRID_MAX = 200  # different values that may be steps of a grid
ROUNDED = 9  # digits of the range within which two values are one, and a value is on the grid


def bars_of(new: Floats, others: list[Floats]) -> Bars:
    """Bars that show all samples: one for each value where there are few, else equal ones over their middle 99 %.

    If the new values are steps of a grid (hours of a day, shares of 48), each bar has as many steps: else a comb would
    be seen that is only in the drawing.

    >>> bars_of(np.arange(24.0), []).edges[:3]
    (-0.5, 0.5, 1.5)
    """
    filled = [one for one in (new, *others) if len(one)]
    if not filled:
        return Bars()
    distinct = np.unique(np.concatenate([np.unique(one) for one in filled]))
    if len(distinct) <= DISTINCT_MAX:
        return Bars(values=tuple(distinct.tolist()))
    levels = (SHOWN_SHARE, 1 - SHOWN_SHARE)
    ends = np.array([np.quantile(one, levels, method="inverted_cdf") for one in filled])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if not low < high:
        low, high = float(distinct[0]), float(distinct[-1])
    if not math.isfinite(high - low):
        low, high = low / 4, high / 4  # numbers near the largest float: their middle is drawn
    edges = _on_grid(new, low, high)
    if edges is None:
        edges = np.linspace(low, high, BARS + 1)
    return Bars(edges=tuple(edges.tolist())) if np.all(np.diff(edges) > 0) else Bars(values=(low,))


def on_bars(seen: Floats, bars: Bars) -> Floats:
    """The share of the numbers in each bar."""
    if bars.values:
        places = np.clip(np.searchsorted(bars.values, seen), 0, len(bars.values) - 1)
        return np.bincount(places, minlength=len(bars.values)) / len(seen)
    edges = np.array(bars.edges)
    return np.histogram(np.clip(seen, edges[0], edges[-1]), edges)[0] / len(seen)


def _on_grid(values: Floats, low: float, high: float) -> Floats | None:
    """Edges between the steps of the values' grid; None if they are on none."""
    if not len(values):
        return None
    width = float(values.max() / 2 - values.min() / 2) * 2
    if not 0 < width < math.inf:
        return None
    distinct = np.unique(np.round((values - values.min()) / width, ROUNDED))
    if not DISTINCT_MAX < len(distinct) <= GRID_MAX:
        return None
    step = float(np.diff(distinct).min())
    steps = distinct / step
    if np.abs(steps - np.round(steps)).max() > 0.01:
        return None
    step = width / float(np.round(steps[-1]))
    first = float(values.min()) + math.floor((low - float(values.min())) / step + 0.01) * step - step / 2
    count = math.ceil((high - first) / step - 0.01)
    each = math.ceil(count / BARS)
    return first + step * each * np.arange(math.ceil(count / each) + 1, dtype=np.float64)
