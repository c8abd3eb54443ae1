"""Golden records: rows of features with the answers that the model gave when it was made.

The trainer takes them from the hold-out rows and keeps them beside the artefact; their SHA-256 is part of what is
signed. Serving scores them again before a version takes over, so a file that another runtime reads differently, or a
processor that computes differently, is found before the first event.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.errors import ArtifactError

ROWS = 32  # enough to reach many leaves of a tree ensemble, and below 100 kB
TOLERANCE = 1e-4  # of a probability, or of a regression value relative to its size, as for onnx-parity


@dataclass(frozen=True, slots=True)
class Golden:
    """``features`` (rows, width) float32, ``values`` (rows,), ``scores`` (rows, classes) or (rows, 0)."""

    features: NDArray[np.float32]
    values: NDArray[np.float64]
    scores: NDArray[np.float64]

    def to_bytes(self) -> bytes:
        """JSON, the same for the same numbers; NaN is null."""
        parts: dict[str, NDArray[Any]] = {"features": self.features, "values": self.values, "scores": self.scores}
        said = {name: [_row(row) for row in array.reshape(len(array), -1).tolist()] for name, array in parts.items()}
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Golden":
        """Read them. Raises ``ArtifactError``."""
        try:
            said = json.loads(content)
            features = np.array(said["features"], dtype=np.float32)
            values = np.array(said["values"], dtype=np.float64).reshape(-1)
            scores = np.array(said["scores"], dtype=np.float64).reshape(len(values), -1)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"these are no golden records: {error!r}") from error
        if features.ndim != 2 or len(features) != len(values) or not len(values):
            raise ArtifactError(
                f"golden records of shapes {features.shape}, {values.shape} and {scores.shape} do not fit"
            )
        return cls(features, values, scores)

    def fault(self, values: NDArray[np.float64], scores: NDArray[np.float64]) -> str | None:
        """What is wrong with these answers to ``features``, in words; None if they are the golden ones."""
        if values.shape != self.values.shape or scores.shape != self.scores.shape:
            expected = (self.values.shape, self.scores.shape)
            return f"answers have the shapes {(values.shape, scores.shape)}, {expected} are expected"
        if self.scores.shape[1]:
            wrong = (values != self.values) | ~(np.abs(scores - self.scores) <= TOLERANCE).all(axis=1)
        else:
            size = np.maximum(np.abs(self.values), np.abs(self.values).mean())
            wrong = ~(np.abs(values - self.values) <= TOLERANCE * size)
        if not wrong.any():
            return None
        first = int(np.flatnonzero(wrong)[0])
        seen, expected_value = float(values[first]), float(self.values[first])
        count = f"{int(wrong.sum())} of {len(wrong)} golden records are answered differently"
        return f"{count}: record {first} with {seen!r} instead of {expected_value!r}"


def _row(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
