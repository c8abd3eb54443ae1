"""A little noise on every feature changes little."""

from collections.abc import Iterator

import numpy as np

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.disturb import generator, sample, spread, verdict
from services.trainer.train.score import score
from services.trainer.train.task import FitTask

ABOUT = (
    About("robust-noise", ("robustness.noise", "robustness.noise_drop_max"), "a model that hangs on the last digit"),
)
STREAM = 1


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The drop of the metric under Gaussian noise, in standard deviations of each feature; what is missing stays so."""
    rule = task.gates.robustness
    if rule.noise_drop_max is None or not rule.noise:
        return
    rows = sample(task, candidate)
    noise = generator(task, STREAM).normal(size=rows.x.shape) * (rule.noise * spread(task))
    after = score(candidate.artifact, (rows.x + noise).astype(np.float32), len(task.label.classes))
    how = f"with noise of {rule.noise:g} standard deviations"
    advice = "make the model smoother (larger leaves, more regularisation), or raise gates.robustness.noise_drop_max"
    yield verdict(task, "robust-noise", rule.noise_drop_max, rows, after, how, advice)
