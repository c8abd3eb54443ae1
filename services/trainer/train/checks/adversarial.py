"""Nobody gets another answer by a change too small to be seen.

The search sees only the model's answers. Within ``eps`` standard deviations of each feature it tries, for each row:
every feature up and down by itself; all features at once, each in the direction that hurt more by itself; and some
corners of the box drawn by the seed. The worst of them counts. It finds a lower bound of what an attacker could do.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.disturb import ROWS_MAX, Sample, generator, sample, spread, verdict
from services.trainer.train.checks.losses import smooth_losses
from services.trainer.train.score import Scores, score
from services.trainer.train.task import Features, FitTask

ABOUT = (
    About(
        "robust-adversarial",
        ("robustness.adversarial", "robustness.adversarial_drop_max"),
        "answers that a change too small to be seen turns round",
    ),
)
STREAM = 3
FEATURES_MAX = 32  # tried by themselves; of more features as many are drawn
CORNERS = 8
SCORED_MAX = 10_000  # rows scored in all: about 25 ms of a boosted model
Steps = NDArray[np.float64]


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The drop of the metric when each row is changed for the worse."""
    rule = task.gates.robustness
    if rule.adversarial_drop_max is None or not rule.adversarial:
        return
    width = len(task.feature_names)
    tried = 2 * min(width, FEATURES_MAX) + CORNERS + 1
    rows = sample(task, candidate, min(ROWS_MAX, SCORED_MAX // tried))
    after = _worst(task, candidate.artifact, rows, rule.adversarial * spread(task))
    how = f"each changed for the worse by at most {rule.adversarial:g} standard deviations of a feature"
    advice = "make the model smoother, or raise gates.robustness.adversarial_drop_max"
    yield verdict(task, "robust-adversarial", rule.adversarial_drop_max, rows, after, how, advice)


def _worst(task: FitTask, artifact: bytes, rows: Sample, reach: Steps) -> Scores:
    """For each row the scores, of all that were tried, with the largest loss; those of the row itself among them."""
    rng = generator(task, STREAM)
    width = rows.x.shape[1]
    chosen = np.sort(rng.permutation(width)[:FEATURES_MAX])
    single = np.zeros((2 * len(chosen), width))
    single[np.arange(len(chosen)), chosen] = reach[chosen]
    single[len(chosen) + np.arange(len(chosen)), chosen] = -reach[chosen]
    corners = rng.choice([-1.0, 1.0], size=(CORNERS, width)) * reach
    found, losses = _try(task, artifact, rows, np.concatenate([single, corners])[:, None, :])
    up, down = losses[: len(chosen)], losses[len(chosen) : 2 * len(chosen)]
    together = np.zeros(rows.x.shape)
    together[:, chosen] = np.where(up >= down, 1.0, -1.0).T * reach[chosen]
    last, last_losses = _try(task, artifact, rows, together[None])
    own = smooth_losses(rows.scores, rows.y, task.gates.metric)[None]
    values = np.concatenate([rows.scores.values[None], found.values, last.values])
    probabilities = np.concatenate([rows.scores.probabilities[None], found.probabilities, last.probabilities])
    worst = np.argmax(np.nan_to_num(np.concatenate([own, losses, last_losses]), nan=np.inf), axis=0)
    each = np.arange(len(rows.y))
    return Scores(values[worst, each], probabilities[worst, each])


def _try(task: FitTask, artifact: bytes, rows: Sample, steps: Steps) -> tuple[Scores, Steps]:
    """Scores and losses, shape (steps, rows, …), of the rows with each of the steps added."""
    x: Features = (rows.x[None] + steps).astype(np.float32)
    tries, count, width = x.shape
    flat = score(artifact, x.reshape(tries * count, width), len(task.label.classes))
    losses = smooth_losses(flat, np.tile(rows.y, tries), task.gates.metric)
    scores = Scores(
        flat.values.reshape(tries, count),
        flat.probabilities.reshape(tries, count, -1 if flat.probabilities.size else 0),
    )
    return scores, losses.reshape(tries, count)
