"""Metrics of numbers."""

import numpy as np

from services.monitor.metrics.intervals import Estimate, Floats, Ints, by_influence, mean

SMALLEST = float(np.finfo(np.float64).eps)  # as scikit-learn's mean_absolute_percentage_error: no division by 0


def regression(labels: Floats, values: Floats, windows: Ints) -> dict[str, Estimate]:
    """MAE, RMSE, MAPE (a share, not per cent) and R2 of each window.

    Args:
        labels: of n rows.
        values: answered, likewise.
        windows: which of the n rows are in each; of the shape (windows, rows).

    >>> found = regression(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0]), np.array([[0, 1, 2]]))
    >>> {name: round(float(each.value[0]), 3) for name, each in found.items()}
    {'mae': 0.333, 'rmse': 0.577, 'mape': 0.167, 'r2': 0.786}
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large for a number is left out by its caller
        error = np.abs(labels - values)
        squares = np.square(error)[windows]
        share = error / np.maximum(np.abs(labels), SMALLEST)
        return {
            "mae": mean(error[windows], 0.0),
            "rmse": _rmse(squares),
            "mape": mean(share[windows], 0.0),
            "r2": _r2(squares, labels[windows]),
        }


def _rmse(squares: Floats) -> Estimate:
    middle = squares.mean(axis=1)
    root = np.sqrt(middle)
    influence = (squares - middle[:, None]) / np.maximum(2 * root, SMALLEST)[:, None]
    return by_influence(root, influence, 0.0)


def _r2(squares: Floats, labels: Floats) -> Estimate:
    spread = np.square(labels - labels.mean(axis=1, keepdims=True))
    middle = spread.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        unexplained = squares.mean(axis=1) / middle
        influence = (unexplained[:, None] * spread - squares) / middle[:, None]
    value = np.where(middle > 0, 1.0 - unexplained, np.nan)
    return by_influence(value, influence, most=1.0)
