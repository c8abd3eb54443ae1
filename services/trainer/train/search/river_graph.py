"""A river model as an ONNX file: input ``features``; ``label`` and ``probabilities``, or ``variable``.

A model is a pipeline of scalers and one predictor. Linear models are computed in double precision, as river does;
trees in single precision, their thresholds rounded so that every comparison of float32 features comes out the same.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from river import compose

from services.trainer.train.export import OPSETS, metadata
from services.trainer.train.search.river_linear import LINEAR, SCALERS, linear_problem, linear_scores, scale
from services.trainer.train.search.river_trees import TREES, forest_of, forest_scores, tree_problem
from services.trainer.train.task import FitError, FitTask

IR_VERSION = 8  # the lowest for operator set 18; pinned, as the operator sets are
INPUT, SCORES = "features", "scores"
KNOWN = f"scalers {', '.join(SCALERS)}; {', '.join(LINEAR)}; {', '.join(TREES)}"


class Parts(NamedTuple):
    """A river model taken apart: its scalers, in order, and its predictor."""

    scalers: tuple[Any, ...]
    predictor: Any


class Graph:
    """An ONNX graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}_{kind}", **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Add a tensor, and return its name."""
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def require_known(model: Any, classes: int, names: tuple[str, ...] | None = None) -> None:
    """Refuse a model that cannot be written as ONNX; with the names of its features, also what it has learned.

    Raises:
        FitError: naming the class, or the setting of it, and what works; or it is random and has no seed.
    """
    scalers, predictor = take_apart(model)
    name = type(predictor).__name__
    problem = next((f"{type(one).__name__} is no scaler that is" for one in scalers if _name(one) not in SCALERS), None)
    if problem is None and name in LINEAR:
        problem = linear_problem(predictor, classes)
    elif problem is None and name in TREES:
        problem = f"{name} after {type(scalers[0]).__name__} is not" if scalers else tree_problem(predictor)
    elif problem is None:
        problem = f"{name} is not"
    if problem is not None:
        raise FitError(f"this river model cannot be served: {problem} written as ONNX. What can be: {KNOWN}")
    if getattr(predictor, "seed", 0) is None:
        raise FitError(f"river's {name} has no seed, so the run could not be repeated: give it the one that build gets")
    if names is not None and name in TREES:
        forest_of(predictor, classes, names)


def take_apart(model: Any) -> Parts:
    """Scalers and predictor of a river model."""
    if not isinstance(model, compose.Pipeline):
        return Parts((), model)
    steps = list(model.steps.values())
    return Parts(tuple(steps[:-1]), steps[-1])


def write(model: Any, names: tuple[str, ...], task: FitTask) -> bytes:
    """The ONNX file; the same bytes for the same model.

    Raises:
        FitError: the model cannot be written as ONNX.
    """
    classes = len(task.label.classes)
    require_known(model, classes)
    scalers, predictor = take_apart(model)
    graph = Graph()
    if type(predictor).__name__ in TREES:
        forest_scores(graph, forest_of(predictor, classes, names), INPUT, SCORES)
    else:
        scaled = scale(graph, scalers, names, INPUT)
        linear_scores(graph, predictor, names, scaled, SCORES)
    outputs = _outputs(graph, classes)
    features = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(names)])
    body = helper.make_graph(graph.nodes, task.model, [features], outputs, graph.tensors)
    domains = sorted({node.domain for node in graph.nodes})
    opsets = [helper.make_opsetid(domain, OPSETS[domain]) for domain in domains]
    file = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="millrace")
    helper.set_model_props(file, metadata(task))
    onnx.checker.check_model(file)
    content: bytes = file.SerializeToString(deterministic=True)
    return content


def _outputs(graph: Graph, classes: int) -> list[Any]:
    """From ``scores``, (rows, classes) or (rows, 1) in double precision, to what is served."""
    if not classes:
        graph.node("Cast", [SCORES], "variable", to=TensorProto.FLOAT)
        return [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
    graph.node("ArgMax", [SCORES], "label", axis=1, keepdims=0)
    graph.node("Cast", [SCORES], "probabilities", to=TensorProto.FLOAT)
    return [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes]),
    ]


def _name(step: Any) -> str:
    return type(step).__name__
