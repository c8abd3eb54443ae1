"""What is sent: five faults in known places, and everything else as it is in the file."""

import itertools
from collections import Counter

import pytest

from millrace.demo_data.inject import WHERE, Plan, clean
from tests.demo_data.scene import row, sendings

PLAN = Plan.of(6_000, 14_000)


def test_each_fault_has_its_bad_events() -> None:
    """Half of a feed's rows, a third, a burst, twelve hours, and both kinds of a changed schema."""
    sent = sendings(PLAN, 6_000, 14_000)
    faults = Counter(one.fault for one in sent if one.fault)

    assert {
        "unit_change": 250, "new_category": 167, "missing_burst": 150, "duplicated_hour": 24, "schema_change": 270,
    } == faults  # fmt: skip
    assert 8_000 + 24 == len(sent)


def test_bad_events_stand_in_their_stretch_only() -> None:
    """And good ones go on between them, except in the burst."""
    sent = sendings(PLAN, 6_000, 14_000)
    outside = [one for one in sent if one.fault and one.row not in PLAN.stretches[one.fault]]
    between = {
        fault: sum(one.fault is None and one.row in rows for one in sent) for fault, rows in PLAN.stretches.items()
    }

    assert [] == outside
    assert {
        "unit_change": 250, "new_category": 333, "missing_burst": 0, "duplicated_hour": 480, "schema_change": 230,
    } == between  # fmt: skip


def test_good_events_are_those_of_the_file() -> None:
    """Each row is sent exactly once as it is, or not at all; nothing but the feed is added."""
    sent = sendings(PLAN, 6_000, 14_000)
    good = [one for one in sent if one.fault is None]

    assert [one.row for one in good] == sorted({one.row for one in good})
    assert [] == [one for one in good if one != clean(row(one.row))]
    assert {"A": 4_000, "B": 4_000} == Counter(clean(row(number)).event["feed"] for number in range(6_000, 14_000))


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("unit_change", lambda one: one.event["nswdemand"] == 8_500.0 and one.event["feed"] == "B"),
        ("new_category", lambda one: one.event["feed"] == "C"),
        ("missing_burst", lambda one: one.event["vicdemand"] is None),
        ("schema_change", lambda one: one.writing == ("dropped" if one.row % 2 else "unknown")),
        ("schema_change", lambda one: ("transfer" in one.event) == (one.writing == "unknown")),
    ],
)
def test_what_is_wrong_is_what_the_fault_says(fault: str, wrong: object) -> None:
    """And nothing else about the event, its id, or its label."""
    assert callable(wrong)
    bad = [one for one in sendings(PLAN, 6_000, 14_000) if one.fault == fault]

    assert [] == [one for one in bad if not wrong(one)]
    assert [(f"nsw-{one.row}", "up") for one in bad] == [(one.event_id, one.label) for one in bad]


def test_an_hour_is_sent_again_with_its_ids_and_then_with_new_ones() -> None:
    """Two half-hours each time, in turn, right behind the originals, with the same region and time."""
    sent = sendings(PLAN, 6_000, 14_000)
    at = [place for place, one in enumerate(sent) if one.fault == "duplicated_hour"]
    first = [(sent[place].event_id, sent[place].event["event_id"]) for place in at[:4]]

    assert [("nsw-11000",) * 2, ("nsw-11001",) * 2, ("again-nsw-11040",) * 2, ("again-nsw-11041",) * 2] == first
    assert [sent[place - 2].event["time"] for place in at] == [sent[place].event["time"] for place in at]
    assert 12 == sum(sent[place].event_id.startswith("again-") for place in at)


@pytest.mark.parametrize("rows", [1_000, 2_500, 8_000, 39_312])
def test_the_faults_keep_apart(rows: int) -> None:
    """However many rows there are: in order, none twice in a row, all five of them with bad events."""
    plan = Plan.of(7, 7 + rows)
    ends = [(stretch.start, stretch.stop) for stretch in plan.stretches.values()]
    sent = {one.fault for one in sendings(plan, plan.start, plan.stop)}

    assert sorted(ends) == ends
    assert [] == [(one, other) for (_, one), (other, _) in itertools.pairwise(ends) if one >= other]
    assert {None, *WHERE} == sent
