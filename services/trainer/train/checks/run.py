"""All checks, in the order in which they are reported."""

from collections.abc import Callable, Iterator

from millrace.contracts.events import CheckResult
from services.trainer.train.checks import (
    adversarial,
    baselines,
    calibration,
    champion,
    convergence,
    explanation,
    fairness,
    finite,
    missing,
    noise,
    parity,
    rows,
    schema,
    size,
    slices,
    speed,
    veto,
)
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.speed import Clock
from services.trainer.train.task import FitTask

Check = Callable[[FitTask, Candidate], Iterator[CheckResult]]

SOUND: tuple[Check, ...] = (schema.check, parity.check, finite.check, rows.check, veto.check, size.check)
"""Whether file and rows are in order."""
GOOD: tuple[Check, ...] = (
    convergence.check,
    baselines.check,
    champion.check,
    slices.check,
    calibration.check,
    fairness.check,
    noise.check,
    missing.check,
    adversarial.check,
    explanation.check,
)
"""Whether the model is good. They compare scores, so they are made of scores that are numbers only."""

ABOUT: tuple[About, ...] = (
    *schema.ABOUT, *parity.ABOUT, *finite.ABOUT, *rows.ABOUT, *veto.ABOUT, *size.ABOUT, *speed.ABOUT,
    *convergence.ABOUT, *baselines.ABOUT, *champion.ABOUT, *slices.ABOUT, *calibration.ABOUT, *fairness.ABOUT,
    *noise.ABOUT, *missing.ABOUT, *adversarial.ABOUT, *explanation.ABOUT,
)  # fmt: skip


def check(task: FitTask, candidate: Candidate, clock: Clock | None = None) -> tuple[CheckResult, ...]:
    """Every named check with its outcome, passed or not. One whose limit is null, or that does not apply, is absent.

    A candidate with a score that is no number has failed already, and nothing else is measured on it than whether it
    beats a constant.

    Args:
        task: the fit, with its gates and hold-out rows.
        candidate: the model, with its scores on these rows.
        clock: monotonic seconds, for ``scoring-time``; without one that check is absent.
    """
    sound = [result for one in SOUND for result in one(task, candidate)]
    finite_scores = all(result.passed for result in sound if result.name == "finite-scores")
    good = GOOD if finite_scores else (baselines.check,)
    return (
        *sound,
        *speed.check(task, candidate, clock),
        *(result for one in good for result in one(task, candidate)),
    )
