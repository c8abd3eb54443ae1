"""An ONNX model, checked before it is trusted, and the scoring of one micro-batch. Pure: bytes and arrays in and out.

A file is admitted only if it is what the trainer exports: within the size limit, valid ONNX, every tensor inside the
file, every operator from ONNX's own two domains, one float input as wide as the feature set, finite weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from millrace.contracts.errors import ArtifactError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
LARGEST_BYTES = 256 * 1024 * 1024
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Predictions of one micro-batch. ``values`` is (rows,), ``scores`` is (rows, classes) or (rows, 0)."""

    values: Floats
    scores: Floats


class Model:
    """A checked ONNX model, ready to score.

    Args:
        content: the ONNX file.
        width: number of features.
        classes: number of classes; 0 for regression.
        threads: threads that one call may use.

    Raises:
        ArtifactError: the file is not a model that may be served, with the reason.
    """

    def __init__(self, content: bytes, *, width: int, classes: int, threads: int = 1) -> None:
        check_file(content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own, pybind11's and plain RuntimeErrors on bad models
            raise ArtifactError(f"onnxruntime refuses the model: {error}") from error
        self._classes = classes
        self._input = self._checked_input(width)
        self._check_rows(width)

    def score(self, features: Floats) -> Scores:
        """Score rows of features, shape (rows, width). Missing values are NaN."""
        outputs = self._session.run(None, {self._input: features.astype(np.float32)})
        values = np.asarray(outputs[0], dtype=np.float64).reshape(len(features))
        if not self._classes:
            return Scores(values, np.empty((len(features), 0)))
        return Scores(values, np.asarray(outputs[1], dtype=np.float64))

    def _checked_input(self, width: int) -> str:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or list(inputs[0].shape)[1:] != [width]:
            seen = [(one.name, one.type, one.shape) for one in inputs]
            raise ArtifactError(
                f"the model takes {seen}, one float tensor of any number of rows and width {width} is needed"
            )
        return str(inputs[0].name)

    def _check_rows(self, width: int) -> None:
        """Any number of rows, missing and extreme values included, is scored; a row of zeros gives a finite answer."""
        odd = np.array([[0.0], [1.0], [-1e30], [1e30], [np.nan]]).repeat(width, axis=1)
        try:
            answer = self.score(np.zeros((1, width)))
            for rows in (odd[:2], odd, odd.repeat(20, axis=0)):
                self.score(rows)
        except Exception as error:  # shape, type and operator errors of onnxruntime have no common base
            raise ArtifactError(f"the model cannot score rows of zeros, ones and missing values: {error}") from error
        if answer.scores.shape != (1, self._classes):
            raise ArtifactError(
                f"the model gives scores of shape {answer.scores.shape}, (1, {self._classes}) is needed"
            )
        classes = set(answer.values.tolist()) if self._classes else set()
        if not classes <= set(range(self._classes)):
            raise ArtifactError(
                f"the model answers with the classes {sorted(classes)}, 0 to {self._classes - 1} are known"
            )
        if not (np.isfinite(answer.values).all() and np.isfinite(answer.scores).all()):
            raise ArtifactError(f"the model gives {answer.values} with scores {answer.scores} for a row of zeros")


def check_file(content: bytes) -> None:
    """Refuse what no trainer of ours writes. Raises ``ArtifactError``."""
    if len(content) > LARGEST_BYTES:
        raise ArtifactError(f"the model has {len(content)} bytes, at most {LARGEST_BYTES} are served")
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise several types on damaged bytes
        raise ArtifactError(f"not a valid ONNX file: {error}") from error
    nodes, tensors = _contents(model.graph)
    domains = {node.domain for node in nodes} | {opset.domain for opset in model.opset_import}
    if domains - DOMAINS or model.functions:
        raise ArtifactError(f"operators of the domains {sorted(domains - DOMAINS)} are not served, only ONNX's own")
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ArtifactError(f"tensor {tensor.name!r} lies outside the file; a model must be whole")
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            _check_finite(tensor.name, onnx.numpy_helper.to_array(tensor).ravel().tolist())


def _contents(graph: Any) -> tuple[list[Any], list[Any]]:
    """All nodes and tensors of a graph and of the graphs inside it; float attributes are checked on the way."""
    nodes, tensors = list(graph.node), list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels_int64s") and list(attribute.ints) != list(
                range(len(attribute.ints))
            ):
                raise ArtifactError(f"{node.name} numbers its classes {list(attribute.ints)}, 0 upwards is needed")
            _check_finite(f"{node.name}.{attribute.name}", attribute.floats)
            tensors += [attribute.t] if attribute.HasField("t") else []
            tensors += attribute.tensors
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                more = _contents(inner)
                nodes += more[0]
                tensors += more[1]
    return nodes, tensors


def _check_finite(name: str, values: Sequence[float]) -> None:
    if np.isnan(np.asarray(values, dtype=np.float64)).any():
        raise ArtifactError(f"{name} holds NaN; a model with undefined weights is not served")
