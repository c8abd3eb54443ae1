"""The arithmetic of the benchmark's report, and its picture. Nothing here is timed."""

import doctest
import json
import xml.etree.ElementTree as ET
from types import ModuleType

import pytest

from benchmarks import environments, picture, process, readback, report, watch
from benchmarks.readback import Count, compare
from benchmarks.rows import ROWS, SERVERS, Row
from benchmarks.run import Outcome
from benchmarks.watch import Point, Watched, rate

EVENTS = 1_000


def outcome(name: str, per_s: float, *, start_s: float = 2.0, skipped: str | None = None) -> Outcome:
    """A row that does ten events at a time, at an even pace."""
    row = next(row for row in ROWS if row.name == name)
    points = [Point(start_s + done / per_s, done) for done in range(10, EVENTS + 1, 10)]
    cpu = [(point.at_s, point.at_s / 2) for point in points]
    watched = Watched(points=points, cpu=cpu, broker_cpu_s=1.0, memory_mib=100.0)
    return Outcome(row, EVENTS, watched, Count(EVENTS, 0, 0), skipped)


def made(*outcomes: Outcome) -> dict:
    """A report of these outcomes."""
    rows = report.rows_of(outcomes)
    settings = {"features": 10, "trees": 100, "partitions": 2, "rounds": 3, "events": EVENTS}
    return {
        "machine": {"cores": 2, "kafka": "4.3.0"},
        "settings": settings,
        "rows": rows,
        "ratios": report.ratios_of(rows),
    }


def row_of(found: dict, name: str) -> dict:
    """One row of a report."""
    return next(row for row in found["rows"] if row["name"] == name)


def test_an_even_pace_is_both_cold_and_warm():
    """The rate does not depend on when the first output came."""
    cold, warm = report.cold_and_warm(outcome("faust", 100.0, start_s=50.0).watched.points, EVENTS)

    assert [pytest.approx(100.0), pytest.approx(100.0)] == [cold, warm]


def test_commits_that_are_far_apart_make_a_row_neither_faster_nor_slower():
    """A staircase of 100 a second is measured from step to step."""
    stairs = [Point(float(step), 100 * step) for step in range(1, 11)]

    assert pytest.approx(100.0) == rate(stairs, 450, 950)


def test_one_step_gives_no_rate():
    """Where everything became visible at once there is nothing to divide by."""
    assert report.cold_and_warm([Point(1.0, EVENTS)], EVENTS) == (None, None)


def test_markers_of_transactions_are_not_counted_as_outputs():
    """1,000 outputs that take 1,100 places: the rate is that of the outputs."""
    points = [Point(at, round(110 * at)) for at in range(1, 11)]

    assert pytest.approx(100.0) == rate(report.scaled(points, EVENTS), 450, 950)


def test_the_rounds_are_told_as_least_median_and_greatest():
    """Three rounds of one row, one of which was much slower."""
    found = made(outcome("faust", 100.0), outcome("faust", 10.0), outcome("faust", 120.0))

    assert {"min": 10.0, "median": 100.0, "max": 120.0} == row_of(found, "faust")["warm"]
    assert [EVENTS] * 3 == row_of(found, "faust")["outputs"]


def test_ratios_are_ours_through_theirs_for_each_row_that_serves():
    """Ingest and monitor do other work, so there is no ratio for them."""
    found = made(outcome("millrace-serving", 600.0), outcome("faust", 20.0), outcome("millrace-ingest", 100.0))

    assert {"faust": pytest.approx(30.0)} == found["ratios"]


def test_a_row_that_cannot_run_says_why():
    """In the report, in the table and in the picture."""
    found = made(outcome("millrace-serving", 600.0), outcome("jvm-loop", 1.0, skipped="no mvn on this machine"))

    assert "no mvn on this machine" == row_of(found, "jvm-loop")["skipped"]
    assert None is row_of(found, "jvm-loop")["warm"]
    assert "no mvn on this machine" in report.markdown(found)
    assert "no mvn on this machine" in picture.draw(found)


def test_a_failed_round_is_told_beside_the_others():
    """Two of three rounds give the figures."""
    found = made(outcome("faust", 100.0), outcome("faust", 1.0, skipped="it ended"), outcome("faust", 120.0))

    assert (110.0, ["it ended"]) == (row_of(found, "faust")["warm"]["median"], row_of(found, "faust")["failed_rounds"])


def test_the_table_has_a_line_for_each_row_fastest_first():
    """All eleven, whatever was measured."""
    lines = report.markdown(made(outcome("faust", 100.0), outcome("byte-copy", 900.0))).splitlines()

    assert len(ROWS) + 2 == len(lines)
    assert ["| byte-copy", "| faust"] == [line.partition(" | ")[0] for line in lines[2:4]]


def test_the_report_is_json():
    """Nothing in it needs a class to be read again."""
    found = made(outcome("millrace-serving", 600.0), outcome("faust", 20.0))

    assert found == json.loads(json.dumps(found))


def test_the_picture_has_a_bar_for_each_row_with_a_figure():
    """It is well-formed, and names every row."""
    drawn = picture.draw(made(outcome("millrace-serving", 600.0), outcome("faust", 20.0)))
    root = ET.fromstring(drawn)
    bars = [one for one in root.iter() if one.get("class", "").startswith("bar") and one.get("height") == "18"]

    assert 2 == len(bars)
    assert [] == [row.name for row in ROWS if row.name not in drawn]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({0: [3, 5, 8]}, Count(3, 0, 0)),
        ({0: [3, 5]}, Count(2, 0, 0)),
        ({0: [3, 8]}, Count(2, 0, 1)),
        ({0: [3, 3, 5]}, Count(3, 1, 0)),
        ({}, Count(0, 0, 0)),
    ],
)
def test_outputs_are_held_against_the_inputs_that_they_name(places, expected):
    """Being stopped half way is neither a gap nor a duplicate."""
    assert expected == compare(places, {0: [3, 5, 8]})


def test_every_row_has_a_name_of_its_own():
    """The names are what the report is read by."""
    assert len(ROWS) == len({row.name for row in ROWS})
    assert [] == [row.name for row in SERVERS if not isinstance(row, Row)]


@pytest.mark.parametrize("module", [environments, picture, process, readback, report, watch])
def test_the_examples_in_the_documentation_hold(module: ModuleType):
    """Each of these modules shows its arithmetic."""
    failed, tried = doctest.testmod(module)

    assert (0, True) == (failed, tried > 0)
