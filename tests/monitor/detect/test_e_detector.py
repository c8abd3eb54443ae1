"""The e-detector keeps its average run length, finds changes soon, and can be saved at any row."""

import json

import numpy as np
import pytest

from services.monitor.detect import EDetector, bets
from services.monitor.detect.bets import BETS, STAKES

ROWS = 400_000
RUN_LENGTH = 2_000
LOSSES = {
    "5 % errors": lambda rng: (rng.random(ROWS) < 0.05).astype(float),
    "30 % errors": lambda rng: (rng.random(ROWS) < 0.3).astype(float),
    "small losses": lambda rng: rng.beta(2, 8, ROWS),
    "uniform losses": lambda rng: rng.random(ROWS),
}


@pytest.fixture
def eager(monkeypatch):
    """A planted fault: each stake is counted three times."""
    monkeypatch.setattr(bets, "STAKES", 3 * STAKES)


def alarms(make, losses):
    """Changes in so many stable rows, as a multiple of what is promised."""
    detector = make(false_alarm_rows=RUN_LENGTH)
    return len(detector.feed(losses)) * RUN_LENGTH / ROWS


def step(seed, before, after, rows=6_000):
    """Errors at one rate for 4,000 rows, then at another."""
    rates = np.where(np.arange(4_000 + rows) < 4_000, before, after)
    return (np.random.default_rng(seed).random(len(rates)) < rates).astype(float)


@pytest.mark.parametrize("losses", LOSSES.values(), ids=list(LOSSES))
def test_the_average_run_length_is_at_least_what_is_promised(losses):
    """400,000 stable rows at a run length of 2,000: at most the 200 alarms promised, with any kind of losses."""
    rows = losses(np.random.default_rng(11))

    assert 0.2 < alarms(EDetector, rows) <= 1


@pytest.mark.parametrize("losses", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.usefixtures("eager")
def test_stakes_that_are_too_high_break_the_promise(losses):
    """The test above can fail: stakes three times too high are seen."""
    assert alarms(EDetector, losses(np.random.default_rng(11))) > 1


@pytest.mark.parametrize(
    ("before", "after", "median_max"),
    [(0.02, 0.98, 16), (0.06, 0.53, 40), (0.1, 0.2, 400), (0.2, 0.3, 600), (0.02, 0.05, 1_100)],
)
def test_a_rise_is_found_soon(before, after, median_max):
    """With the default run length of 4,000,000 rows: the median delay of 20 seeds."""
    found = [
        [place for place, change in EDetector().feed(step(seed, before, after)) if change.rose] for seed in range(20)
    ]

    assert all(places and places[0] >= 4_000 for places in found)
    assert np.median([places[0] - 4_000 for places in found]) <= median_max


def test_slow_drift_is_found_though_the_baseline_takes_it_in():
    """From 10 % to 20 % errors over 10,000 rows, so slowly that neighbours never differ."""
    rates = np.concatenate([np.full(5_000, 0.1), np.linspace(0.1, 0.2, 10_000)])

    for seed in range(10):
        places = EDetector().feed((np.random.default_rng(seed).random(len(rates)) < rates).astype(float))
        assert places
        assert places[0][0] >= 5_000
        assert places[0][1].rose


def test_a_rise_below_the_tolerance_is_no_change():
    """Half a percent more errors for 300,000 rows is certain, and not worth a word; with no tolerance it is told."""
    rates = np.where(np.arange(400_000) < 100_000, 0.05, 0.055)
    rows = (np.random.default_rng(5).random(len(rates)) < rates).astype(float)

    assert not EDetector().feed(rows)
    assert EDetector(tolerance=0.0).feed(rows)


def test_small_steps_add_up():
    """Steps of less than the tolerance, each too small to be told, are told together."""
    rates = np.repeat([0.05, 0.057, 0.064, 0.071, 0.078], 100_000)
    rows = (np.random.default_rng(6).random(len(rates)) < rates).astype(float)

    found = EDetector().feed(rows)

    assert found
    assert found[0][1].after - found[0][1].before >= 0.01


@pytest.mark.parametrize("cut", [0, 3, 8, 1_001, 4_010, 5_000])
def test_a_restored_detector_goes_on_to_the_last_bit(cut):
    """Saved as JSON at any row, and restored: the same changes, the same e-value, the same saved state."""
    rows = np.concatenate([step(1, 0.1, 0.2), step(2, 0.2, 0.1)])
    running = EDetector()
    running.feed(rows[:cut])
    restored = EDetector()
    restored.restore(json.loads(json.dumps(running.saved())))

    expected = running.feed(rows[cut:])

    assert expected
    assert expected == restored.feed(rows[cut:])
    assert running.log_e_value == restored.log_e_value
    assert running.saved() == restored.saved()


def test_cuts_of_any_size_give_the_same_state():
    """Row by row, in odd batches or at once: the same e-value and the same saved state, with losses of any kind."""
    rows = np.concatenate([np.random.default_rng(3).beta(2, 8, 9_000), np.random.default_rng(4).beta(4, 6, 3_001)])
    at_once, batched, single = (EDetector() for _ in range(3))

    expected = at_once.feed(rows)
    batches = [
        (begin + place, change)
        for begin in range(0, len(rows), 1_237)
        for place, change in batched.feed(rows[begin : begin + 1_237])
    ]
    one_by_one = [(place, change) for place, row in enumerate(rows) if (change := single.update(row))]

    assert expected
    assert expected == batches == one_by_one
    assert at_once.saved() == batched.saved() == single.saved()


def played_row_by_row(losses, limit, baseline_rows=100):
    """The definition: every row a new player for each bet. Returns the alarm's place and where the best one began."""
    capital, gained, lowest = np.zeros((3, len(BETS)))
    began = np.full(len(BETS), baseline_rows)
    total = losses[:baseline_rows].sum()
    for place, loss in enumerate(losses[baseline_rows:], start=baseline_rows):
        gain = (1 + BETS * loss) / (1 + BETS * (total + 0.5) / (place + 1))
        total += loss
        capital = (capital + STAKES) * gain
        gained = gained + np.log(gain)
        if capital.sum() >= limit:
            return place, capital.sum(), began[np.argmax(gained - lowest + np.log(STAKES))]
        began = np.where(gained <= lowest + 1e-12, place + 1, began)
        lowest = np.minimum(gained, lowest)
    return None


@pytest.mark.parametrize(("seed", "limit"), [(1, 500), (2, 2_000), (3, 2_000), (4, 30_000), (5, 4_000_000)])
def test_spells_give_what_the_definition_gives(seed, limit):
    """The place of the alarm, the e-value and where the change began are those of the plain recursion."""
    losses = step(seed, 0.1, 0.25)
    place, e_value, began = played_row_by_row(losses, limit)

    found, change = EDetector(false_alarm_rows=limit, tolerance=0).feed(losses)[0]

    assert place == found
    assert e_value == pytest.approx(change.statistic)
    assert began == change.before_rows


@pytest.mark.parametrize("seed", range(8))
def test_a_limit_that_is_just_reached_is_reached_wherever_the_rows_are_cut(seed):
    """The limit is the e-value of some row, to the last digit: it alarms there, and not again when the rest comes."""
    losses = np.random.default_rng(seed).random(400).round(1)
    watched, limit = EDetector(false_alarm_rows=1e300), 0.0
    for loss in losses[:360]:
        watched.update(loss)
        limit = max(limit, np.exp(watched.log_e_value))
    limit = max(2.0, float(limit))

    at_once = EDetector(false_alarm_rows=limit).feed(losses)
    for cut in (64, 65, 127, 128, 200, 359):
        parts = EDetector(false_alarm_rows=limit)
        found = [*parts.feed(losses[:cut]), *((cut + at, change) for at, change in parts.feed(losses[cut:]))]

        assert at_once == found


def test_losses_that_never_move_are_no_change():
    """A model without an error, a long baseline and a low limit: what was won is the stakes alone."""
    detector = EDetector(false_alarm_rows=1_000, baseline_rows=400)

    assert [] == detector.feed(np.zeros(20_000))
    assert [] == detector.feed(np.full(3_000, 0.0))


def test_the_evidence_says_how_sure():
    """A change carries the e-value, the limit that it reached, and its logarithm."""
    _, change = EDetector().feed(step(7, 0.1, 0.3))[0]

    assert 4_000_000 == change.threshold
    assert change.statistic >= change.threshold
    assert np.log(change.statistic) == pytest.approx(change.log_e_value)


def test_nothing_is_bet_before_there_is_a_baseline():
    """In the first ``baseline_rows`` the e-value stays that of no bets."""
    detector = EDetector(baseline_rows=1_000)

    detector.feed(step(8, 0.0, 0.0)[:1_000])
    assert -np.inf == detector.log_e_value
    detector.feed(np.zeros(8))
    assert -np.inf < detector.log_e_value


def test_the_stakes_are_one_whole():
    """A stake of one for each row, divided between the bets: else the run length would be another."""
    assert 1 == pytest.approx(STAKES.sum())
    assert len(STAKES) == len(BETS)
    assert all(BETS > -1)


@pytest.mark.parametrize("loss", [-0.01, 1.01, 250.0])
def test_what_is_no_loss_is_refused(loss):
    """The error names the number, and nothing of the batch was taken."""
    detector = EDetector()

    with pytest.raises(ValueError, match=f"from 0 to 1, not {loss:g}"):
        detector.feed(np.array([0.5, loss]))
    assert 0 == detector.rows
