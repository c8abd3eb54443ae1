"""What every detector promises, applied to each of them. A new one joins by standing in ``DETECTORS``."""

import doctest
import inspect
import json
from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from millrace.contracts.monitor_policy import SequentialDetector
from services.monitor.detect import DETECTORS, Change, Detector, detector_of

SEEDS = range(10)
STABLE_ROWS = 10_000
STEP_AT = 2_000
DELAY_ROWS_MAX = 300  # for a step from 10 % to 40 % errors; most need about 50
ALONE = 60  # fewer rows than a detector needs to say anything

# False changes in 100,000 stable rows with 10 % errors, at most; where it is not 1, the docstring says why.
FALSE_MAX: Mapping[str, int] = {"ddm": 20, "eddm": 500}
RISES_ONLY = {"ddm", "eddm", "fhddm", "hddm_a", "hddm_w"}  # as they are set by default
CRIES_BEFORE = {"ddm", "eddm"}  # often speak before the step: what comes after is looked at
SLOW_AT = 250  # where the step is for a slow detector
SLOW = {"kswin"}  # 0.3 ms a row: fewer rows, and numbers with a wider step, as its samples are small

pytestmark = pytest.mark.parametrize("make", DETECTORS.values(), ids=list(DETECTORS))
Make = Callable[[], Detector]


def name_of(make: Make) -> str:
    """Its name in model.yaml."""
    return next(name for name, known in DETECTORS.items() if known is make)


def stable(seed: int, rows: int = STABLE_ROWS, rate: float = 0.1) -> npt.NDArray[np.float64]:
    """Errors at a constant rate."""
    return (np.random.default_rng(seed).random(rows) < rate).astype(float)


def step(seed: int, rows: int = 4_000) -> npt.NDArray[np.float64]:
    """Errors at 10 %, from ``STEP_AT`` on at 40 %."""
    rates = np.where(np.arange(rows) < STEP_AT, 0.1, 0.4)
    return (np.random.default_rng(seed).random(rows) < rates).astype(float)


def some(make: Make, seed: int) -> npt.NDArray[np.float64]:
    """Rows with a change, few for a slow detector."""
    if name_of(make) in SLOW:
        return np.random.default_rng(seed).normal(np.where(np.arange(SLOW_AT + 120) < SLOW_AT, 0.1, 2.1))
    return step(seed)


def found(make: Make, seed: int) -> tuple[npt.NDArray[np.float64], int, Change]:
    """Rows with a step, and the first change after it with its place, by a detector that began at the first of them.

    For detectors that cry before it, the rows from their last false change on.
    """
    rows = some(make, seed)
    changes = make().feed(rows)
    at = STEP_AT if name_of(make) not in SLOW else SLOW_AT
    first = next(number for number, (place, _) in enumerate(changes) if place >= at)
    assert first == 0 or name_of(make) in CRIES_BEFORE, "a false change"
    begin = changes[first - 1][0] + 1 if first else 0
    place, change = changes[first]
    assert at <= place <= at + DELAY_ROWS_MAX
    return rows[begin:], place - begin, change


def test_the_family_is_what_model_yaml_may_name(make: Make) -> None:
    """Each name that ``monitors.watch`` allows is a detector, and there is no other."""
    assert set(get_args(SequentialDetector)) == set(DETECTORS)


def test_stable_noise_gives_few_alarms(make: Make) -> None:
    """10 seeds of 10,000 rows each: at most one false change in 100,000 rows, or what is known of the detector."""
    rows = STABLE_ROWS if name_of(make) not in SLOW else SLOW_AT
    false = sum(len(make().feed(stable(seed, rows))) for seed in SEEDS)

    assert false <= FALSE_MAX.get(name_of(make), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_is_found_in_time(make: Make, seed: int) -> None:
    """The first change comes within the stated delay after the step, and says that the mean rose.

    Of detectors that began anew shortly before the step the best cut may lie elsewhere.
    """
    _, _, change = found(make, seed)

    assert change.rose or name_of(make) in CRIES_BEFORE


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evidence_adds_up(make: Make, seed: int) -> None:
    """Both parts together are exactly the rows since the detector began, which anybody can look up in the log."""
    rows, place, change = found(make, seed)

    assert change.before_rows + change.after_rows == place + 1
    assert change.before == pytest.approx(rows[: change.before_rows].mean())
    assert change.after == pytest.approx(rows[change.before_rows : place + 1].mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evidence_is_near_the_truth(make: Make, seed: int) -> None:
    """The means are those of the two rates, within four standard errors; the cut is near the step."""
    if name_of(make) in CRIES_BEFORE | SLOW:
        pytest.skip("it begins anew before the step, or has other rows")
    _, place, change = found(make, seed)

    assert abs(change.before - 0.1) < 4 * np.sqrt(0.09 / STEP_AT)
    assert abs(change.after - 0.4) < 0.25 + 4 * np.sqrt(0.24 / change.after_rows)
    assert abs(place + 1 - change.after_rows - STEP_AT) < 150


def test_a_fall_is_found_too(make: Make) -> None:
    """A mean that falls is a change that did not rise, for detectors that look both ways."""
    rows = 1.0 - step(0) if name_of(make) not in SLOW else np.random.default_rng(0).normal([2.0] * SLOW_AT + [0.0] * 60)
    if name_of(make) in RISES_ONLY:
        assert not [change for place, change in make().feed(rows[STEP_AT - 500 :]) if 500 <= place < 700]
        return
    _, change = make().feed(rows)[0]

    assert not change.rose


def test_rows_can_come_in_any_cuts(make: Make) -> None:
    """One by one, in batches, or all at once: the same changes with the same evidence, to the last bit."""
    rows = np.concatenate([step(1), step(2)])
    if name_of(make) in SLOW:
        rows = np.random.default_rng(3).normal(np.repeat([0.0, 2.0, 0.0, 3.0], 140))
    elif make().takes == "numbers":
        rows += np.random.default_rng(3).random(8_000)
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
    used.feed(some(make, 5)[: len(some(make, 5)) // 2 + 20])
    used.reset()

    assert used.rows == 0
    assert make().feed(some(make, 6)) == used.feed(some(make, 6))


def test_a_change_is_a_new_beginning(make: Make) -> None:
    """What follows a change is judged as by a fresh detector."""
    rows, place, _ = found(make, 7)
    again = make()
    again.feed(rows[: place + 1])

    assert again.rows == 0
    assert make().feed(some(make, 8)) == again.feed(some(make, 8))


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_skipped(make: Make, hole: float) -> None:
    """Places count the holes, the evidence does not, and nothing else differs from a sequence without them."""
    rows = some(make, 9)
    holed = np.insert(rows, np.arange(0, len(rows), 3), hole)
    kept = np.flatnonzero(np.isfinite(holed))

    expected = [(int(kept[place]), change) for place, change in make().feed(rows)]

    assert expected == make().feed(holed)
    assert make().update(hole) is None


def test_nothing_is_random(make: Make) -> None:
    """Two runs over the same rows say the same."""
    assert make().feed(some(make, 10)) == make().feed(some(make, 10))


@pytest.mark.parametrize("rows_before", [0, 1, ALONE, 500])
def test_a_restored_detector_goes_on_as_the_one_that_saved_it(make: Make, rows_before: int) -> None:
    """Saved as JSON, restored in both the running one and a new one: equal for ever after, to the last bit."""
    rows = some(make, 11)
    running, restored = make(), make()
    running.feed(rows[:rows_before])
    saved = running.saved()

    restored.feed(rows[:7])  # what a restored detector had seen before is forgotten
    restored.restore(json.loads(json.dumps(saved)))
    running.restore(saved)

    assert (running.mean, running.rows) == (restored.mean, restored.rows)
    assert saved == running.saved() == restored.saved()
    assert running.feed(rows[rows_before:]) == restored.feed(rows[rows_before:])
    assert (running.mean, running.rows) == (restored.mean, restored.rows)


def test_what_is_saved_finds_what_comes(make: Make) -> None:
    """A step after a restart is found, and its evidence counts the rows from before the restart."""
    rows = some(make, 12)
    at = len(rows) // 2 if name_of(make) not in SLOW else SLOW_AT
    running = make()
    earlier = running.feed(rows[:at])
    restored = make()
    restored.restore(json.loads(json.dumps(running.saved())))

    place, change = restored.feed(rows[at:])[0]

    assert place <= DELAY_ROWS_MAX
    assert change.before_rows + change.after_rows == place + 1 + at - (earlier[-1][0] + 1 if earlier else 0)


def test_what_is_saved_is_bounded(make: Make) -> None:
    """However many rows: at most 300 kB of JSON."""
    detector = make()
    detector.feed(stable(13, 50_000 if name_of(make) not in SLOW else 400))

    assert len(json.dumps(detector.saved())) < 300_000


def test_a_number_that_it_is_not_made_for_is_refused(make: Make) -> None:
    """The error names detector, number and limits, and no row before it was taken."""
    detector = make()
    wrong = {"numbers": None, "shares": 1.5, "bits": 0.25}[detector.takes]
    if wrong is None:
        assert detector.feed(np.array([-3.0, 7.5])) == []
        return

    with pytest.raises(ValueError, match=f"{detector.name} .*{wrong}"):
        detector.feed(np.array([0.0, 1.0, wrong]))
    with pytest.raises(ValueError, match=f"{detector.name} .*{wrong}"):
        detector.update(wrong)
    assert detector.rows == 0


def test_it_is_made_by_its_name(make: Make) -> None:
    """Parameters may be floats, as in model.yaml; a wrong name is told with those there are."""
    floats = {name: float(value) for name, value in make().parameters.items()}

    assert detector_of(name_of(make), floats).parameters == make().parameters
    with pytest.raises(ValueError, match=f"no parameter sensitivity; it has {next(iter(floats))}"):
        detector_of(name_of(make), {"sensitivity": 1})
    with pytest.raises(ValueError, match="no detector 'oracle'; there are e_detector"):
        detector_of("oracle", {})


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
