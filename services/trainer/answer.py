"""What goes between a trainer and its fit process besides the task: limits one way, the answer the other.

The answer is JSON and an ONNX file, parsed here. The parent unpickles nothing that comes out of a child, because the
owner's code ran there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.contracts.events import CheckResult
from services.trainer.train.task import FitError, FitResult

SIZE_BYTES = 8  # of the length of the JSON part, big-endian


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fit may use. ``memory_mb`` of 0 sets no limit; ``threads`` are OpenMP's."""

    memory_mb: int
    threads: int


def pack(result: FitResult) -> bytes:
    """A result as bytes: length, JSON, ONNX file."""
    said = {
        "metrics": dict(result.metrics),
        "champion_metrics": dict(result.champion_metrics),
        "checks": [check.model_dump() for check in result.checks],
    }
    return _packed(said, result.artifact)


def pack_error(error: FitError) -> bytes:
    """The reason for which there is no result."""
    return _packed({"error": str(error)}, b"")


def unpack(data: bytes) -> FitResult:
    """The result in these bytes. Raises the ``FitError`` that is in them instead, or one if they are neither."""
    try:
        end = SIZE_BYTES + int.from_bytes(data[:SIZE_BYTES], "big")
        said = json.loads(data[SIZE_BYTES:end])
        if "error" in said:
            raise FitError(str(said["error"]))
        checks = tuple(CheckResult.model_validate(check) for check in said["checks"])
        return FitResult(data[end:], said["metrics"], said["champion_metrics"], checks)
    except (ValueError, KeyError, TypeError) as error:
        raise FitError(f"the fit answered with something else than a result: {error!r}") from error


def _packed(said: Mapping[str, Any], artifact: bytes) -> bytes:
    text = json.dumps(said).encode()
    return len(text).to_bytes(SIZE_BYTES, "big") + text + artifact
