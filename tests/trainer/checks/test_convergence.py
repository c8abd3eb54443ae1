"""converged and validation-loss."""

import numpy as np
import pytest

from tests.trainer.checks.made import Step, candidate, names, result, task

EASING = np.exp(-np.arange(60) / 10)


def history(training, validation=None):
    """Steps with these losses."""
    validation = [None] * len(training) if validation is None else validation
    return tuple(Step(at, a, b) for at, (a, b) in enumerate(zip(training, validation, strict=True), start=1))


@pytest.mark.parametrize(
    ("losses", "passed", "said"),
    [
        (EASING, True, "allowed"),
        (EASING - 5, True, "allowed"),
        (1000 * EASING, True, "allowed"),
        (EASING + 0.01 * np.random.default_rng(1).normal(size=60), True, "allowed"),
        (np.linspace(1, 0.2, 60), False, "take more steps"),
        (np.linspace(0.2, 1, 60), False, "did not fall"),
        (np.full(60, 0.5), False, "did not fall"),
        (np.where(np.arange(60) == 50, np.nan, EASING), False, "did not fall"),
    ],
)
def test_the_training_loss_falls_and_its_end_is_flat(losses, passed, said):
    """Whatever its unit, its sign and a little noise; a straight line is not flat."""
    one = task()
    found = result(one, candidate(one, history=history(losses)), "converged")
    assert passed == found.passed, found.message
    assert said in found.message


@pytest.mark.parametrize(
    ("losses", "passed"),
    [(EASING + 0.3, True), (EASING + 0.3 + np.linspace(0, 0.1, 60), True), (EASING + np.linspace(0.1, 1, 60), False)],
)
def test_the_validation_loss_does_not_rise_again(losses, passed):
    """A little is allowed."""
    one = task()
    found = result(one, candidate(one, history=history(EASING, losses)), "validation-loss")
    assert passed == found.passed, found.message
    assert passed != ("stop earlier" in found.message)


def test_it_is_absent_without_a_history_or_a_limit():
    """None, few points, limits of null, and a model that learns row by row."""
    both = {"converged", "validation-loss"}
    one, off = task(), task(convergence={"flat_max": None, "rise_max": None})
    assert not both & names(one, candidate(one))
    assert not both & names(one, candidate(one, history=history(EASING[:9], EASING[:9])))
    assert not both & names(off, candidate(off, history=history(EASING, EASING)))
    made = candidate(one, history=history(EASING, EASING))
    assert both <= names(one, made)
    made.estimator.prequential_ = []
    assert not both & names(one, made)
