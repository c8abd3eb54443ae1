"""The streams of the drift benchmark: the same for the same seed, and with the drifts where they are said to be."""

import doctest
import itertools

import numpy as np
import pytest

from benchmarks.drift import streams
from benchmarks.drift.streams import FEATURES, TRAIN_ROWS, WORLDS, hyperplane

DRIFTING = [world for world in WORLDS if world.kind not in {"stable", "correlated"}]
ENDLESS = [world for world in WORLDS if world.kind in {"stable", "correlated"}]
EVENTS = 4_000


def names(worlds):
    """For the list of tests."""
    return [world.name for world in worlds]


def test_the_examples_in_the_docstrings_hold():
    """The benchmarks are outside the folders whose examples run by themselves."""
    assert 0 == doctest.testmod(streams).failed


def test_every_kind_of_drift_is_there():
    """Those of the literature, a planted fault in real rows, and rows without any drift."""
    assert {"sudden", "gradual", "incremental", "recurring", "planted", "stable", "correlated"} == {
        world.kind for world in WORLDS
    }
    assert len(WORLDS) == len({world.name for world in WORLDS})


@pytest.mark.parametrize("world", WORLDS, ids=names(WORLDS))
def test_a_seed_gives_the_same_stream_and_another_seed_another(world):
    """To the last bit."""
    first, again, other = (world.make(seed, EVENTS) for seed in (3, 3, 4))

    assert np.array_equal(first.features, again.features)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.values, again.values)
    assert (first.drifts, first.benign) == (again.drifts, again.benign)
    assert not np.array_equal(first.labels[:EVENTS], other.labels[:EVENTS])
    assert first.features.shape[1] >= FEATURES


@pytest.mark.parametrize("world", DRIFTING, ids=names(DRIFTING))
def test_the_model_is_worse_after_a_drift_and_only_then(world):
    """Before it the error is level, within four standard errors; in the 2,000 rows up to the next change higher."""
    stream = world.make(5, 0)
    begin = min(stream.drifts)
    level = stream.errors[:begin].mean()
    noise = 4 * np.sqrt(level * (1 - level) / (begin // 2))

    assert stream.drifts
    assert abs(stream.errors[: begin // 2].mean() - stream.errors[begin // 2 : begin].mean()) < np.sqrt(2) * noise
    changes = sorted([*stream.drifts, *stream.benign, len(stream.labels)])
    for place, until in itertools.pairwise(changes):
        later = stream.errors[max(place, until - 2_000) : until].mean()
        assert (later > level + noise) == (place in stream.drifts)


@pytest.mark.parametrize("world", ENDLESS, ids=names(ENDLESS))
def test_a_stable_stream_is_as_long_as_asked_and_has_no_drift(world):
    """Its halves have the same error, where its rows are independent."""
    stream = world.make(6, EVENTS)
    halves = [part.mean() for part in np.split(stream.errors, 2)]

    assert (EVENTS, (), ()) == (len(stream.labels), stream.drifts, stream.benign)
    if world.kind == "stable":
        assert abs(halves[0] - halves[1]) < 5 * np.sqrt(2 * np.mean(halves) / (EVENTS / 2))


def test_a_plane_stands_still_until_it_turns():
    """Up to the row where one of two planes begins to turn, their rows are the same."""
    still = [label for _, label in itertools.islice(hyperplane(7), 8_000)]
    turned = [label for _, label in itertools.islice(hyperplane(7, 5_000, 0.05), 8_000)]

    assert still[:5_000] == turned[:5_000]
    assert still != turned


def test_swapped_columns_are_swapped_from_the_drift_on():
    """Before it the rows are those of the table, whatever their order."""
    world = next(world for world in WORLDS if "swapped" in world.name)
    stream, (table, _) = world.make(8, 0), streams.electricity()
    rows = {tuple(row) for row in table.round(9).tolist()}
    width, place = table.shape[1], stream.drifts[0]

    whole = [tuple(row) in rows for row in stream.features[:, :width].round(9).tolist()]

    assert all(whole[:place])
    assert np.mean(whole[place:]) < 0.01  # a few rows may be equal by chance
    assert TRAIN_ROWS + len(whole) <= len(table)
