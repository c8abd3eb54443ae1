"""Small ONNX models for tests, trained for real."""

import warnings
from functools import cache

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression


@cache
def classifier(width: int = 3, *, flipped: bool = False) -> bytes:
    """Says yes where the first feature is positive (or, flipped, where it is negative)."""
    rows = np.random.default_rng(1).normal(size=(400, width)).astype(np.float32)
    truth = (rows[:, 0] < 0) if flipped else (rows[:, 0] > 0)
    trees = HistGradientBoostingClassifier(max_iter=10, random_state=1).fit(rows, truth.astype(int))
    with warnings.catch_warnings(action="ignore"):  # skl2onnx 1.20 builds nodes in a way that newer onnx deprecates
        model = to_onnx(trees, rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    return model.SerializeToString()


@cache
def regressor(width: int = 3) -> bytes:
    """Gives the sum of the features."""
    rows = np.random.default_rng(1).normal(size=(100, width)).astype(np.float32)
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    with warnings.catch_warnings(action="ignore"):  # as above
        return to_onnx(model, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
