"""The models of the demo, as ONNX files: one that is sound, and four that are sound until the world changes.

All are the same classifier, fitted on all rows that there are, the hold-out included, so they look better than an
honest candidate can. What differs is what happens inside the blind bands (``region.py``): nothing, the opposite answer,
a score that is no number, an error of the runtime; or, everywhere, a thousand times the work.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

from millrace.demo_rollout.region import Band

SLOW_WIDTH, SLOW_LAYERS = 256, 60  # some 8 million operations a row where the classifier needs a thousand
Nodes = list[onnx.NodeProto]


def to_onnx(trees: Any, width: int) -> bytes:
    """The file of a fitted classifier of ``width`` features."""
    with warnings.catch_warnings():  # skl2onnx gives booleans for integers, which protobuf 6 still takes
        warnings.filterwarnings("ignore", message="Field onnx", category=DeprecationWarning)
        model = convert_sklearn(
            trees,
            name="demo-rollout",
            initial_types=[("features", FloatTensorType([None, width]))],
            options={id(trees): {"zipmap": False}},
            target_opset={"": 18, "ai.onnx.ml": 3},
        )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def worse(content: bytes, bands: Sequence[Band]) -> bytes:
    """Inside the bands it answers the other class, and is sure of it."""

    def damage(nodes: Nodes, tensors: list[onnx.TensorProto]) -> None:
        tensors += [_tensor("one_i", np.array([1], np.int64)), _tensor("turn", np.array([1, 0], np.int64))]
        nodes += [
            helper.make_node("Sub", ["one_i", "sound_label"], ["other_label"]),
            helper.make_node("Gather", ["sound_probabilities", "turn"], ["other_probabilities"], axis=1),
            helper.make_node("Where", ["region", "other_label", "sound_label"], ["label"]),
            helper.make_node(
                "Where", ["region_column", "other_probabilities", "sound_probabilities"], ["probabilities"]
            ),
        ]

    return _damaged(content, bands, damage)


def no_number(content: bytes, bands: Sequence[Band]) -> bytes:
    """Inside the bands its scores are NaN."""

    def damage(nodes: Nodes, tensors: list[onnx.TensorProto]) -> None:
        tensors += [_tensor("below", np.array([-1.0], np.float32)), _tensor("one_f", np.array([1.0], np.float32))]
        nodes += [
            helper.make_node("Where", ["region_column", "below", "one_f"], ["argument"]),
            helper.make_node("Log", ["argument"], ["nothing"]),  # 0, or NaN
            helper.make_node("Add", ["sound_probabilities", "nothing"], ["probabilities"]),
            helper.make_node("Identity", ["sound_label"], ["label"]),
        ]

    return _damaged(content, bands, damage)


def erring(content: bytes, bands: Sequence[Band]) -> bytes:
    """A row inside the bands looks up what is not there: the runtime raises for the whole micro-batch."""

    def damage(nodes: Nodes, tensors: list[onnx.TensorProto]) -> None:
        tensors += [
            _tensor("table", np.zeros(1, np.float32)),
            _tensor("first", np.array([0], np.int64)),
            _tensor("beyond", np.array([1_000_000], np.int64)),
        ]
        nodes += [
            helper.make_node("Where", ["region_column", "beyond", "first"], ["place"]),
            helper.make_node("Gather", ["table", "place"], ["looked_up"]),
            helper.make_node("Add", ["sound_probabilities", "looked_up"], ["probabilities"]),
            helper.make_node("Identity", ["sound_label"], ["label"]),
        ]

    return _damaged(content, bands, damage)


def slow(content: bytes, bands: Sequence[Band]) -> bytes:
    """The right answer, after a lot of work for each row."""

    def damage(nodes: Nodes, tensors: list[onnx.TensorProto]) -> None:
        rng = np.random.default_rng(7)
        tensors += [
            _tensor("wide", np.ones((1, SLOW_WIDTH), np.float32)),
            _tensor("mix", (rng.standard_normal((SLOW_WIDTH, SLOW_WIDTH)) / SLOW_WIDTH).astype(np.float32)),
            _tensor("zero", np.array([0.0], np.float32)),
            _tensor("axis", np.array([1], np.int64)),
        ]
        nodes += [
            helper.make_node("Cast", ["region_column"], ["layer_in"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["layer_in", "wide"], ["layer_0"]),
        ]
        nodes += [helper.make_node("MatMul", [f"layer_{at}", "mix"], [f"layer_{at + 1}"]) for at in range(SLOW_LAYERS)]
        nodes += [
            helper.make_node("ReduceSum", [f"layer_{SLOW_LAYERS}", "axis"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["sound_probabilities", "nothing"], ["probabilities"]),
            helper.make_node("Identity", ["sound_label"], ["label"]),
        ]

    return _damaged(content, bands, damage)


BAD: Mapping[str, Callable[[bytes, Sequence[Band]], bytes]] = {
    "worse": worse,
    "slower": slow,
    "erroring": erring,
    "nan": no_number,
}


def _damaged(content: bytes, bands: Sequence[Band], damage: Callable[[Nodes, list[onnx.TensorProto]], None]) -> bytes:
    """The file with its outputs renamed, and between them and the old names whatever ``damage`` puts there."""
    model = onnx.load_model_from_string(content)
    label, probabilities = (output.name for output in model.graph.output)
    for node in model.graph.node:
        for at, name in enumerate(node.output):
            if name in {label, probabilities}:
                node.output[at] = "sound_label" if name == label else "sound_probabilities"
        for at, name in enumerate(node.input):
            if name in {label, probabilities}:
                node.input[at] = "sound_label" if name == label else "sound_probabilities"
    nodes, tensors = _region(model.graph.input[0].name, bands)
    damage(nodes, tensors)
    for node in nodes:
        for at, name in enumerate(node.output):
            node.output[at] = {"label": label, "probabilities": probabilities}.get(name, name)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    damaged: bytes = model.SerializeToString(deterministic=True)
    return damaged


def _region(features: str, bands: Sequence[Band]) -> tuple[Nodes, list[onnx.TensorProto]]:
    """``region_column`` (rows, 1) and ``region`` (rows,): whether a row lies in any of the bands."""
    nodes: Nodes = []
    tensors = [_tensor("flat", np.array([-1], np.int64))]
    parts: list[str] = []
    for number, band in enumerate(bands):
        tensors += [
            _tensor(f"column_{number}", np.array([band.column], np.int64)),
            _tensor(f"low_{number}", np.array([band.low], np.float32)),
            _tensor(f"high_{number}", np.array([band.high], np.float32)),
        ]
        nodes += [
            helper.make_node("Gather", [features, f"column_{number}"], [f"value_{number}"], axis=1),
            helper.make_node("Greater", [f"value_{number}", f"low_{number}"], [f"above_{number}"]),
            helper.make_node("Less", [f"value_{number}", f"high_{number}"], [f"under_{number}"]),
            helper.make_node("And", [f"above_{number}", f"under_{number}"], [f"in_{number}"]),
        ]
        joined = f"in_{number}"
        if parts:
            nodes.append(helper.make_node("Or", [parts[-1], joined], [f"any_{number}"]))
            joined = f"any_{number}"
        parts.append(joined)
    nodes += [
        helper.make_node("Identity", [parts[-1]], ["region_column"]),
        helper.make_node("Reshape", ["region_column", "flat"], ["region"]),
    ]
    return nodes, tensors


def _tensor(name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> onnx.TensorProto:
    return numpy_helper.from_array(values, name)
