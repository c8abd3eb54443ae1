"""Figures, checks, picture and page of a telling by hand; and what each planted fault does to the checks."""

import re
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

import pytest

from millrace.contracts.events import DataQualityJudged
from millrace.demo_data.chart import NARROW, WIDE, draw
from millrace.demo_data.checks import check
from millrace.demo_data.figures import Facts, report
from millrace.demo_data.inject import Plan
from millrace.demo_data.ledger import Fate, fates
from millrace.demo_data.page import render
from millrace.demo_data.report import CleanRows, DataReport, Refusal, TrainedOn
from millrace.demo_data.show import picture
from tests.demo_data.scene import ordinary
from tests.demo_data.test_ledger import CATCH

SVG = "{http://www.w3.org/2000/svg}"
PLAN = Plan.of(100, 1_100)
STOP = 1_200
GOOD = CleanRows(rows=STOP, refused=0, flagged=0, by={})


def judged(*, check: str = "schema-skew", until_event: int = 400) -> DataQualityJudged:
    """A judgement about the events from the one at offset 300 on."""
    return DataQualityJudged(
        judgement_id=f"{check}/{until_event}", stream="electricity", model="electricity", partition=0, check=check,
        subject="transfer", severity="ALARM", from_offset=300, until_offset=500, from_event_offset=300,
        until_event_offset=until_event, rows=100, observed=1, expected=0, message="field 'transfer' <is> gone",
        expectations_id=None, vetoes=check != "schema-skew", judged_at_ms=0,
    )  # fmt: skip


def run(**changes: object) -> TrainedOn:
    """A run after the faults with nothing bad in it."""
    told = {
        "run_id": "run-1", "trigger": "OPERATOR", "caused_by": "asked", "status": "SUCCEEDED", "rows": 900,
        "bad_rows": 0, "from_row": 0, "until_row": 1_099, "bad_rows_in_ranges": 21, "excluded_offsets": 200,
        "version": 2, "decision": "serves", "error": None,
    }  # fmt: skip
    return TrainedOn.model_validate({**told, **changes})


def told(
    runs: Sequence[TrainedOn] = (run(),), *, in_force: int = 100, dead_labels: Sequence[tuple[str, str]] = (),
    change: Callable[[list[Fate]], None] = lambda found: None,
) -> tuple[DataReport, list[Fate]]:  # fmt: skip
    """The report of a telling in which all goes well, but for the change."""
    scene = ordinary(PLAN, STOP, CATCH)
    for one in (judged(), judged(check="missing-share")):
        scene.told.control.add(0, one)
    scene.told.labels = scene.told.labels_joined = len(scene.sent)
    found = fates(scene.sent, scene.told)
    change(found)
    facts = Facts(PLAN, 50, in_force, Refusal(status=409, message="no"), "asked", GOOD, dead_labels, 1.0, 1.0, {})
    return check(report(scene.told, found, runs, facts)), found


def test_all_holds_when_all_goes_well() -> None:
    """The four figures that the demo is about, and every check."""
    judged_report, _ = told()
    faults = {name: (one.injected, one.caught) for name, one in judged_report.faults.items()}

    assert [] == [(one.name, one.message) for one in judged_report.failed]
    assert 5 == len([name for name, (injected, caught) in faults.items() if injected == caught > 0])
    assert (0.0, 0, 0) == (
        judged_report.false_rejection_share, judged_report.bad_rows_in_training, judged_report.good_rows_held_up,
    )  # fmt: skip
    assert 11 == len(judged_report.checks)


def test_only_rows_that_were_judged_count_for_false_rejections() -> None:
    """Those before the first learned expectations came into force would only dilute the share."""
    judged_report, found = told(in_force=150)
    good = [one for one in found[150:] if one.sending.fault is None]

    assert len(good) == judged_report.among_faults.rows + judged_report.rest_of_stream.rows
    assert 100 == judged_report.rest_of_stream.rows


def test_a_judgement_is_told_by_the_rows_of_the_file() -> None:
    """Offset 300 of the events is the row of the 201st event sent."""
    judged_report, found = told()
    first, last = found[200].sending.row, found[299].sending.row

    assert [(first, last + 1)] * 2 == [(one.from_row, one.until_row) for one in judged_report.judgements]


def refused(found: list[Fate]) -> None:
    """Two of a thousand good rows are refused."""
    for at in (150, 160):
        one = found[at]
        found[at] = Fate(one.number, one.sending, one.source, refused="unseen-range", ends=1)


def held_up(found: list[Fate]) -> None:
    """A good row has no prediction."""
    one = found[150]
    found[150] = Fate(one.number, one.sending, one.source, sample=one.sample, is_scored=True, ends=1)


def missed(found: list[Fate]) -> None:
    """A bad event passes."""
    at = next(at for at, one in enumerate(found) if one.sending.fault == "unit_change")
    one = found[at]
    found[at] = Fate(one.number, one.sending, one.source, sample=(0, 9_999), is_scored=True, predictions=1, ends=1)


def lose(found: list[Fate]) -> None:
    """An event ends nowhere."""
    one = found[5]
    found[5] = Fate(one.number, one.sending, one.source)


@pytest.mark.parametrize(
    ("name", "change", "runs", "dead_labels"),
    [
        ("few-false-rejections", refused, [run()], []),
        ("good-rows-not-held-up", held_up, [run()], []),
        ("caught-unit-change", missed, [run()], []),
        ("nothing-lost", lose, [run()], []),
        ("nothing-lost", None, [run()], [("nsw-3", "label-without-event")]),
        ("nothing-bad-in-training", None, [run(bad_rows=1)], []),
        ("nothing-bad-in-training", None, [run(status="FAILED")], []),
        ("nothing-bad-in-training", None, [run(bad_rows_in_ranges=0)], []),
        ("nothing-bad-in-training", None, [run(trigger="FIRST_DATA", until_row=90)], []),
    ],
)
def test_each_check_sees_what_it_is_there_for(
    name: str, change: Callable[[list[Fate]], None] | None, runs: list[TrainedOn], dead_labels: list[tuple[str, str]]
) -> None:
    """A planted fault fails its own check, and no other."""
    judged_report, _ = told(runs, dead_labels=dead_labels, change=change or (lambda found: None))

    assert [name] == [one.name for one in judged_report.failed]


def test_the_page_needs_nothing_but_itself() -> None:
    """No script, no link, no file from elsewhere; what others wrote is escaped."""
    judged_report, found = told()
    page = render(picture(judged_report, found, PLAN), judged_report, "a <b> model")

    assert [] == re.findall(r"<(?:script|link|img|iframe)|@import|url\(", page)
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"' >]+", page))
    assert "a &lt;b&gt; model" in page
    assert [] == [text for text in ("a <b> model", "<is>") if text in page]


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_picture_shows_every_bad_event(size: object) -> None:
    """The bars of each lane together are its events; a missed one is red."""
    judged_report, found = told(change=missed)
    shown = picture(judged_report, found, PLAN)
    svg = ET.fromstring(draw(shown, WIDE if size is WIDE else NARROW))
    counts = {lane.name: sum(sum(bar.counts) for bar in lane.bars) for lane in shown.lanes}
    classes = [part.get("class") for part in svg.iter(f"{SVG}rect")]

    assert {name.replace("_", " "): one.injected for name, one in judged_report.faults.items()} == {
        name: count for name, count in counts.items() if name != "good events"
    }
    assert 2 == classes.count("missed")  # one in the key
    assert {"rejected", "flagged", "veto", "good"} <= set(classes)
