"""Nothing that ingest found forbids this run.

Rows of a vetoed window are left out of the training rows already. That does not stop a run whose whole cause is in
doubt: an alarm about what features are computed from (``schema-skew`` is about no rows, so it leaves none out), or a
veto on the newest rows, which the run was started for. Whoever starts the run knows of them and passes them in words.
"""

from collections.abc import Iterator

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.task import FitTask

ABOUT = (About("no-veto", (), "a model of data, or of feature logic, that ingest has found bad"),)


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:  # noqa: ARG001  # all checks are called alike
    """How many judgements of ingest forbid the run; none may. Absent where nobody asked."""
    if candidate.vetoes is None:
        return
    count = float(len(candidate.vetoes))
    message = "ingest forbids nothing"
    if candidate.vetoes:
        message = f"ingest forbids it: {'; '.join(candidate.vetoes)}; retrain when the data are sound again"
    yield CheckResult(name="no-veto", passed=not count, value=count, limit=0.0, message=message)
