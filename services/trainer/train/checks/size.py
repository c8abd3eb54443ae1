"""The file is no larger than may be sent round and loaded."""

from collections.abc import Iterator

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.task import FitTask

ABOUT = (About("size", ("size_bytes_max",), "a file too large to be stored and loaded in time"),)


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """Bytes of the ONNX file."""
    size, limit = len(candidate.artifact), task.gates.size_bytes_max
    if limit is None:
        return
    message = f"the ONNX file has {size:,} bytes, allowed {limit:,}"
    if size > limit:
        message += "; make the model smaller, or raise gates.size_bytes_max"
    yield CheckResult(name="size", passed=size <= limit, value=float(size), limit=float(limit), message=message)
