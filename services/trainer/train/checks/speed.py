"""Scoring is quick enough.

The only check whose value is another one each time, so it is rounded to two digits, and made only where somebody passes
a clock: a simulation passes none. The model's bytes do not depend on it.
"""

from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.disturb import evenly
from services.trainer.train.task import FitTask

ABOUT = (About("scoring-time", ("scoring_us_max",), "a model that cannot keep up with the stream"),)
Clock = Callable[[], float]
"""Monotonic seconds."""
ROWS_MAX = 500
RUNS = 5


def check(task: FitTask, candidate: Candidate, clock: Clock | None) -> Iterator[CheckResult]:
    """Microseconds per row in ONNX Runtime, in one thread and one batch: the median of some runs after a first one."""
    limit = task.gates.scoring_us_max
    if limit is None or clock is None:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(candidate.artifact, options, providers=["CPUExecutionProvider"])
    x = task.holdout.x[evenly(len(task.holdout.x), ROWS_MAX)]
    name, seconds = session.get_inputs()[0].name, []
    for _ in range(RUNS + 1):
        begun = clock()
        session.run(None, {name: x})
        seconds.append(clock() - begun)
    found = float(f"{np.median(seconds[1:]) / len(x) * 1e6:.2g}")
    message = f"about {found:g} us per row in a batch of {len(x)}, one thread; allowed {limit:g}"
    if found > limit:
        message += "; make the model smaller, or raise gates.scoring_us_max"
    yield CheckResult(name="scoring-time", passed=found <= limit, value=found, limit=limit, message=message)
