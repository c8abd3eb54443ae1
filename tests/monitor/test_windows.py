"""Windows against the training rows: what is told, when, how often, and that cuts and restarts make no difference."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from millrace.contracts.monitor_policy import Windows
from millrace.contracts.profile import Profile
from services.monitor.detect.ks import KolmogorovSmirnov
from services.monitor.frames import Rows
from services.monitor.window_evidence import JUDGED, SCALES, due, e_values, least_p_value, named, needed
from services.monitor.windows import COOL_DOWN_WINDOWS, WindowDrift, WindowWatch

Floats = npt.NDArray[np.float64]
POLICY = Windows(window_s=100, rows_min=100, rows_max=1000, false_alarm_windows=1000)
SECOND_MS = 1000
ROWS, LOOKS = 50, 60  # of a window, and windows, where false warnings are counted


@dataclass
class World:
    """Where rows come from: three features, one of few values; what moves them."""

    seed: int = 1
    price: float = 0.0
    lost: float = 0.0
    new: float = 0.0
    bound: float = 0.0
    score: float = 0.0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def features(self, rows: int) -> dict[str, Floats]:
        """Features of so many rows."""
        first = self.rng.normal(size=rows)
        second = self.bound * first + math.sqrt(1 - self.bound**2) * self.rng.normal(size=rows)
        colour = self.rng.integers(0, 4, rows).astype(float)
        colour[self.rng.random(rows) < self.new] = 9.0
        second[self.rng.random(rows) < self.lost] = np.nan
        return {"price": first + self.price, "load": second, "colour": colour}

    def answers(self, rows: int) -> tuple[Floats, Floats]:
        """Predictions and scores of so many rows."""
        ones = np.clip(self.rng.beta(2, 2, rows) + self.score, 0, 1)
        return (ones > 0.5).astype(float), np.column_stack([1 - ones, ones])


def profile(seed: int = 100, rows: int = 2000, run_id: str = "run-1") -> Profile:
    """A sample of the unmoved world."""
    world = World(seed)
    values, scores = world.answers(rows)
    return Profile(
        run_id=run_id,
        feature_set="f",
        rows=rows,
        holdout_rows=rows,
        from_time_ms=0,
        until_time_ms=1,
        features=world.features(rows),
        labels=values,
        holdout_features=world.features(rows),
        holdout_labels=values,
        holdout_values=values,
        holdout_scores=scores,
    )


Given = tuple[Rows, Floats, Floats]


def given(world: World, rows: int, first: int = 0, times_s: Sequence[float] | None = None, labels: int = 0) -> Given:
    """Rows of the world, one a second; every ``labels``-th is a label, if that is not 0."""
    values, scores = world.answers(rows)
    numbers = np.arange(first, first + rows)
    seconds = numbers if times_s is None else np.asarray(times_s)
    is_label = numbers % labels == 0 if labels else np.zeros(rows, bool)
    values[is_label], scores[is_label] = np.nan, np.nan
    frame = Rows(
        offsets=numbers,
        is_label=is_label,
        event_ids=[f"e{number}" for number in numbers],
        times_ms=(seconds * SECOND_MS).astype(np.int64),
        versions=np.ones(rows, np.int32),
        values=values,
        labels=np.full(rows, np.nan),
        scores=scores,
        other_versions=np.zeros(rows, np.int32),
        other_values=np.full(rows, np.nan),
        other_scores=np.empty((rows, 0)),
        features={name: np.where(is_label, np.nan, column) for name, column in world.features(rows).items()},
        epoch=1,
        champion=1,
        rollout_id=None,
        variants=(),
        until_offset=first + rows,
    )
    return frame, values, scores


def part(whole: Given, begin: int, end: int) -> Given:
    """Some of the rows, as a frame by themselves."""
    rows, values, scores = whole
    columns: dict[str, Any] = {
        name: value[begin:end]
        for name in Rows.__dataclass_fields__
        if isinstance(value := getattr(rows, name), np.ndarray | list)
    }
    columns["features"] = {name: column[begin:end] for name, column in rows.features.items()}
    rest = {name: getattr(rows, name) for name in Rows.__dataclass_fields__ if name not in columns}
    return Rows(**columns, **rest), values[begin:end], scores[begin:end]


def watch_of(policy: Windows = POLICY, against: Profile | None = None) -> WindowWatch:
    """A watch of version 1."""
    watch = WindowWatch(policy, (), "classification", 2)
    watch.begin(1, against or profile())
    return watch


def told(watch: WindowWatch, moved: Mapping[str, float], stable: int = 300, rows: int = 2000) -> list[WindowDrift]:
    """What a watch says of stable rows, and then of rows of a world that moved."""
    before, after = given(World(2), stable), given(World(3, **moved), rows, stable)
    return [drift for frame in (before, after) for drift in watch.take(*frame)]


@pytest.mark.parametrize(
    ("moved", "subject", "detector"),
    [
        ({"price": 0.5}, "feature:price", "ks"),
        ({"lost": 0.1}, "feature:load", "missing_rate"),
        ({"new": 0.1}, "feature:colour", "new_categories"),
        ({"bound": 0.8}, "features", "domain_classifier"),
        ({"score": 0.15}, "score:1", "ks"),
    ],
)
def test_what_drifted_is_named(moved: dict[str, float], subject: str, detector: str) -> None:
    """Each kind of drift is found in its subject by a detector made for it, and nothing that did not move is told."""
    found = told(watch_of(), moved)
    beside = {"feature:colour", "features", "prediction", "score:1"} if subject != "features" else set()

    assert found[0].subject == subject or subject in {drift.subject for drift in found}
    first = next(drift for drift in found if drift.subject == subject)
    assert first.detector in {detector, "chi_square"}
    assert {drift.subject for drift in found} <= {subject} | beside


def test_since_when_how_sure_and_the_two_distributions() -> None:
    """The finding can be checked: window, place, means, statistic beyond its threshold, histograms that add up."""
    drift = next(drift for drift in told(watch_of(), {"price": 0.5}) if drift.subject == "feature:price")

    assert drift.since_offset in {200, 300, 400}
    assert drift.since_time_ms == drift.since_offset * SECOND_MS
    assert (drift.change.before, drift.change.after) == pytest.approx((0, 0.5), abs=0.15)
    assert drift.change.before_rows == sum(drift.before_counts) == 2000
    assert drift.change.after_rows == sum(drift.after_counts) == 100 * drift.parameters["windows"]
    assert len(drift.bins) == len(drift.before_counts) + 1 == len(drift.after_counts) + 1 <= 21
    assert all(low < high for low, high in itertools.pairwise(drift.bins))
    assert drift.p_value < 1e-6
    assert drift.log_e_value > 10
    assert drift.parameters["joint_log_e_value"] >= drift.parameters["joint_log_e_value_min"]
    assert "mean" in drift.message


def test_categories_and_missing_rows_have_names() -> None:
    """Cells of a discrete feature are its values; of missing rows, ``present`` and ``missing``."""
    new = next(drift for drift in told(watch_of(), {"new": 0.2}) if drift.subject == "feature:colour")
    lost = next(drift for drift in told(watch_of(), {"lost": 0.2}) if drift.subject == "feature:load")

    assert new.categories == ("0", "1", "2", "3", "other")
    assert (new.bins, new.before_counts[-1], new.after_counts[-1] > 0) == ((), 0, True)
    assert (lost.categories, lost.before_counts) == (("present", "missing"), (2000, 0))
    assert lost.change.after == pytest.approx(0.2, abs=0.1)


def test_all_features_together_name_those_that_tell() -> None:
    """A changed correlation is told with the two features that it is between."""
    drift = next(drift for drift in told(watch_of(), {"bound": 0.8}) if drift.subject == "features")
    shares = {name: share for name, share in drift.parameters.items() if name.startswith("share:")}

    assert set(list(shares)[:2]) == {"share:price", "share:load"}
    assert drift.statistic > drift.threshold > 0.5
    assert len(drift.bins) == 21


@pytest.mark.parametrize("seed", range(4))
def test_cuts_of_the_rows_make_no_difference(seed: int) -> None:
    """Any frames, labels among the rows: equal findings at equal offsets, and an equal state."""
    whole = given(World(4, price=0.4), 2500, labels=7)
    cuts = sorted({0, 2500, *np.random.default_rng(seed).integers(0, 2500, 30).tolist()})
    once, often = watch_of(), watch_of()

    expected = [(int(whole[0].offsets[drift.row]), drift.message, drift) for drift in once.take(*whole)]
    actual = [
        (begin + drift.row, drift.message, drift)
        for begin, end in itertools.pairwise(cuts)
        for drift in often.take(*part(whole, begin, end))
    ]

    assert len(expected) >= 1
    assert [found[:2] for found in expected] == [found[:2] for found in actual]
    assert [found[2].p_value for found in expected] == [found[2].p_value for found in actual]
    assert json.dumps(once.saved()) == json.dumps(often.saved())


@pytest.mark.parametrize("at", [0, 1, 99, 100, 350, 1234])
def test_a_restored_watch_goes_on_as_the_one_that_saved_it(at: int) -> None:
    """Saved as JSON in the middle of a window: equal findings and an equal state for ever after."""
    whole = given(World(5, price=0.25), 2500)
    running, restored = watch_of(), WindowWatch(POLICY, (), "classification", 2)
    running.take(*part(whole, 0, at))

    restored.restore(json.loads(json.dumps(running.saved())), profile())

    rest = part(whole, at, 2500)
    assert running.take(*rest) == restored.take(*rest)
    assert running.saved() == restored.saved()


def test_a_window_needs_time_and_rows_and_ends_with_enough_rows() -> None:
    """Few rows wait for more, many rows do not wait for time, a late row belongs to the window in which it comes."""
    watch = watch_of(Windows(window_s=50, rows_min=100, rows_max=150))
    slow = given(World(6), 101, times_s=[60.0 * number for number in range(101)])
    quick = given(World(6), 160, 101, times_s=[6000 - number * 0.1 for number in range(160)])

    watch.take(*slow)
    assert watch.saved()["rows"] == 1, "the 101st row begins a window"
    watch.take(*quick)
    assert watch.saved()["rows"] == 11, "150 rows are a window, however late they are"


def test_a_lasting_drift_is_told_rarely() -> None:
    """After it was told, its subject is quiet for 20 windows, then for 40, and so on; another one is told meanwhile."""
    watch = watch_of()
    windows = [
        given(World(700 + number, price=2.0, lost=0.3 * (number > 10)), 100, 100 * number) for number in range(200)
    ]
    tellings: dict[str, list[int]] = {}
    for number, window in enumerate(windows):
        for drift in watch.take(*window):
            tellings.setdefault(drift.subject, []).append(number)

    price = tellings["feature:price"]
    assert len(price) == 4
    assert price[1] - price[0] >= COOL_DOWN_WINDOWS
    assert all(later > earlier for earlier, later in itertools.pairwise(np.diff(price).tolist()))
    assert 10 < tellings["feature:load"][0] < 20


def test_a_new_version_is_a_new_beginning() -> None:
    """Its own profile counts, nothing of the earlier one; the same version again changes nothing."""
    watch, moved = watch_of(), World(8, price=1.0)
    assert watch.take(*given(moved, 500))
    state = watch.saved()
    watch.begin(1, profile())
    assert watch.saved() == state

    watch.begin(2, None)
    assert (watch.subjects, watch.take(*given(moved, 500))) == ([], [])
    watch.begin(3, profile(run_id="run-3"))
    found = watch.take(*given(moved, 500))
    assert "version 3" in found[0].message


def test_what_a_restart_cannot_use_it_begins_anew() -> None:
    """A saved state of another profile is not mixed with this one."""
    watch = watch_of()
    watch.take(*given(World(9), 350))
    restored = WindowWatch(POLICY)
    restored.restore(watch.saved(), profile(run_id="run-2"))

    assert restored.saved()["rows"] == 0
    assert restored.saved()["run_id"] == "run-2"


def test_a_feature_that_one_side_lacks_is_not_compared() -> None:
    """No column, no finding, and nothing else is disturbed."""
    frame, values, scores = given(World(10, price=1.0), 1000)
    lacking = part((frame, values, scores), 0, 1000)[0]
    less = {name: column for name, column in lacking.features.items() if name != "colour"}
    rows = Rows(
        **{name: getattr(lacking, name) for name in Rows.__dataclass_fields__ if name != "features"}, features=less
    )
    found = watch_of().take(rows, values, scores)

    assert "feature:price" in {drift.subject for drift in found}
    assert "feature:colour" not in {drift.subject for drift in found}


def test_false_warnings_are_as_rare_as_promised() -> None:
    """Within as many windows as lie between two of them on average, at most half of all models have one.

    Each of 12 models has one small profile for all its windows, whose luck a product of p-values would take for drift.
    """
    policy = Windows(window_s=ROWS, rows_min=ROWS, rows_max=ROWS, false_alarm_windows=LOOKS)
    models = 12

    alarmed = sum(
        bool(watch_of(policy, profile(1000 + model, rows=200)).take(*given(World(2000 + model), ROWS * LOOKS)))
        for model in range(models)
    )

    assert alarmed <= models / 2 + 2 * math.sqrt(models / 4)


def test_products_of_these_p_values_would_cry_wolf() -> None:
    """Why nothing is multiplied: without a change, ``R = (R + 1) * e`` passes 1,000 for most profiles in 70 windows.

    One profile's luck is in all its windows. ``e = 1 / (2 sqrt p)``, the mean over ten features that never change.
    """
    alarmed = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        detectors = [KolmogorovSmirnov(rng.normal(size=60)) for _ in range(10)]
        sums, cried = np.zeros(10), False
        for _ in range(70):
            p_values = np.array([detector.judge(rng.normal(size=200)).p_value for detector in detectors])
            sums = (sums + 1) * 0.5 / np.sqrt(np.maximum(p_values, 1e-12))
            cried |= float(sums.mean()) >= 1000
        alarmed += cried

    assert alarmed >= 4


def test_e_values_have_a_mean_of_one_without_a_change() -> None:
    """The calibrator's integral is 1, and one pool of one stream at the least p-value is just enough."""
    least = least_p_value(7, 1000)
    grid = np.exp(np.linspace(math.log(least), 0, 100_001))
    integral = least * e_values(least, least) + float(np.trapezoid(e_values(grid, least), grid))

    assert integral == pytest.approx(1, abs=1e-3)
    assert float(e_values(least, least)) / (JUDGED * 7) == pytest.approx(needed(1000), rel=1e-3)


def test_the_strongest_stream_is_always_named() -> None:
    """Also where no single one is enough for e-BH."""
    assert named(np.array([3.0, 5.0, 1.0])) == [1]


def test_pools_are_judged_as_often_as_the_promise_counts() -> None:
    """Up to no window have more pools of a size been due than fit into the windows until then."""
    counts = dict.fromkeys(SCALES, 0)
    for number in range(1, 100):
        for scale in due(number):
            counts[scale] += 1
        assert all(counts[scale] == number // scale for scale in SCALES)
        assert sum(counts.values()) <= JUDGED * number
