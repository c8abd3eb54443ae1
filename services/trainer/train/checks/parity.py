"""The ONNX file answers as the estimator does that it was made from."""

from collections.abc import Iterator

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.judge import TOLERANCE, differing
from services.trainer.train.task import FitTask

ABOUT = (About("onnx-parity", ("parity_share",), "a file that answers otherwise than the estimator it was made from"),)


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The share of the hold-out rows on which the two differ. An imported model has no estimator to compare with."""
    if candidate.estimator is None:
        return
    rows, limit = len(task.holdout.y), task.gates.parity_share
    apart = differing(candidate.estimator, candidate.scores, task.holdout.x)
    message = f"{apart} of {rows} rows differ between scikit-learn and ONNX by more than {TOLERANCE:g}"
    if apart / rows > limit:
        message += "; use an estimator that skl2onnx converts exactly, or raise gates.parity_share"
    yield CheckResult(
        name="onnx-parity", passed=apart / rows <= limit, value=apart / rows, limit=limit, message=message
    )
