"""What every window detector promises, applied to each. A new one joins by standing in ``WINDOW_DETECTORS``."""

import doctest
import inspect
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from millrace.contracts.monitor_policy import Windows
from services.monitor.detect import WINDOW_DETECTORS, Comparison, Counted, WindowDetector

TRIALS = 250
ZIPF = 1 / np.arange(1, 13) ** 2  # some values are common, some are seen once in a sample, some never

pytestmark = pytest.mark.parametrize("make", WINDOW_DETECTORS.values(), ids=list(WINDOW_DETECTORS))
Make = type[WindowDetector]
Rows = npt.NDArray[np.float64]


def sample(make: Make, rng: np.random.Generator, rows: int, *, changed: bool = False) -> Rows:
    """Rows that the detector is made for; changed in the way that it is to see."""
    if make.kind == "rows":
        values = rng.normal(size=(rows, 4))
        if changed:
            values[:, 1] = 0.6 * values[:, 0] + 0.8 * values[:, 1]
        return values
    if make.kind == "categories":
        values = rng.choice(12, rows, p=ZIPF / ZIPF.sum()).astype(float)
        return np.where(rng.random(rows) < 0.08, 99.0, values) if changed else values
    if make.name == "missing_rate":
        return np.where(rng.random(rows) < (0.08 if changed else 0.02), np.nan, 1.0)
    return rng.lognormal(0.35 if changed else 0.0, size=rows)


def p_values(make: Make, reference: int, window: int, *, changed: bool = False, trials: int = TRIALS) -> Rows:
    """P-values of independent trials, each with its own reference."""
    rngs = map(np.random.default_rng, range(trials))
    return np.array(
        [
            make(sample(make, rng, reference)).judge(sample(make, rng, window, changed=changed)).p_value  # type: ignore[call-arg]
            for rng in rngs
        ]
    )


def at_most(share: float, trials: int) -> float:
    """What a share may reach by chance, four standard errors above."""
    return share + 4 * float(np.sqrt(share * (1 - share) / trials))


def prepared(make: Make) -> WindowDetector:
    """A detector with a reference of its kind."""
    return make(sample(make, np.random.default_rng(1), 1000))  # type: ignore[call-arg]


def test_the_family_is_what_model_yaml_may_name(make: Make) -> None:
    """Each name that ``monitors.windows.detectors`` allows is a detector, and there is no other."""
    annotation = str(Windows.model_fields["detectors"].annotation)

    assert len(WINDOW_DETECTORS) == 8
    assert all(f"'{name}'" in annotation for name in WINDOW_DETECTORS)
    assert annotation.count("'") == 2 * len(WINDOW_DETECTORS)
    assert WINDOW_DETECTORS[make.name] is make


@pytest.mark.parametrize(("reference", "window"), [(2000, 200), (300, 1000), (150, 60)])
def test_p_values_are_valid_without_a_change(make: Make, reference: int, window: int) -> None:
    """At most a share u of them is at most u, but for chance, whichever sample is the larger."""
    trials = TRIALS if make.kind != "rows" else 150
    found = p_values(make, reference, window, trials=trials)

    for share in (0.5, 0.1, 0.05, 0.01):
        assert (found <= share).mean() <= at_most(share, trials), share


def test_tiny_p_values_do_not_come_by_chance(make: Make) -> None:
    """With few rows and rare values none of 250 trials gives a p-value below 0.0001, where limits are worst."""
    trials = TRIALS if make.kind != "rows" else 150

    assert p_values(make, 500, 40, trials=trials).min() >= 1e-4


def test_a_change_is_seen(make: Make) -> None:
    """A clear change has a p-value of less than one in a million in 9 trials of 10."""
    found = p_values(make, 2000, 1000, changed=True, trials=20)

    assert np.quantile(found, 0.9) < 1e-6


def test_more_rows_make_a_change_surer(make: Make) -> None:
    """Both sample sizes count: with ten times the rows the p-value of the same change is smaller."""
    small, large = (
        make(sample(make, np.random.default_rng(2), rows)).judge(  # type: ignore[call-arg]
            sample(make, np.random.default_rng(3), rows, changed=True)
        )
        for rows in (200, 2000)
    )

    assert large.p_value < small.p_value
    assert large.statistic > large.threshold


def test_threshold_and_p_value_say_the_same(make: Make) -> None:
    """The statistic passes the threshold about where the p-value passes the level; the p-value is the stricter one."""
    detector, rng = prepared(make), np.random.default_rng(4)
    level = detector.parameters["level"]

    for share in np.linspace(0, 1, 15):
        rows = [
            sample(make, rng, int(part), changed=changed)
            for part, changed in ((400 * (1 - share), False), (400 * share, True))
        ]
        found = detector.judge(np.concatenate(rows))
        if found.p_value <= level:
            assert found.statistic >= found.threshold * 0.98
        if found.statistic < found.threshold * 0.9:
            assert found.p_value > level


def test_no_rows_say_nothing(make: Make) -> None:
    """An empty window has a p-value of 1; so has a reference without a number."""
    some = sample(make, np.random.default_rng(5), 100)
    nothing = make(some[:0]).judge(some)  # type: ignore[call-arg]

    assert prepared(make).judge(some[:0]).p_value == 1.0
    assert nothing.p_value == 1.0
    assert np.isfinite([nothing.statistic, nothing.p_value]).all()


def test_what_is_no_number_is_missing(make: Make) -> None:
    """Only the missing rate looks at NaN and infinities; to all others a window with holes is the window without."""
    detector, rows = prepared(make), sample(make, np.random.default_rng(6), 300)
    if make.kind == "rows":
        rows[::7, 2] = np.nan
        assert detector.judge(rows) == detector.judge(np.where(np.isnan(rows), np.inf, rows))
        return
    holed = np.insert(rows, np.arange(0, 300, 10), [np.nan, np.inf, -np.inf] * 10)

    if make.name == "missing_rate":
        assert detector.judge(holed).p_value < 1e-6
    else:
        assert detector.judge(rows) == detector.judge(holed)


def test_all_missing_says_nothing_but_that(make: Make) -> None:
    """A window without any number: the missing rate is sure, the others say nothing."""
    rows = np.full_like(sample(make, np.random.default_rng(7), 300), np.nan)
    found = prepared(make).judge(rows)

    if make.name == "missing_rate":
        assert found.p_value < 1e-100
    elif make.kind != "rows":
        assert (found.p_value, found.statistic) == (1.0, 0.0)


def test_a_constant_feature_is_no_change(make: Make) -> None:
    """The same constant in both samples has a p-value of 1."""
    rows = np.ones_like(sample(make, np.random.default_rng(8), 500))

    assert make(rows).judge(rows[:100]).p_value == 1.0  # type: ignore[call-arg]


def test_another_constant_is_seen(make: Make) -> None:
    """A constant that became another one is seen by all that look at values and can tell two of them."""
    if make.name in {"missing_rate", "wasserstein"}:
        pytest.skip("nothing is missing; a constant has no deviation that a distance could be told in")
    rows = np.ones_like(sample(make, np.random.default_rng(8), 500))

    assert make(rows).judge(rows[:100] + 1).p_value < 1e-6  # type: ignore[call-arg]


def test_the_order_of_rows_and_the_cuts_do_not_count(make: Make) -> None:
    """Counts of parts add up to those of the whole."""
    if not issubclass(make, Counted):
        pytest.skip("it needs whole rows")
    detector, rows = prepared(make), sample(make, np.random.default_rng(9), 400)
    assert isinstance(detector, Counted)
    parts = sum(detector.count(part) for part in np.array_split(np.random.default_rng(1).permutation(rows), 7))

    assert detector.judge(rows) == detector.compare(parts)
    assert [detector.judge(rows).p_value] == detector.p_values(detector.count(rows)[None]).tolist()


def test_nothing_is_random(make: Make) -> None:
    """Two detectors of the same reference say the same."""
    rows = sample(make, np.random.default_rng(10), 300, changed=True)

    first: Comparison = prepared(make).judge(rows)
    assert first == prepared(make).judge(rows)


def test_the_documentation_is_whole(make: Make) -> None:
    """Parameters are documented and, but for the reference, evidence; references are named; an example is executed."""
    text = inspect.getdoc(make) or ""
    parameters = list(inspect.signature(make).parameters)

    assert parameters[0] == "reference"
    assert set(parameters[1:]) <= set(prepared(make).parameters)
    for section in ("Parameters:", "References:", "p-value", *(f"    {name}: " for name in parameters)):
        assert section in text
    examples = doctest.DocTestFinder(recurse=False).find(make, globs={make.__name__: make})
    results = [doctest.DocTestRunner(verbose=False).run(example) for example in examples]
    assert sum(result.attempted for result in results) >= 3
    assert sum(result.failed for result in results) == 0


def test_the_guard_sees_a_planted_fault(make: Make) -> None:
    """P-values that forget the reference's size are found out: halved ones are no longer valid."""
    trials = 100
    wrong: Callable[[Rows], Rows] = lambda found: found / 20  # noqa: E731  # a fault in one line
    found = wrong(p_values(make, 300, 300, trials=trials))

    assert (found <= 0.05).mean() > at_most(0.05, trials)
