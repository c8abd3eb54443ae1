"""The join: what each label finds, and what is counted where it finds nothing."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from millrace.contracts.gates_policy import Slice
from services.monitor.join import MARK_ROWS, SLICE_ROWS, Counts, Join, Joined
from services.monitor.slices import Slicer

HORIZON = 100


def test_a_label_finds_its_prediction(make: Any) -> None:
    """What is joined has the label's offset and the event's time, version, value and scores."""
    lines = [make.line("a", version=3, value=1.0, scores=(0.2, 0.8)), make.line("b"), make.line("a", label=0.0)]

    joined = Join(HORIZON, 2).take(make.rows(lines, 50))

    assert joined.event_ids == ["a"]
    assert (joined.offsets[0], joined.times_ms[0], joined.rows[0]) == (52, 50_000, 2)
    assert (joined.versions[0], joined.values[0], joined.labels[0], *joined.scores[0]) == (3, 1.0, 0.0, 0.2, 0.8)


def test_what_a_second_version_said_waits_too(make: Any) -> None:
    """Both answers, the epoch and the champion of the time of scoring: the label's frame says nothing about them."""
    paired = make.line("a", version=3, scores=(0.2, 0.8), other_version=2, other_value=0.0, other_scores=(0.6, 0.4))
    join = Join(HORIZON, 2)
    join.take(make.rows([paired, make.line("b", version=2)], 50, epoch=7, champion_version=2))

    labels = [make.line("a", label=0.0), make.line("b", label=0.0)]
    joined = join.take(make.rows(labels, 52, epoch=8, champion_version=3))

    assert joined.epochs.tolist() == [7, 7]
    assert joined.champions.tolist() == [2, 2]
    assert (joined.versions.tolist(), joined.other_versions.tolist()) == ([3, 2], [2, 0])
    assert (joined.other_values[0], *joined.other_scores[0]) == (0.0, 0.6, 0.4)
    assert joined.champion_values().tolist() == [0.0, 1.0]
    assert np.isnan([joined.other_values[1], *joined.other_scores[1]]).all()


def test_an_older_writer_names_no_champion(make: Any) -> None:
    """Then it is who answered, as it was before there were rollouts."""
    joined = Join(HORIZON, 0).take(make.rows([make.line("a", version=4, value=3.0), make.line("a", label=1.0)]))

    assert (joined.champions.tolist(), joined.champion_values().tolist()) == ([4], [3.0])


def test_a_champion_that_did_not_score_an_event_said_nothing(make: Any) -> None:
    """In an A/B test the event of another arm has no answer of the champion."""
    rows = make.rows([make.line("a", version=4), make.line("a", label=1.0)], champion_version=3)

    assert np.isnan(Join(HORIZON, 0).take(rows).champion_values()).all()


def test_an_event_that_only_the_second_version_scored_waits(make: Any) -> None:
    """The answer was no number, the other version's is: its label is for that one."""
    lines = [make.line("a", value=np.nan, other_version=2, other_value=0.0), make.line("a", label=1.0)]

    joined = Join(HORIZON, 0).take(make.rows(lines))

    assert [len(joined.said_by(version)[0]) for version in (1, 2)] == [0, 1]


def test_labels_may_come_in_any_order(make: Any) -> None:
    """Labels in reverse order, in a later frame, find their events all the same."""
    join = Join(HORIZON, 0)
    join.take(make.rows([make.line(name, value=float(ord(name))) for name in "abc"]))

    joined = join.take(make.rows([make.line(name, label=1.0) for name in "cab"], 3))

    assert joined.event_ids == ["c", "a", "b"]
    assert joined.values.tolist() == [99.0, 97.0, 98.0]


@pytest.mark.parametrize(
    ("ids", "counts"),
    [
        ("a A", Counts(joined=1)),
        ("a A A", Counts(joined=1, duplicate=1)),
        ("A a", Counts(unknown=1)),
        ("A a A", Counts(joined=1, unknown=1)),
        ("B", Counts(unknown=1)),
        ("a a A", Counts(joined=1, repeated=1)),
        ("a A a A", Counts(joined=1, repeated=1, duplicate=1)),
        ("a", Counts()),
        ("a A A*", Counts(joined=1, corrected=1)),
        ("a A A* A* A", Counts(joined=1, corrected=2, duplicate=1)),
        ("a A*", Counts(joined=1)),
        ("a b A B A*", Counts(joined=2, corrected=1)),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_every_label_and_event_is_counted(make: Any, ids: str, counts: Counts, *, whole: bool) -> None:
    """Small letters are events, capitals their labels, a star says another one. One frame or many: the same counts."""
    lines = [
        make.line(name[0].lower(), label=float("*" in name) if name[0].isupper() else None) for name in ids.split()
    ]
    join = Join(HORIZON, 0)

    for frame in [lines] if whole else [[line] for line in lines]:
        join.take(make.rows(frame, lines.index(frame[0])))

    assert counts == join.counts


def test_a_label_that_is_no_number_is_unusable(make: Any) -> None:
    """It is counted, and the prediction goes on waiting for a proper one."""
    join = Join(HORIZON, 0)

    joined = join.take(make.rows([make.line("a"), make.line("a", label=np.nan), make.line("a", label=1.0)]))

    assert joined.labels.tolist() == [1.0]
    assert Counts(joined=1, unusable=1) == join.counts


def test_an_event_that_no_model_answered_waits_for_nothing(make: Any) -> None:
    """Version 0 or a value that is no number: its label is unknown."""
    join = Join(HORIZON, 0)

    join.take(make.rows([make.line("a", version=0), make.line("b", value=np.nan), *_labels(make, "ab")]))

    assert Counts(unknown=2) == join.counts


def _labels(make: Any, ids: str) -> list[Any]:
    return [make.line(name, label=1.0) for name in ids]


@pytest.mark.parametrize(("newer", "joined"), [(HORIZON - 1, 1), (HORIZON, 0)])
def test_the_horizon_is_exact(make: Any, newer: int, joined: int) -> None:
    """A prediction is forgotten when as many newer ones have come as the horizon says, and not one earlier."""
    lines = [make.line("a"), *(make.line(f"e{number}") for number in range(newer)), make.line("a", label=1.0)]
    join = Join(HORIZON, 0)

    assert joined == len(join.take(make.rows(lines)))
    assert (
        Counts(joined=joined, unknown=1 - joined, forgotten_unlabelled=1 - joined, forgotten=1 - joined) == join.counts
    )


def test_memory_is_bounded(make: Any) -> None:
    """However many predictions stay without labels, no more than the horizon's are remembered; the rest is counted."""
    join = Join(HORIZON, 0)

    join.take(make.rows([make.line(f"e{number}") for number in range(3 * SLICE_ROWS)]))

    assert join.waiting == HORIZON
    assert join.counts.forgotten_unlabelled == 3 * SLICE_ROWS - HORIZON


def test_a_correction_names_the_prediction_and_the_new_label(make: Any) -> None:
    """It stands apart from the first labels, so that nobody takes it for one."""
    join = Join(HORIZON, 0)
    join.take(
        make.rows([make.line("a", version=3), make.line("b"), make.line("b", label=0.0), make.line("a", label=1)])
    )

    joined = join.take(make.rows([make.line("b", label=1.0), make.line("c"), make.line("c", label=1.0)], 4))

    assert ["c"] == joined.event_ids
    assert joined.corrections is not None
    found = joined.corrections
    assert (["b"], [1], [1.0], [4], [0]) == (
        found.event_ids, found.numbers.tolist(), found.labels.tolist(), found.offsets.tolist(), found.rows.tolist(),
    )  # fmt: skip


def test_a_part_is_that_of_the_event_and_its_champion(make: Any) -> None:
    """Whatever features and champion are when the label comes."""
    join = Join(HORIZON, 0, Slicer([Slice(feature="price", bins=(0.5,))]))
    join.take(make.rows([make.line("a", price=0.5), make.line("b", price=0.6), make.line("c", price=np.nan)]))

    joined = join.take(make.rows([make.line(name, label=1.0) for name in "cab"], 3, champion_version=9))

    assert [[2], [0], [1]] == joined.codes.tolist()


def random_lines(make: Any, seed: int, rows: int, spread: int) -> list[Any]:
    """Events, repeats, first labels, repeated and corrected ones, on both sides of the horizon."""
    rng = np.random.default_rng(seed)
    return [
        make.line(
            f"e{rng.integers(max(0, at - spread), at + 20)}",
            label=float(rng.integers(0, 2)) if rng.random() < 0.5 else None,
        )
        for at in range(rows)
    ]


def columns(found: list[Joined]) -> list[list[Any]]:
    """What was joined, and what was corrected, whatever frames it came in."""
    corrections = [each.corrections for each in found if each.corrections is not None]
    return [
        [value for each in part for value in getattr(each, name).tolist()]
        for part in (found, corrections)
        for name in ("offsets", "times_ms", "numbers", "labels")
    ]


@pytest.mark.parametrize("seed", range(10))
def test_frames_can_be_cut_anywhere(make: Any, seed: int) -> None:
    """Random events, repeats and labels, on both sides of the horizon: cuts change neither joins nor counts."""
    lines = random_lines(make, seed, 2000, 300)
    whole, parts = Join(HORIZON, 0), Join(HORIZON, 0)

    expected = whole.take(make.rows(lines))
    frames = [parts.take(make.rows(lines[at : at + 7], at)) for at in range(0, len(lines), 7)]

    assert columns([expected]) == columns(frames)
    assert whole.counts == parts.counts
    assert all(count > 0 for name, count in dataclasses.asdict(whole.counts).items() if name != "unusable")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [30, 150, 1000])
def test_predictions_that_are_read_again_are_as_they_were(make: Any, seed: int, spread: int) -> None:
    """A join that is saved anywhere, and given the rows since its oldest prediction, goes on as if nothing was."""
    lines = random_lines(make, seed, 3000, spread)
    at = int(np.random.default_rng(seed).integers(HORIZON, 2500))
    first = Join(HORIZON, 0)
    first.take(make.rows(lines[:at]))
    saved, oldest = json.loads(json.dumps(first.saved())), first.oldest_offset
    assert oldest is not None
    assert oldest >= at - 3 * HORIZON, "few rows are read again, or this shows nothing"

    second = Join(HORIZON, 0)
    second.restore(saved)
    for begin in range(oldest, at, 64):
        second.remember(make.rows(lines[begin : min(begin + 64, at)], begin))
    found = [[join.take(make.rows(lines[begin : begin + 50], begin)) for begin in range(at, 3000, 50)]
             for join in (first, second)]  # fmt: skip

    assert columns(found[0]) == columns(found[1])
    assert first.counts == second.counts
    assert first.waiting == second.waiting
    assert first.saved() == second.saved()


def test_predictions_that_the_log_has_no_more_are_given_up(make: Any) -> None:
    """Their labels are unknown then; later predictions have the numbers that they had."""
    horizon = 4 * MARK_ROWS
    events = [make.line(f"e{at}") for at in range(horizon)]
    first = Join(horizon, 0)
    first.take(make.rows(events))

    second = Join(horizon, 0)
    second.restore(first.saved())
    second.remember(make.rows(events[100:600], 100))
    second.remember(make.rows(events[600:], 600))
    labels = make.rows([make.line(name, label=1.0) for name in ("e50", "e600", f"e{horizon - 1}")], horizon)

    assert [600, horizon - 1] == second.take(labels).numbers.tolist()
    assert Counts(joined=2, unknown=1) == second.counts
    third = Join(horizon, 0)
    third.restore(first.saved())
    assert [horizon] == third.take(make.rows([make.line("n"), make.line("n", label=1.0)])).numbers.tolist()
