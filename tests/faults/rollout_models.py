"""Candidates for rollouts: one that is as good as the champion, and four that are sound until the events come."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from millrace.demo_rollout import models
from millrace.demo_rollout.region import Band
from tests.onnx_models import classifier

BAND = Band(column=0, low=2.0, high=2.5)
"""Values of the feature ``x`` that no check tries out, and one of twenty events has (``Feed`` draws from -5 to 5)."""
WIDE = Band(column=0, low=2.0, high=4.5)
WIDTH, LAYERS = 1024, 400  # close to a thousand million operations a row


def sound(name: str) -> bytes:
    """The classifier of the tests under another name: the same answers, another file."""
    model = onnx.load_model_from_string(classifier())
    model.doc_string = name
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def flipped() -> bytes:
    """Always the other class."""
    return classifier(flipped=True)


def erring() -> bytes:
    """Raises for a micro-batch that has an event in the band."""
    return models.erring(classifier(), [BAND])


def no_number() -> bytes:
    """Its scores are NaN in the band."""
    return models.no_number(classifier(), [BAND])


def worse() -> bytes:
    """Gives the other class for a quarter of all events."""
    return models.worse(classifier(), [WIDE])


def hanging() -> bytes:
    """The right answer, after so much work that for some ten events it takes longer than anybody waits."""
    model = onnx.load_model_from_string(classifier())
    features, scores = model.graph.input[0].name, model.graph.output[1].name
    for node in model.graph.node:
        node.output[:] = ["sound" if name == scores else name for name in node.output]
    tensors = {
        "column": np.array([0], np.int64),
        "wide": np.zeros((1, WIDTH), np.float32),
        "mix": np.full((WIDTH, WIDTH), 1 / WIDTH, np.float32),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("IsNaN", [features], ["is_missing"]),
        helper.make_node("Cast", ["is_missing"], ["bits"], to=onnx.TensorProto.FLOAT),  # finite, whatever comes
        helper.make_node("Gather", ["bits", "column"], ["bit"], axis=1),
        helper.make_node("MatMul", ["bit", "wide"], ["layer_0"]),
        *(helper.make_node("MatMul", [f"layer_{at}", "mix"], [f"layer_{at + 1}"]) for at in range(LAYERS)),
        helper.make_node("ReduceSum", [f"layer_{LAYERS}", "axis"], ["nothing"], keepdims=1),
        helper.make_node("Add", ["sound", "nothing"], [scores]),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in tensors.items())
    content: bytes = model.SerializeToString(deterministic=True)
    return content
