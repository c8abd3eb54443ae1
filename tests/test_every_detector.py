"""What every detector promises, applied to each of them. A new one joins by standing in ``DETECTORS``."""

import doctest
import inspect
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from services.monitor.detect import DETECTORS, Change, Detector

SEEDS = range(20)
STABLE_ROWS = 20_000
STEP_AT = 2_000
DELAY_ROWS_MAX = 300  # for a step from 10 % to 30 % errors; ADWIN needs about 100, Page-Hinkley at most 247

pytestmark = pytest.mark.parametrize("make", DETECTORS.values(), ids=list(DETECTORS))
Make = Callable[[], Detector]


def stable(seed: int, rows: int = STABLE_ROWS, rate: float = 0.1) -> npt.NDArray[np.float64]:
    """Errors at a constant rate."""
    return (np.random.default_rng(seed).random(rows) < rate).astype(float)


def step(seed: int, rows: int = 4_000) -> npt.NDArray[np.float64]:
    """Errors at 10 %, from ``STEP_AT`` on at 30 %."""
    rates = np.where(np.arange(rows) < STEP_AT, 0.1, 0.3)
    return (np.random.default_rng(seed).random(rows) < rates).astype(float)


def test_the_family_is_complete(make: Make) -> None:
    """Two detectors at least are held to this suite: one alone would not show an interface."""
    assert len(DETECTORS) >= 2


def test_stable_noise_gives_next_to_no_alarm(make: Make) -> None:
    """20 seeds of 20,000 rows each: at most one false change in 400,000 rows."""
    false = sum(len(make().feed(stable(seed))) for seed in SEEDS)

    assert false <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_is_found_in_time(make: Make, seed: int) -> None:
    """The first change comes after the step, within the stated delay, and says that the mean rose."""
    place, change = make().feed(step(seed))[0]

    assert STEP_AT < place <= STEP_AT + DELAY_ROWS_MAX
    assert change.rose


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evidence_is_near_the_truth(make: Make, seed: int) -> None:
    """The means are those of the two rates, within four standard errors; the cut is near the step."""
    place, change = make().feed(step(seed))[0]

    assert abs(change.before - 0.1) < 4 * np.sqrt(0.09 / STEP_AT)
    assert abs(change.after - 0.3) < 0.15 + 4 * np.sqrt(0.21 / change.after_rows)
    assert abs(place + 1 - change.after_rows - STEP_AT) < 150


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evidence_adds_up(make: Make, seed: int) -> None:
    """Both parts together are exactly the rows since the detector began, which anybody can look up in the log."""
    rows = step(seed)

    place, change = make().feed(rows)[0]

    assert change.before_rows + change.after_rows == place + 1
    assert change.before == pytest.approx(rows[: change.before_rows].mean())
    assert change.after == pytest.approx(rows[change.before_rows : place + 1].mean())


def test_a_fall_is_found_too(make: Make) -> None:
    """A mean that falls is a change that did not rise."""
    _, change = make().feed(1.0 - step(0))[0]

    assert not change.rose


def test_rows_can_come_in_any_cuts(make: Make) -> None:
    """One by one, in batches, or all at once: the same changes with the same evidence, to the last bit."""
    rows = np.concatenate([step(1), step(2)]) + np.random.default_rng(3).random(8_000)
    cuts = np.sort(np.random.default_rng(4).integers(0, len(rows), 40))
    single, batched = make(), make()

    one_by_one = [(place, change) for place, row in enumerate(rows) if (change := single.update(float(row)))]
    batches: list[tuple[int, Change]] = []
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        batches += [(int(begin) + place, change) for place, change in batched.feed(rows[begin:end])]

    expected = make().feed(rows)
    assert len(expected) >= 2
    assert expected == one_by_one
    assert expected == batches
    assert (single.mean, single.rows) == (batched.mean, batched.rows)


def test_reset_gives_the_initial_behaviour(make: Make) -> None:
    """After a reset nothing of what was seen matters."""
    used = make()
    used.feed(step(5)[: STEP_AT + 20])
    used.reset()

    assert used.rows == 0
    assert make().feed(step(6)) == used.feed(step(6))


def test_a_change_is_a_new_beginning(make: Make) -> None:
    """What follows a change is judged as by a fresh detector."""
    rows = step(7)
    used = make()
    place, _ = used.feed(rows)[0]
    again = make()
    again.feed(rows[: place + 1])

    assert again.rows == 0
    assert make().feed(step(8)) == again.feed(step(8))


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_skipped(make: Make, hole: float) -> None:
    """Places count the holes, the evidence does not, and nothing else differs from a sequence without them."""
    rows = step(9)
    holed = np.insert(rows, np.arange(0, len(rows), 3), hole)
    kept = np.flatnonzero(np.isfinite(holed))

    expected = [(int(kept[place]), change) for place, change in make().feed(rows)]

    assert expected == make().feed(holed)
    assert make().update(hole) is None


def test_nothing_is_random(make: Make) -> None:
    """Two runs over the same rows say the same."""
    assert make().feed(step(10)) == make().feed(step(10))


def test_no_rows_are_no_change(make: Make) -> None:
    """An empty batch is allowed and changes nothing."""
    detector = make()

    assert detector.feed(np.empty(0)) == []
    assert (detector.mean, detector.rows) == (0.0, 0)


def test_the_documentation_is_whole(make: Make) -> None:
    """Every parameter is documented and given as evidence, references are named, and an example is executed."""
    text = inspect.getdoc(make) or ""
    parameters = list(inspect.signature(make).parameters)

    assert parameters == list(make().parameters)
    for section in ("Parameters:", "References:", *(f"    {name}: " for name in parameters)):
        assert section in text
    examples = doctest.DocTestFinder(recurse=False).find(make, globs={make.__name__: make})
    results = [doctest.DocTestRunner(verbose=False).run(example) for example in examples]
    assert sum(result.attempted for result in results) >= 3
    assert sum(result.failed for result in results) == 0
