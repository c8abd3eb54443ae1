"""Scores of an ONNX file, computed as serving computes them: float32 in, ONNX Runtime, nothing else."""

from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.trainer.train.task import Features, FitError

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """``values`` (rows,): the class index or the regression value. ``probabilities`` (rows, classes), or (rows, 0)."""

    values: Floats
    probabilities: Floats


def score(content: bytes, x: Features, classes: int) -> Scores:
    """Score rows with an ONNX file; ``classes`` is 0 for regression.

    Raises:
        FitError: the model does not give one answer for each row, or not one probability for each class.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x})
    values = np.asarray(outputs[0], dtype=np.float64)
    probabilities = np.asarray(outputs[1], dtype=np.float64) if classes else np.empty((len(x), 0))
    if values.size != len(x) or probabilities.shape != (len(x), classes):
        raise FitError(
            f"the ONNX model answers {len(x)} rows with shapes {values.shape} and {probabilities.shape}; "
            f"({len(x)},) and {(len(x), classes)} are needed"
        )
    return Scores(values.reshape(len(x)), probabilities)
