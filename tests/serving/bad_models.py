"""ONNX files made by hand: a small classifier, what may be wrong with it, and ones that only misbehave in service.

The classifier has three features and two classes and says yes where the first feature is positive, as
``tests.onnx_models.classifier`` does.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from millrace.contracts.golden import Golden
from services.serving.score import Model

NAN, INF = float("nan"), float("inf")
LABEL = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
SCORES = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
TRIGGER = 7.0  # the value of the first feature at which the models of :func:`misbehaving` do


def node(kind: str, given: str, gives: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names of edges are separated by blanks."""
    return helper.make_node(kind, given.split(), gives.split(), **attributes)


def tensor(name: str, values: Any, kind: type = np.float32) -> onnx.TensorProto:
    """A tensor."""
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def features(width: int | None = 3, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """The input."""
    return helper.make_tensor_value_info("features", kind, [None, width])


WEIGHTS = tensor("weights", [[-3.0, 3.0], [0.0, 0.0], [0.0, 0.0]])
NOUGHT = tensor("nought", 0.0)
FILL = [node("IsNaN", "features", "missing"), node("Where", "missing nought features", "filled")]
LOGITS = node("MatMul", "filled weights", "logits")
SOFTMAX = node("Softmax", "logits", "probabilities", axis=1)
ARGMAX = node("ArgMax", "logits", "label", axis=1, keepdims=0)


def network(
    *nodes: onnx.NodeProto, tensors: Sequence[onnx.TensorProto] = (WEIGHTS,), inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] = (LABEL, SCORES), opset: int = 18, ml: int = 3, ir: int = 9,
) -> onnx.ModelProto:  # fmt: skip
    """A model of these nodes, after those that fill what is missing with 0 where one of them asks for it."""
    if any("filled" in one.input for one in nodes):
        nodes, tensors = (*FILL, *nodes), [*tensors, NOUGHT]
    graph = helper.make_graph(list(nodes), "g", [features()] if inputs is None else inputs, outputs, list(tensors))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def good(**changes: Any) -> onnx.ModelProto:
    """The classifier."""
    return network(LOGITS, SOFTMAX, ARGMAX, **changes)


@cache
def golden(width: int = 3, rows: int = 32) -> bytes:
    """Golden records of the classifier."""
    drawn = np.random.default_rng(3).normal(size=(rows, 3))
    answers = Model(good().SerializeToString(), width=3, classes=2).score(drawn)
    return Golden(drawn[:, :width].astype(np.float32), answers.values, answers.scores).to_bytes()


def _changed(change: Callable[[onnx.ModelProto], object], model: onnx.ModelProto | None = None) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(good() if model is None else model)
    change(changed)
    return changed


def _external(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")


def _in_branch(kind: str) -> onnx.ModelProto:
    """The classifier with a node that holds a graph of its own."""
    body = helper.make_graph(
        [node("Identity", "again", "go"), node("Identity", "logits_in", "logits_out")], "body",
        [helper.make_tensor_value_info("count", TensorProto.INT64, []),
         helper.make_tensor_value_info("again", TensorProto.BOOL, []),
         helper.make_tensor_value_info("logits_in", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("logits_out", TensorProto.FLOAT, None)],
    )  # fmt: skip
    branch = helper.make_graph(
        [node("Identity", "first", "chosen")], "branch", [], [helper.make_tensor_value_info("chosen", 1, None)]
    )
    held = {
        "Loop": node("Loop", "times go_on first", "logits", body=body),
        "If": node("If", "go_on", "logits", then_branch=branch, else_branch=branch),
    }[kind]
    tensors = [WEIGHTS, tensor("times", 2**62, np.int64), tensor("go_on", 1, np.bool_)]
    first = node("MatMul", "filled weights", "first")
    return network(first, held, SOFTMAX, ARGMAX, tensors=tensors)


def _linear_classifier(coefficients: list[float], classes: list[int]) -> onnx.ModelProto:
    """As scikit-learn's logistic regression is exported."""
    linear = helper.make_node(
        "LinearClassifier", ["features"], ["label", "probabilities"], domain="ai.onnx.ml", coefficients=coefficients,
        intercepts=[0.0, 0.0], classlabels_ints=classes, post_transform="SOFTMAX",
    )  # fmt: skip
    return network(linear, tensors=())


def _zipmap() -> onnx.ModelProto:
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )
    maps = helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    outputs = [LABEL, helper.make_value_info("maps", kind)]
    return network(LOGITS, node("Softmax", "logits", "scores", axis=1), ARGMAX, maps, outputs=outputs)


def _trained(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.CopyFrom(model.graph)


def _sparse(model: onnx.ModelProto) -> None:
    values, places = tensor("extra", [1.0]), tensor("extra_places", [0], np.int64)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [6]))


def _function(model: onnx.ModelProto) -> None:
    made = helper.make_function("", "Mine", ["a"], ["b"], [node("Identity", "a", "b")], [helper.make_opsetid("", 18)])
    model.functions.append(made)


def _cut_tensor(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-5]


SHIFT = tensor("one", [1], np.int64)
MANY = [node("Identity", "logits" if n == 0 else f"step{n - 1}", f"step{n}") for n in range(200)]
TEXT = helper.make_tensor_value_info("label", TensorProto.STRING, [None])
WIDE = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, None])
FIRST = node("ArgMax", "logits", "first", axis=1, keepdims=0)
AS_TEXT = [LOGITS, SOFTMAX, FIRST, node("Cast", "first", "label", to=TensorProto.STRING)]
GATHER = node("Gather", "steps place", "odd")
PLACE = [node("Slice", "features zero one axis", "x"), node("Cast", "x", "place", to=TensorProto.INT64), GATHER]
PLACES = [
    WEIGHTS, tensor("zero", [0], np.int64), SHIFT, tensor("axis", [1], np.int64), tensor("steps", [0.0, 0.0]),
]  # fmt: skip

BAD: dict[str, tuple[onnx.ModelProto | bytes, str]] = {
    "empty": (b"", "not a valid ONNX file"),
    "garbage": (b"\x00\xff" * 40, "not a valid ONNX file"),
    "text": (b"{'model': 'hello'}" * 9, "not a valid ONNX file"),
    "cut short": (good().SerializeToString()[:-40], "not a valid ONNX file"),
    "a flipped bit in an operator's name": (
        good().SerializeToString().replace(b"Softmax", b"Sogtmax"), "not a valid ONNX file.*Sogtmax"
    ),
    "no graph": (onnx.ModelProto(ir_version=9), "not a valid ONNX file"),
    "no order": (network(ARGMAX, SOFTMAX, LOGITS), "not a valid ONNX file.*topologic"),
    "unknown operator": (network(LOGITS, node("NoSuch", "logits", "probabilities"), ARGMAX), "NoSuch"),
    "opset too new": (good(opset=27), "opset 27 of ai.onnx, up to 26"),
    "opset of ai.onnx.ml too new": (good(ml=6), "opset 6 of ai.onnx.ml, up to 5"),
    "IR too new": (good(ir=14), "IR version 14, up to 13"),
    "operator of a foreign domain": (
        network(LOGITS, node("Shell", "logits", "probabilities", domain="evil"), ARGMAX), r"the domains \['evil'\]"
    ),
    "a foreign domain is asked for": (
        _changed(lambda model: model.opset_import.append(helper.make_opsetid("evil", 1))), r"the domains \['evil'\]"
    ),
    "a function": (_changed(_function), "functions of its own"),
    "external tensor": (_changed(_external), "'weights' lies outside the file"),
    "tensor shorter than its shape": (_changed(_cut_tensor), "ONNX|not what it says"),
    "sparse tensor": (_changed(_sparse), "sparse"),
    "training part": (_changed(_trained), "training part"),
    "loop": (_in_branch("Loop"), r"\['Loop'\]"),
    "branch": (_in_branch("If"), r"\['If'\]"),
    "too many nodes": (network(LOGITS, SOFTMAX, ARGMAX, *MANY), "205 nodes, at most 100"),
    "too large": (good(tensors=[WEIGHTS, tensor("ballast", np.zeros(40_000))]), "bytes, at most 100000"),
    "NaN weight": (good(tensors=[tensor("weights", [[NAN, 1], [0, 0], [0, 0]])]), "weights holds NaN"),
    "NaN half-precision weight": (good(tensors=[WEIGHTS, tensor("half", [NAN], np.float16)]), "half holds NaN"),
    "NaN in a constant": (
        network(node("Constant", "", "weights", value=tensor("c", [[NAN, 1], [0, 0], [0, 0]])), LOGITS, SOFTMAX, ARGMAX,
                tensors=()), "c holds NaN",
    ),
    "NaN coefficient": (_linear_classifier([0, 0, 0, NAN, 0, 0], [0, 1]), "coefficients holds NaN"),
    "infinite weight": (good(tensors=[tensor("weights", [[INF, 1], [0, 0], [0, 0]])]), "for a row of zeros"),
    "too wide": (
        good(inputs=[features(4)], tensors=[tensor("weights", np.zeros((4, 2)))]), "width 3 is needed"
    ),
    "one row only": (good(inputs=[helper.make_tensor_value_info("features", 1, [1, 3])]), "cannot score rows|needed"),
    "an input of doubles": (good(inputs=[features(kind=TensorProto.DOUBLE)]), "ONNX|onnxruntime refuses"),
    "an input of strings": (good(inputs=[features(kind=TensorProto.STRING)]), "'features' holds strings"),
    "two inputs": (
        network(LOGITS, node("Add", "logits extra", "sum"), node("Softmax", "sum", "probabilities", axis=1), ARGMAX,
                inputs=[features(), helper.make_tensor_value_info("extra", 1, [None, 2])]), "the model takes .*extra",
    ),
    "maps as scores": (_zipmap(), "'maps' is a sequence_type"),
    "classes as text": (network(*AS_TEXT, outputs=[TEXT, SCORES]), "'label' holds strings"),
    "no scores": (good(outputs=[LABEL]), "one output"),
    "scores of three classes": (
        good(tensors=[tensor("weights", np.eye(3))], outputs=[LABEL, WIDE]), r"scores of shape \(2, 3\)"
    ),
    "a class too many": (
        network(LOGITS, SOFTMAX, FIRST, node("Add", "first two", "label"),
                tensors=[WEIGHTS, tensor("two", 2, np.int64)]), r"answers with the classes \[2.0\]",
    ),
    "classes from 1": (_linear_classifier([0.0] * 6, [1, 2]), r"numbers its classes \[1, 2\]"),
    "one answer for all rows": (
        network(LOGITS, SOFTMAX, node("ArgMax", "logits", "label", axis=0, keepdims=0)), "cannot score|answers"
    ),
    "no answer to what is missing": (
        network(LOGITS, SOFTMAX, ARGMAX, *PLACE, tensors=PLACES), "cannot score rows of zeros, ones and missing values"
    ),
}  # fmt: skip


@cache
def misbehaving(how: str) -> bytes:
    """A classifier that passes every check and, where the first feature is 7, does this: error, nan, class."""
    base = [node("Slice", "features zero one axis", "x"), node("Equal", "x trigger", "is"), LOGITS]
    tensors = [
        WEIGHTS, tensor("zero", [0], np.int64), tensor("one", [1], np.int64), tensor("axis", [1], np.int64),
        tensor("trigger", [[TRIGGER]]), tensor("nine", [[9]], np.int64), tensor("steps", [0.0]),
        tensor("minus", [[-1.0]]), tensor("plus", [[1.0]]), tensor("flat", [-1], np.int64),
    ]  # fmt: skip
    is_number = [node("Cast", "is", "number", to=TensorProto.INT64), node("Mul", "number nine", "far")]
    ways = {
        "error": [
            *is_number, node("Gather", "steps far", "none"), node("Add", "logits none", "sum"),
            node("Softmax", "sum", "probabilities", axis=1), ARGMAX,
        ],
        "nan": [
            node("Where", "is minus plus", "sign"), node("Sqrt", "sign", "root"), node("Mul", "logits root", "product"),
            node("Softmax", "product", "probabilities", axis=1), ARGMAX,
        ],
        "class": [
            *is_number, node("Reshape", "far flat", "more"), SOFTMAX,
            node("ArgMax", "logits", "first", axis=1, keepdims=0), node("Add", "first more", "label"),
        ],
    }  # fmt: skip
    used = {name for one in (*base, *ways[how]) for name in one.input}
    return network(*base, *ways[how], tensors=[one for one in tensors if one.name in used]).SerializeToString()


def busy(times: int, size: int) -> bytes:
    """The classifier, with so many products of large matrices beside it."""
    work = [
        node("ConstantOfShape", "shape", "large", value=tensor("c", [0.5])),
        node("Mul", "filled zero", "zeros"),  # so that nothing is computed in advance
        node("ReduceMax", "zeros", "least", keepdims=0),
        node("Add", "large least", "m0"),
    ]
    work += [node("MatMul", f"m{n} m0", f"m{n + 1}") for n in range(times)]
    work += [node("ReduceMax", f"m{times}", "most", keepdims=0), node("Mul", "most zero", "nothing")]
    work += [LOGITS, node("Add", "logits nothing", "sum"), node("Softmax", "sum", "probabilities", axis=1), ARGMAX]
    tensors = [WEIGHTS, tensor("shape", [size, size], np.int64), tensor("zero", 0.0)]
    return network(*work, tensors=tensors).SerializeToString()


def as_bytes(model: onnx.ModelProto | bytes) -> bytes:
    """The file."""
    return model if isinstance(model, bytes) else model.SerializeToString()
