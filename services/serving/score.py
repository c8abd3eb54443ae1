"""An ONNX model, checked before it is trusted, and the scoring of one micro-batch. Pure: bytes and arrays in and out.

A model is admitted only if its file is what the trainer exports (``contracts/model_file.py``), it takes one float input
as wide as the feature set, scores any number of rows, odd values included, and gives a finite score for each class.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from millrace.contracts.errors import ArtifactError
from millrace.contracts.model_file import DEFAULT, Limits, check_file

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Predictions of one micro-batch. ``values`` is (rows,), ``scores`` is (rows, classes) or (rows, 0)."""

    values: Floats
    scores: Floats

    def known(self, classes: int) -> NDArray[np.bool_]:
        """Which rows have an answer: finite numbers, and where there are classes one of them."""
        known: NDArray[np.bool_] = np.isfinite(self.values) & np.isfinite(self.scores).all(axis=1)
        if classes:
            with np.errstate(invalid="ignore"):
                known &= (self.values >= 0) & (self.values < classes) & (self.values == np.floor(self.values))
        return known


class Stop:
    """Ends a call that is under way: ``set`` may come from another thread; the call then raises between two nodes."""

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()

    def set(self) -> None:
        """End the call that was given this."""
        self.options.terminate = True


class Model:
    """A checked ONNX model, ready to score.

    Args:
        content: the ONNX file.
        width: number of features.
        classes: number of classes; 0 for regression.
        threads: threads that one call may use.
        limits: how large it may be.
        probed: it passed in a process of its own (``probe.py``): what could crash or hang is not tried again here.

    Raises:
        ArtifactError: the file is not a model that may be served, with the reason.
    """

    def __init__(
        self, content: bytes, *, width: int, classes: int, threads: int = 1, limits: Limits = DEFAULT,
        probed: bool = False,
    ) -> None:  # fmt: skip
        if not probed:
            check_file(content, limits)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised, and said by whoever catches it
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own, pybind11's and plain RuntimeErrors on bad models
            raise ArtifactError(f"onnxruntime refuses the model: {error}") from error
        self._width, self._classes = width, classes
        self._input = self._checked_input(width)
        if not probed:
            self._check_rows(width)

    def score(self, features: Floats, stop: Stop | None = None) -> Scores:
        """Score rows of features, shape (rows, width). Missing values are NaN. ``stop`` may end it early."""
        given = {self._input: features.astype(np.float32)}
        outputs = self._session.run(None, given, None if stop is None else stop.options)
        values = np.asarray(outputs[0], dtype=np.float64).reshape(len(features))
        if not self._classes:
            return Scores(values, np.empty((len(features), 0)))
        return Scores(values, np.asarray(outputs[1], dtype=np.float64))

    def warm_up(self) -> None:
        """Score for the first time, which takes as long as a thousand later ones. Raises ``ArtifactError``."""
        try:
            self.score(np.zeros((1, self._width)))
        except Exception as error:  # as for the odd rows
            raise ArtifactError(f"the model cannot score a row of zeros here: {error}") from error

    def _checked_input(self, width: int) -> str:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or list(inputs[0].shape)[1:] != [width]:
            seen = [(one.name, one.type, one.shape) for one in inputs]
            raise ArtifactError(
                f"the model takes {seen}, one float tensor of any number of rows and width {width} is needed"
            )
        if self._classes and len(self._session.get_outputs()) < 2:
            raise ArtifactError("the model has one output; the class and the scores of all classes are needed")
        return str(inputs[0].name)

    def _check_rows(self, width: int) -> None:
        """Any number of rows, missing and extreme values included, is scored; a row of zeros gives a finite answer."""
        odd = np.array([[0.0], [1.0], [-1e30], [1e30], [np.nan]]).repeat(width, axis=1)
        try:
            answer = self.score(np.zeros((1, width)))
            for rows in (odd[:2], odd, odd.repeat(20, axis=0)):
                self._check_shape(self.score(rows), len(rows))
        except ArtifactError:
            raise
        except Exception as error:  # shape, type and operator errors of onnxruntime have no common base
            raise ArtifactError(f"the model cannot score rows of zeros, ones and missing values: {error}") from error
        self._check_shape(answer, 1)
        classes = set(answer.values.tolist()) if self._classes else set()
        if not classes <= set(range(self._classes)):
            raise ArtifactError(
                f"the model answers with the classes {sorted(classes)}, 0 to {self._classes - 1} are known"
            )
        if not (np.isfinite(answer.values).all() and np.isfinite(answer.scores).all()):
            raise ArtifactError(f"the model gives {answer.values} with scores {answer.scores} for a row of zeros")

    def _check_shape(self, answer: Scores, rows: int) -> None:
        if answer.scores.shape != (rows, self._classes):
            raise ArtifactError(
                f"the model gives scores of shape {answer.scores.shape}, ({rows}, {self._classes}) is needed"
            )
