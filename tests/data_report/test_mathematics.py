"""The distances and tests of the report: known values, a second opinion, and what must hold for any counts."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from scipy.spatial import distance as scipy_distance

from millrace.data_report import chi_square, correlation, jensen_shannon, wasserstein
from millrace.data_report.bars import bars_of, on_bars
from millrace.data_report.bins import counts, edges_of
from millrace.data_report.compare import trend_of
from millrace.data_report.psi import noise, psi
from millrace.data_report.sample import chosen, rate_of

MEASURES = {"psi": psi, "jensen_shannon": jensen_shannon.distance}
PAIRS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(*[npst.arrays(np.int64, size, elements=st.integers(0, 1_000)) for _ in range(2)])
)
SAMPLES = npst.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6))


@pytest.mark.parametrize("name", MEASURES)
@given(pair=PAIRS)
def test_a_measure_is_symmetric_and_nothing_only_between_equals(name, pair):
    """Zero for the same shares, never negative, and the same in both directions."""
    measure, (one, other) = MEASURES[name], pair

    assert measure(one, other) == pytest.approx(measure(other, one), abs=1e-12)
    assert measure(one, other) >= 0
    assert measure(one, one) == pytest.approx(0, abs=1e-7)


@given(pair=PAIRS)
def test_jensen_shannon_agrees_with_scipy_and_is_bounded(pair):
    """It is a distance in bits, so 1 is the most."""
    one, other = pair
    if one.sum() and other.sum():
        assert scipy_distance.jensenshannon(one, other, base=2) == pytest.approx(
            jensen_shannon.distance(one, other), abs=1e-6
        )
    assert jensen_shannon.distance(one, other) <= 1


@given(one=SAMPLES, other=SAMPLES, shift=st.floats(-1e3, 1e3))
def test_wasserstein_agrees_with_scipy_and_is_the_length_of_a_shift(one, other, shift):
    """All values carried by d are d away."""
    assert stats.wasserstein_distance(one, other) == pytest.approx(wasserstein.distance(one, other), rel=1e-6, abs=1e-6)
    assert abs(shift) == pytest.approx(wasserstein.distance(one + shift, one), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("statistic", "free"), [(0.0, 1), (0.5, 3), (3.84, 1), (30.0, 10), (200.0, 150), (900.0, 3)])
def test_the_tail_of_chi_square_is_scipys(statistic, free):
    """On both sides of the mean, near it, and far out."""
    assert stats.chi2.sf(statistic, free) == pytest.approx(chi_square.upper_tail(statistic, free), rel=1e-9, abs=1e-300)


def test_the_chance_is_that_of_scipys_contingency_table():
    """Without rare categories both are the same; rare ones are counted as one."""
    one, other = np.array([30, 70, 55]), np.array([50, 50, 60])
    expected = stats.chi2_contingency([one, other], correction=False).pvalue

    assert expected == pytest.approx(chi_square.chance(one, other))
    together = stats.chi2_contingency([[30, 70, 6], [50, 50, 8]], correction=False).pvalue
    assert together == pytest.approx(chi_square.chance(np.array([30, 70, 2, 4]), np.array([50, 50, 4, 4])))


@pytest.mark.parametrize(
    ("one", "other"),
    [([0, 0], [5, 5]), ([5], [9]), ([0, 9], [0, 4]), ([], [])],
    ids=["none", "one", "empty", "nothing"],
)
def test_where_nothing_can_be_compared_nothing_is_found(one, other):
    """No rows, or a single category."""
    pair = np.array(one, np.int64), np.array(other, np.int64)

    assert (1.0, 0.0 if not sum(one) else pytest.approx(0, abs=1e-9)) == (
        chi_square.chance(*pair), jensen_shannon.distance(*pair),
    )  # fmt: skip


@given(values=SAMPLES, reference=SAMPLES)
def test_every_number_is_in_one_bin(values, reference):
    """However the edges lie; and the reference is spread over them."""
    edges = edges_of(reference)

    assert len(values) == counts(values, edges).sum()
    assert np.all(np.diff(edges) > 0)


@pytest.mark.parametrize("draw", ["normal", "few", "exponential"])
def test_chance_alone_seldom_exceeds_the_noise(draw):
    """Of 400 pairs of samples from one distribution, at most two exceed what one in 10,000 should."""
    rng, above = np.random.default_rng(3), 0
    for _ in range(400):
        pair = rng.normal(size=(2, 300)) if draw == "normal" else rng.exponential(size=(2, 300))
        one, other = rng.integers(0, 6, (2, 300)).astype(float) if draw == "few" else pair
        edges = edges_of(other)
        binned = counts(one, edges), counts(other, edges)
        above += psi(*binned) > noise(*binned)

    assert above <= 2


def test_a_shift_of_half_a_spread_is_seen():
    """The noise does not hide what the index is for."""
    rng = np.random.default_rng(4)
    one, other = rng.normal(0.5, 1, 1000), rng.normal(0, 1, 1000)
    edges = edges_of(other)
    binned = counts(one, edges), counts(other, edges)

    assert psi(*binned) > max(0.1, noise(*binned))
    assert 0.5 == pytest.approx(wasserstein.in_spreads(one, other), abs=0.1)
    assert wasserstein.in_spreads(one, np.ones(5)) is None


@pytest.mark.parametrize(
    ("learned", "seen", "rows", "expected"),
    [(0.9, 0.1, 300, True), (0.9, 0.7, 300, False), (0.9, 0.3, 4, False), (1.0, -1.0, 300, True)],
)
def test_a_correlation_breaks_by_much_and_beyond_chance(learned, seen, rows, expected):
    """A small change, or a large one in few rows, is none."""
    assert expected == correlation.broke(learned, 1000, seen, rows)


def test_a_correlation_needs_rows_that_vary():
    """Too few rows in common, or a constant, tell nothing."""
    x = np.arange(200.0)

    assert correlation.pearson(x[:50], x[:50]) is None
    assert correlation.pearson(x, np.ones(200)) is None


@given(st.lists(st.integers(0, 5_000), unique=True).map(sorted), st.integers(0, 300), st.integers(0, 20))
def test_the_sample_does_not_depend_on_how_rows_are_read(offsets, cut, partition):
    """In one piece or in two: the same rows."""
    whole = np.array(offsets, np.int64)
    pieces = [chosen(partition, part, 0.3) for part in (whole[:cut], whole[cut:])]

    assert chosen(partition, whole, 0.3).tolist() == np.concatenate(pieces).tolist()


@pytest.mark.parametrize("stride", [1, 2, 100, 1024])
def test_the_sample_has_its_share_of_any_rhythm(stride):
    """Every other offset, every hundredth: within four standard errors."""
    offsets = np.arange(40_000, dtype=np.int64) * stride
    taken = chosen(3, offsets, 0.25).sum()

    assert abs(taken - 10_000) < 4 * np.sqrt(40_000 * 0.25 * 0.75)
    assert (1.0, 0.5, 1.0) == (rate_of(10, 20), rate_of(40, 20), rate_of(0))


@given(new=SAMPLES, other=SAMPLES)
def test_every_number_is_in_one_bar(new, other):
    """Those beyond the picture are in the outermost ones; the bars are never too many."""
    bars = bars_of(new, [other])

    for each in (new, other):
        shares = on_bars(each, bars)
        assert 1.0 == pytest.approx(shares.sum())
        assert 1 <= len(shares) <= 30


@pytest.mark.parametrize(
    "values", [np.arange(48) / 47, np.arange(49) / 48 - 3, np.arange(200) * 0.1, np.arange(31) + 0.5]
)
def test_a_grid_of_values_is_drawn_without_a_comb(values):
    """Each value as often as the others: all bars but the last are equally high, though 28 is no divisor."""
    repeated = np.repeat(values, 5)

    shares = on_bars(repeated, bars_of(repeated, []))

    assert 1 == len(set(np.round(shares[:-1], 12)))
    assert shares[-1] <= shares[0]


@pytest.mark.parametrize("value", [0.0, 1e308, -1e308, 5e-324])
def test_bars_stand_the_ends_of_floats(value):
    """Among ordinary numbers, the largest and the smallest ones."""
    values = np.concatenate([np.linspace(-8e307, 8e307, 40), [value]])

    assert 1.0 == pytest.approx(on_bars(values, bars_of(values, [values])).sum())


@given(npst.arrays(np.float64, st.integers(0, 200)), npst.arrays(np.float64, st.integers(0, 200)))
@example(np.zeros(111), np.zeros(1))
def test_a_trend_is_short_and_knows_where_the_new_rows_begin(previous, new):
    """Whatever is in the rows; the steps of the new ones come last."""
    found, start = trend_of(previous, new)

    assert len(found) <= 49
    assert start <= len(found)
    assert all(value is None or np.isfinite(value) for value in found)
    if len(new) and len(previous):
        assert 0 < start < len(found)
