"""Whether a model's file may be loaded at all: what the trainer writes, and nothing else. Bytes in, a refusal out.

Serving asks before it loads, the trainer before it judges a file from elsewhere, so that none is admitted in vain.

The rules, in the order in which they are tried:

- not larger than ``Limits.bytes_max``, and valid ONNX by ONNX's own checker;
- an opset and an IR version that this ONNX Runtime knows, operators of ONNX's own two domains only, no functions, no
  training part;
- no ``If``, ``Loop`` or ``Scan``: the trainer never writes them, a loop may run for ever, and a branch may hold for one
  input what the odd and golden records never see. (What takes long nevertheless is the probe's and the guard's matter.)
- not more than ``Limits.nodes_max`` nodes, all inputs and outputs plain tensors (no sequences, maps, strings);
- every tensor inside the file, no weight NaN, classes numbered 0 upwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from millrace.contracts.errors import ArtifactError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
OPSETS_MAX = {"": 26, "ai.onnx": 26, "ai.onnx.ml": 5}  # what ONNX Runtime 1.31 can load, tried one by one
IR_VERSION_MAX = 13  # the same
_FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16})


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a model may be. Our exports have some ten nodes; ten thousand of them would not be one of them."""

    bytes_max: int = 256 * 1024 * 1024
    nodes_max: int = 10_000


DEFAULT = Limits()


def check_file(content: bytes, limits: Limits = DEFAULT) -> None:
    """Refuse what no trainer of ours writes.

    Raises:
        ArtifactError: the first rule that it breaks, in words.
    """
    if len(content) > limits.bytes_max:
        raise ArtifactError(f"the model has {len(content)} bytes, at most {limits.bytes_max} are served")
    model = _parsed(content)
    _check_versions(model)
    nodes = list(_nodes(model.graph))
    _check_nodes(model, nodes, limits)
    _check_edges(model.graph)
    for tensor in _tensors(model.graph, nodes):
        _check_tensor(tensor)


def _parsed(content: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(content)
    except MemoryError:
        raise
    except Exception as error:  # protobuf raises several types on damaged bytes
        raise ArtifactError(f"not a valid ONNX file: {error}") from error
    foreign = {node.domain for node in _nodes(model.graph)} | {opset.domain for opset in model.opset_import}
    if foreign - DOMAINS or model.functions:  # before the checker, which knows no other domain and says so vaguely
        what = f"the domains {sorted(foreign - DOMAINS)}" if foreign - DOMAINS else "functions of its own"
        raise ArtifactError(f"the model uses {what}; such operators are not served, only ONNX's own")
    for tensor in _tensors(model.graph, list(_nodes(model.graph))):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ArtifactError(f"tensor {tensor.name!r} lies outside the file; a model must be whole")
    try:
        onnx.checker.check_model(model)
    except MemoryError:
        raise
    except Exception as error:  # the checker's own error, and what it lets through of protobuf's
        raise ArtifactError(f"not a valid ONNX file: {error}") from error
    return model


def _check_versions(model: Any) -> None:
    if model.ir_version > IR_VERSION_MAX:
        raise ArtifactError(f"the model has IR version {model.ir_version}, up to {IR_VERSION_MAX} are served")
    for opset in model.opset_import:
        if opset.version > OPSETS_MAX[opset.domain]:
            raise ArtifactError(
                f"the model has opset {opset.version} of {opset.domain or 'ai.onnx'}, up to "
                f"{OPSETS_MAX[opset.domain]} are served"
            )
    if model.training_info:
        raise ArtifactError("the model has a training part; a model to be served has none")


def _check_nodes(model: Any, nodes: Sequence[Any], limits: Limits) -> None:
    if len(nodes) > limits.nodes_max:
        raise ArtifactError(f"the model has {len(nodes)} nodes, at most {limits.nodes_max} are served")
    control = sorted({node.op_type for node in nodes} & CONTROL_FLOW)
    if control:
        raise ArtifactError(f"the model uses {control}; loops and branches are not served, they may run for ever")
    if model.graph.sparse_initializer:
        raise ArtifactError("the model has sparse tensors; they are not served")
    for node in nodes:
        for attribute in node.attribute:
            numbers = list(attribute.ints)
            if attribute.name.startswith("classlabels_int") and numbers != list(range(len(numbers))):
                raise ArtifactError(f"{node.name} numbers its classes {numbers}, 0 upwards is needed")
            _check_numbers(f"{node.name}.{attribute.name}", attribute.floats)


def _check_edges(graph: Any) -> None:
    """Inputs and outputs are plain tensors of numbers."""
    for value in (*graph.input, *graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise ArtifactError(f"{value.name!r} is a {kind}; only tensors are served (zipmap must be off)")
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            raise ArtifactError(f"{value.name!r} holds strings; features and classes are numbers")


def _check_tensor(tensor: Any) -> None:
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # numpy's and protobuf's, where the bytes are not what the type and shape say
        raise ArtifactError(f"tensor {tensor.name!r} is not what it says: {error}") from error
    if tensor.data_type in _FLOATS:
        _check_numbers(tensor.name, values)


def _check_numbers(name: str, values: Any) -> None:
    """Infinite ones are left to the answers: a tree may well split at infinity."""
    if np.isnan(np.asarray(values, dtype=np.float64)).any():
        raise ArtifactError(f"{name} holds NaN; a model with undefined weights is not served")


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _nodes(inner)


def _tensors(graph: Any, nodes: Sequence[Any]) -> Iterator[Any]:
    """All tensors of a graph without branches: its initializers, and those in attributes."""
    yield from graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
