"""A variant that fails, hangs or talks nonsense is counted, and never raises."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from services.serving.guard import FAILURES, PIECE_ROWS, Guard
from services.serving.score import Model, Scores, Stop
from services.serving.watchdog import Watchdog
from tests.serving.bad_models import TRIGGER, busy, misbehaving

ROWS = np.zeros((4, 3))


def ticking(*seconds: float) -> Callable[[], float]:
    """A clock that shows these times, and then the last one for ever."""
    left: Iterator[float] = iter(seconds)
    return lambda: next(left, seconds[-1])


def guarded(content: bytes, *, deadline_s: float = 60, timer: Callable[[], float] = time.perf_counter) -> Guard:
    """A guard around a model that passed its probe."""
    model = Model(content, width=3, classes=2, probed=True)
    return Guard(model, name="candidate", classes=2, deadline_s=deadline_s, timer=timer)


def rows(*first: float) -> np.ndarray:
    """Rows with this first feature."""
    return np.array([[x, 0.0, 0.0] for x in first])


def test_a_good_variant_answers_all_and_its_time_is_counted():
    """Microseconds of the model alone: what is around it is not the model's."""
    tried = guarded(misbehaving("nan"), timer=ticking(1.0, 1.1, 1.35)).score(rows(1, -1))

    assert ([1.0, 0.0], [True, True]) == (tried.scored.values.tolist(), tried.good.tolist())
    assert (0, 0, 250_000) == (tried.error_rows, tried.missing_rows, tried.scoring_us)


@pytest.mark.parametrize("how", ["nan", "class"])
def test_what_is_no_answer_is_missing_and_the_rest_counts(how):
    """NaN scores and unknown classes cost their own row only."""
    tried = guarded(misbehaving(how)).score(rows(1, TRIGGER, -1))

    assert [True, False, True] == tried.good.tolist()
    assert (0, 1) == (tried.error_rows, tried.missing_rows)


def test_an_error_costs_the_batch_and_three_in_a_row_the_epoch():
    """After that it is not run, and its rows are still counted as errors. A success in between starts anew."""
    guard = guarded(misbehaving("error"))
    bad, good = rows(1, TRIGGER), rows(1, 2)
    for _ in range(FAILURES - 1):
        assert (2, 0) == (guard.score(bad).error_rows, guard.score(rows()).error_rows)
    assert 0 == guard.score(good).error_rows
    assert [2] * FAILURES == [guard.score(bad).error_rows for _ in range(FAILURES)]

    assert guard.is_open
    assert (None, 2, 0) == (guard.score(good).scored, guard.score(good).error_rows, guard.score(good).scoring_us)


def test_too_late_is_an_error_though_it_came():
    """Whoever waited has waited; the time is counted."""
    tried = guarded(misbehaving("nan"), deadline_s=0.1, timer=ticking(1.0, 1.0, 1.2)).score(ROWS)

    assert (None, 4, 200_000) == (tried.scored, tried.error_rows, tried.scoring_us)


def test_the_time_is_looked_at_between_pieces():
    """A large batch that is late is not scored to its end."""
    asked = []

    class Slow:
        def score(self, features, stop=None) -> Scores:
            asked.append(len(features))
            return Scores(np.zeros(len(features)), np.zeros((len(features), 2)))

    late = Guard(Slow(), name="slow", classes=2, deadline_s=1.0, timer=ticking(0.0, 0.0, 0.5, 0.5, 1.5))
    quick = Guard(Slow(), name="quick", classes=2, deadline_s=1.0, timer=ticking(0.0))
    many = np.zeros((3 * PIECE_ROWS + 1, 3))

    assert len(many) == late.score(many).error_rows
    assert [PIECE_ROWS] * 2 == asked
    assert len(many) == int(quick.score(many).good.sum()) == len(quick.score(many).scored.values)


def test_a_call_that_takes_too_long_is_ended_inside_onnx_runtime():
    """Half a minute of matrix products is over soon after the deadline."""
    model = Model(busy(600, 1500), width=3, classes=2, probed=True)
    guard = Guard(model, name="slow", classes=2, deadline_s=0.2, timer=time.perf_counter, alarm=Watchdog())
    began = time.perf_counter()
    tried = guard.score(ROWS)

    assert (None, 4) == (tried.scored, tried.error_rows)
    assert time.perf_counter() - began < 5


def test_a_stop_that_comes_too_late_does_nothing():
    """The alarm is taken back when the call has returned."""
    model = Model(misbehaving("nan"), width=3, classes=2, probed=True)
    guard = Guard(model, name="quick", classes=2, deadline_s=30, timer=time.perf_counter, alarm=Watchdog())
    stop = Stop()
    model.score(ROWS, stop)
    stop.set()

    assert guard.score(ROWS).good.all()
    assert not guard.is_open


def test_scores_of_another_shape_are_an_error():
    """They cannot be published."""

    class Wide:
        def score(self, features, stop=None) -> Scores:
            return Scores(np.zeros(len(features)), np.zeros((len(features), 3)))

    assert 4 == Guard(Wide(), name="wide", classes=2, deadline_s=1, timer=ticking(0.0)).score(ROWS).error_rows
