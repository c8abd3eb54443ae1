"""Who is assigned to which variant: shares, stickiness, growth, independence."""

import hashlib
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.serving.split import CHAMPION_PART, assign, positions

ENTITIES = [f"customer-{n}" for n in range(20_000)]
DRAWN = positions("rollout/m/1", ENTITIES)
SHARES = st.lists(st.floats(0.01, 0.3), min_size=1, max_size=3)
IDS = st.text(min_size=1, max_size=100)


def deviations(count: int, rows: int, share: float) -> float:
    """How many standard deviations of a binomial the count is away from its mean."""
    return abs(count - rows * share) / math.sqrt(rows * share * (1 - share))


def test_each_unit_is_hashed_as_the_contract_says():
    """First 8 bytes of BLAKE2b keyed with the rollout, over 2^64; the same whoever computes it."""
    expected = [
        int.from_bytes(hashlib.blake2b(unit, key=b"rollout/m/7").digest()[:8], "big") / 2**64
        for unit in (b"a", b"\xc3\xa4")
    ]

    np.testing.assert_allclose(positions("rollout/m/7", ["a", "ä", "a"]), [*expected, expected[0]], rtol=0, atol=1e-15)
    assert [] == positions("rollout/m/7", pa.array([], pa.utf8())).tolist()


@given(st.lists(st.text(), max_size=30), IDS)
def test_positions_are_below_one_and_depend_on_nothing_else(units, rollout_id):
    """The same unit of the same rollout has the same place in any batch; an id longer than a key is no problem."""
    drawn = positions(rollout_id, units)
    alone = [positions(rollout_id, [unit])[0] for unit in units]

    assert alone == drawn.tolist()
    assert all(0 <= one < 1 for one in alone)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9])
def test_shares_are_kept_within_what_chance_allows(share):
    """Five standard deviations: with twenty thousand entities once in some million rollouts."""
    for number in range(5):
        part = assign(positions(f"rollout/m/{number}", ENTITIES), [share])
        assert deviations(int((part == 1).sum()), len(ENTITIES), share) < 5


@given(SHARES)
def test_several_arms_have_their_shares(shares):
    """The champion has what is left."""
    part = assign(DRAWN, shares)
    seen = [int((part == number).sum()) for number in range(1, len(shares) + 1)]

    assert all(deviations(count, len(ENTITIES), share) < 6 for count, share in zip(seen, shares, strict=True))
    assert len(ENTITIES) - sum(seen) == int((part == CHAMPION_PART).sum())


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_growing_share_keeps_its_entities(one, other):
    """Whoever had the candidate has it in every later step."""
    small, large = sorted((one, other))
    before, after = assign(DRAWN, [small]), assign(DRAWN, [large])

    assert not ((before == 1) & (after != 1)).any()


def test_nothing_and_everything():
    """A share of 0 has nobody, a share of 1 all."""
    assert {CHAMPION_PART} == set(assign(DRAWN, [0.0]).tolist()) == set(assign(DRAWN, []).tolist())
    assert {1} == set(assign(DRAWN, [1.0]).tolist())
    assert [1, 2, CHAMPION_PART] == assign(np.array([0.0, 0.25, 0.5]), [0.25, 0.25]).tolist()


def test_two_rollouts_try_out_on_different_entities():
    """Of those that had the first candidate the second one gets its share, no more and no less."""
    first = assign(positions("rollout/m/4", ENTITIES), [0.2]) == 1
    second = assign(positions("rollout/m/5", ENTITIES), [0.2]) == 1

    assert deviations(int((first & second).sum()), int(first.sum()), 0.2) < 5
