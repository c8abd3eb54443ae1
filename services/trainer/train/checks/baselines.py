"""The model is worth its trouble: it is as good as what needs no model, or hardly one."""

from collections.abc import Iterator, Mapping

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.drops import drop
from services.trainer.train.judge import constant, measure
from services.trainer.train.task import FitTask

ABOUT = (
    About("beats-majority", (), "a classifier that is worse than always naming the most frequent class"),
    About("beats-constant", (), "a regression that is worse than always naming the middle"),
    About("beats-<baseline>", ("baseline_margin",), "a model much worse than the last label or a linear one"),
)
CONSTANT = ("majority", "median", "mean")  # judged without a margin
LATE = "last-label"


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The gate's metric against that of the best constant answer, and of each other baseline less its margin.

    At least as good as the constant, not better: on a one-sided stretch the constant can be hard to beat. The others
    may be better than an honest model for a while, so that a margin is left to them. The last label is judged only
    where it is known when the next row arrives, or where the project names its margin.
    """
    metric, gates = task.gates.metric, task.gates
    reached = candidate.metrics[metric]
    best = measure(constant(task), task.holdout.y)[metric]
    name = "beats-majority" if task.label.task == "classification" else "beats-constant"
    message = f"{metric} {reached:.4g}; the best constant answer of the training rows has {best:.4g}"
    yield CheckResult(name=name, passed=gates.gain(reached, best) >= 0, value=reached, limit=best, message=message)
    for baseline, metrics in sorted(candidate.baselines.items()):
        limit = gates.baseline_limit(baseline)
        if baseline in CONSTANT or limit is None or metric not in metrics:
            continue
        if baseline == LATE and task.gap_rows > 1 and not isinstance(gates.baseline_margin, Mapping):
            continue  # the label of the row before is not known in time, so nothing can answer with it
        worse = drop(task, reached, metrics[metric])
        message = (
            f"{metric} {reached:.4g}, {baseline} has {metrics[metric]:.4g}: worse by {worse:.3g}, allowed {limit:g}"
        )
        if worse > limit:
            message += "; add features or rows, serve the baseline, or raise gates.baseline_margin"
        yield CheckResult(name=f"beats-{baseline}", passed=worse <= limit, value=worse, limit=limit, message=message)
