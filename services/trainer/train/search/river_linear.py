"""River's linear models and the scalers before them as ONNX operators, in double precision.

A scaler is x -> (x - shift) * factor, where a feature without any spread has factor 0. What is missing is 0 after the
scaling: a model that is given no value for a feature adds nothing for it.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from river import linear_model, optim, preprocessing

SCALERS = {one.__name__: one for one in (preprocessing.StandardScaler, preprocessing.MinMaxScaler)}
LINEAR = {
    one.__name__: one
    for one in (linear_model.LogisticRegression, linear_model.SoftmaxRegression, linear_model.LinearRegression)
}
NEVER = -1e300  # the score of a class that was never learned: its probability is 0

Floats = NDArray[np.float64]


class Builder(Protocol):
    """What is needed of a graph in the making."""

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node and return its output's name."""

    def constant(self, name: str, value: Any) -> str:
        """Add a tensor and return its name."""


def linear_problem(model: Any, classes: int) -> str | None:
    """Why a linear model cannot be written, up to the verb; None if it can."""
    name = type(model).__name__
    if name == "LogisticRegression" and classes != 2:
        return f"LogisticRegression for {classes} classes (it knows two; SoftmaxRegression knows more) is not"
    link = type(model.loss).mean_func
    if name == "LogisticRegression" and link is not optim.losses.BinaryLoss.mean_func:
        return f"LogisticRegression with the loss {type(model.loss).__name__} is not"
    if name == "LinearRegression" and link is not optim.losses.RegressionLoss.mean_func:
        return f"LinearRegression with the loss {type(model.loss).__name__} is not"
    return None


def scale(graph: Builder, scalers: tuple[Any, ...], names: tuple[str, ...], features: str) -> str:
    """Add the scalers, and zeros for what is missing; return the result's name, (rows, features) in double."""
    value = graph.node("Cast", [features], "double", to=TensorProto.DOUBLE)
    for at, scaler in enumerate(scalers):
        shift, factor = _standard(scaler, names) if hasattr(scaler, "means") else _min_max(scaler, names)
        moved = graph.node("Sub", [value, graph.constant(f"shift_{at}", shift)], f"moved_{at}")
        value = graph.node("Mul", [moved, graph.constant(f"factor_{at}", factor)], f"scaled_{at}")
    missing = graph.node("IsNaN", [value], "missing")
    return graph.node("Where", [missing, graph.constant("zero", np.float64(0.0)), value], "complete")


def linear_scores(graph: Builder, model: Any, names: tuple[str, ...], scaled: str, scores: str) -> None:
    """Add the model: probabilities of the classes, or the value."""
    if type(model).__name__ == "SoftmaxRegression":
        _softmax(graph, model, names, scaled, scores)
        return
    weights = np.array([[model.weights.get(name, 0.0)] for name in names], dtype=np.float64)
    logistic = type(model).__name__ == "LogisticRegression"
    dot = graph.node("MatMul", [scaled, graph.constant("weights", weights)], "dot")
    bias = graph.constant("intercept", np.float64(model.intercept))
    raw = graph.node("Add", [dot, bias], "raw" if logistic else scores)
    if logistic:
        yes = graph.node("Sigmoid", [raw], "yes")
        no = graph.node("Sub", [graph.constant("one", np.float64(1.0)), yes], "no")
        graph.node("Concat", [no, yes], scores, axis=1)


def _softmax(graph: Builder, model: Any, names: tuple[str, ...], scaled: str, scores: str) -> None:
    classes = range(1 + max(map(int, model.weights)))
    weights = [
        [model.weights[label].get(name, 0.0) if label in model.weights else 0.0 for label in classes] for name in names
    ]
    never = np.array([0.0 if label in model.weights else NEVER for label in classes])
    dot = graph.node("MatMul", [scaled, graph.constant("weights", np.array(weights, dtype=np.float64))], "dot")
    raw = graph.node("Add", [dot, graph.constant("never", never)], "raw")
    graph.node("Softmax", [raw], scores, axis=1)


def _standard(scaler: Any, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Of a rolling scaler the means and variances are objects, of a plain one numbers."""
    means = np.array([_number(scaler.means, name) for name in names])
    if not scaler.with_std:
        return means, np.ones(len(names))
    variances = np.array([_number(scaler.vars, name) for name in names])
    return means, _inverse(np.sqrt(variances))


def _min_max(scaler: Any, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    low = np.array([_number(scaler.min, name) for name in names])
    high = np.array([_number(scaler.max, name) for name in names])
    return low, _inverse(high - low)


def _number(statistics: Any, name: str) -> float:
    if name not in statistics:  # never seen a value: scaled to 0, whatever comes
        return 0.0
    one = statistics[name]
    return float(one.get() if hasattr(one, "get") else one)


def _inverse(spread: Floats) -> Floats:
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
