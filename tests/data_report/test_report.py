"""The report of a made-up stream, from the log and from a lake: what was done to the stream is what is found."""

from pathlib import Path

import pytest

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import Record, TopicPartition
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import DataSnapshotTaken
from millrace.data_report.facts import ReportError
from millrace.data_report.make import make_report, report_file
from millrace.data_report.page import render
from millrace.data_report.report import FieldReport, Report
from millrace.stores.lake import Lake
from tests.cli.lineage_world import deployment, say, snapshot
from tests.data_report.made_up import CORRELATION, SECRET, lake_of, project_in, stream
from tests.support import EPOCH_MS, World


async def report_of(world: World, lake: Lake | None = None, wanted: str = "newest", **more) -> Report:
    """As the command makes it."""
    return await make_report(world.project, world.transport(), Codec(world.schemas), lake, wanted, **more)


def by_name(report: Report) -> dict[str, FieldReport]:
    """The fields and features."""
    return {one.name: one for one in report.fields}


def told(report: Report, word: str) -> list[str]:
    """The weights of the findings that say so."""
    return [one.weight for one in report.findings if word in one.text]


async def test_what_was_done_to_the_stream_is_found(tmp_path: Path) -> None:
    """The shift, the missing values, the new text, the refusals, the flags, the veto, the broken pair."""
    report = await report_of(await stream(tmp_path))
    fields = by_name(report)

    assert (300, 300, 400) == tuple(report.windows[name].rows for name in ("new", "previous", "training"))
    assert {"x": "moved far", "y": "stable", "x_change": "stable"} == {
        name: fields[name].drift("training").verdict for name in ("x", "y", "x_change")
    }
    assert 3.0 == pytest.approx(fields["x"].drift("training").wasserstein_spreads, abs=0.3)
    assert 0.2 == pytest.approx(fields["y"].windows["new"].missing_share)
    assert 0.0 == fields["y"].windows["training"].missing_share
    assert [("sun", 30)] == [(one.name, one.count) for one in fields["day"].unseen]
    assert [("unseen-category", "day", 30)] == [(one.reason, one.field, one.count) for one in report.flags]
    assert [("x", CORRELATION, True)] == [(one.first, one.learned, one.broke) for one in report.pairs]
    assert (1, "run-a", "expectations/run-a") == (report.version, report.run_id, report.expectations_id)


async def test_the_worst_is_said_first(tmp_path: Path) -> None:
    """What is bad comes before what is worth a look, and each thing has its sentence."""
    report = await report_of(await stream(tmp_path))
    weights = [one.weight for one in report.findings]

    assert sorted(weights, key=["bad", "warn", "note", "good"].index) == weights
    assert "kept out of training" in report.findings[0].text
    assert ["bad"] == told(report, "12 refused (3.8% of what arrived): out-of-range of x")
    assert ["bad"] == told(report, "day is 'sun' in 30 rows (10.0%)")
    assert ["bad"] == told(report, "y is missing in 20.0% of the rows; in training in 0.0%")
    assert ["warn"] == told(report, "x moved far from what training saw: median")
    assert ["warn"] == told(report, "x and y no longer move together as learned: correlation 0.90 → ")


async def test_only_what_belongs_to_the_snapshot_is_counted(tmp_path: Path) -> None:
    """Dead letters and judgements of its own stretch; the snapshot before has none, the first has its own."""
    world = await stream(tmp_path)
    newest, middle, first = [await report_of(world, wanted=f"0/{end}") for end in _ends(await _all(world))]

    assert {("out-of-range", "x", 12), ("label-without-event", "", 2)} == _kinds(newest)
    assert set() == _kinds(middle)
    assert {("missing-field", "id", 1)} == _kinds(first)
    assert [True] == [one.is_new and one.vetoes for one in newest.judged]
    assert [800, 900] == [_minute(at) for at in (newest.judged[0].from_time_ms, newest.judged[0].until_time_ms)]
    assert () == middle.judged


async def _all(world: World) -> list[DataSnapshotTaken]:
    codec = Codec(world.schemas)
    return [await codec.decode(DataSnapshotTaken, one.value) for one in await world.records(topics.DATA_SNAPSHOTS)]


def _ends(snapshots: list[DataSnapshotTaken]) -> list[int]:
    return [one.ranges[0].until_offset for one in reversed(snapshots)]


def _kinds(report: Report) -> set[tuple[str, str, int]]:
    return {(one.reason, one.field, one.count) for one in report.letters}


def _minute(time_ms: int | None) -> int:
    return round(((time_ms or 0) - EPOCH_MS) / 60_000)


async def test_rows_like_those_before_are_left_in_peace(tmp_path: Path) -> None:
    """The second snapshot is like training: one sentence, and it is a good one."""
    world = await stream(tmp_path)
    report = await report_of(world, wanted=(await _all(world))[1].snapshot_id)

    assert ["good"] == [one.weight for one in report.findings]
    assert "look like those that the serving version was trained on" in report.findings[0].text


async def test_the_first_snapshot_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    """No version served, no snapshot came before; the report says both."""
    world = await stream(tmp_path)
    report = await report_of(world, wanted=(await _all(world))[0].snapshot_id)

    assert {"new"} == set(report.windows)
    assert (None, None, 400) == (report.version, report.previous_id, report.new_rows)
    assert [()] * len(report.fields) == [one.drifts for one in report.fields]
    assert any("no version served" in note for note in report.notes)


async def test_the_lake_and_the_log_give_the_same_report(tmp_path: Path) -> None:
    """All but the words about where rows were read."""
    world = await stream(tmp_path / "project")
    lake = await lake_of(world, tmp_path / "lake")
    apart = {"notes", "lake_uri"}
    log, other = await report_of(world), await report_of(world, lake, origin="lake")

    assert log.model_dump(exclude=apart) == other.model_dump(exclude=apart)
    assert "rows read: 2,000 from the lake, 0 from the log" in other.notes


async def test_the_lake_has_what_retention_has_removed(tmp_path: Path) -> None:
    """The rows that the log lost come from the lake; without one the report says what is missing."""
    world = await stream(tmp_path / "project")
    lake = await lake_of(world, tmp_path / "lake")
    before = await report_of(world)
    cut = before.windows["previous"].from_offset + 100
    world.log.delete_before(TopicPartition(world.topic(topics.SAMPLES), 0), cut)
    whole, part = await report_of(world, lake), await report_of(world)

    assert before.fields == whole.fields
    assert any("from the lake" in note and " 0 from the lake" not in note for note in whole.notes)
    assert {"new": 300, "previous": 250} == {name: one.rows for name, one in part.windows.items()}
    assert any("retention has removed" in note for note in part.notes)
    assert any("cannot be read any more" in note for note in part.notes)


async def test_a_sample_of_the_rows_is_enough(tmp_path: Path) -> None:
    """Numbers are of the sample, counts of all rows; and it says so."""
    report = await report_of(await stream(tmp_path), sample_rows=150)
    new, y = report.windows["new"], by_name(report)["y"]

    assert 300 == new.rows
    assert 40 < new.sampled < 130
    assert (60, 30) == (y.windows["new"].missing, by_name(report)["day"].unseen[0].count)
    assert "moved far" == by_name(report)["x"].drift("training").verdict
    assert any("numbers are of a sample" in note for note in report.notes)


async def test_nothing_personal_is_told(tmp_path: Path) -> None:
    """Of a personal field only what is missing; its values stand nowhere."""
    report = await report_of(await stream(tmp_path))
    mail = by_name(report)["mail"]

    assert SECRET not in report.model_dump_json()
    assert ("PERSONAL", 0, ()) == (mail.kind, mail.windows["new"].missing, mail.bars.texts)
    assert "who" not in by_name(report)


async def test_the_version_is_the_one_that_served_then(tmp_path: Path) -> None:
    """A deployment after the snapshot changes nothing about its report."""
    world = await stream(tmp_path)
    later = deployment(2, 2).model_copy(update={"decided_at_ms": EPOCH_MS + 1_000})
    await say(world, topics.DEPLOYMENTS, later)

    assert 1 == (await report_of(world)).version


async def test_an_unknown_snapshot_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """The message names the value seen and the way out; so does an empty stream's."""
    world = await stream(tmp_path / "one")
    empty = await World.create(project_in(tmp_path / "two"))

    with pytest.raises(ReportError, match=r"no snapshot '0/7' .*tiny/0/.*millrace data list"):
        await report_of(world, wanted="0/7")
    with pytest.raises(ReportError, match="has no snapshots yet"):
        await report_of(empty)


async def test_a_report_has_a_file_of_its_own(tmp_path: Path) -> None:
    """Named by stream and snapshot, whatever is in the name."""
    report = await report_of(await stream(tmp_path))
    odd = report.model_copy(update={"snapshot_id": "tiny/../../etc"})

    end = report.snapshot_id.rpartition("/")[2]
    assert tmp_path / "reports" / f"tiny-0-{end}.html" == report_file(tmp_path, report)
    assert tmp_path / "reports" == report_file(tmp_path, odd).resolve().parent


async def test_what_was_refused_since_is_not_forgotten(tmp_path: Path) -> None:
    """Letters behind the newest snapshot are of none yet; their number is told, of the newest one only."""
    world = await stream(tmp_path)
    topic = world.topic(topics.DEAD_LETTERS)
    origin = Record("tiny-events", 0, 2_000, EPOCH_MS, b"w", b"?")
    why = {"stage": "TRANSFORMATION", "reason": "out-of-range", "message": "field 'x' is 99", "error_class": "E"}
    producer = await world.transport().producer("test.later")
    await producer.commit([dead_letter(topic, origin, **why)])
    newest, middle = await report_of(world), await report_of(world, wanted=(await _all(world))[1].snapshot_id)

    assert 14 == newest.refused
    assert any("refused since this snapshot: 1" in note for note in newest.notes)
    assert not any("refused since" in note for note in middle.notes)


async def test_a_snapshot_whose_rows_are_gone_still_has_a_report(tmp_path: Path) -> None:
    """No sample can be read: the page says how many there were."""
    world = await World.create(project_in(tmp_path))
    await say(world, topics.DATA_SNAPSHOTS, snapshot("tiny/0/50", 50, rows=20))
    report = await report_of(world)

    assert (0, {"x", "y", "day", "mail"}) == (report.new_rows, set(by_name(report)))
    assert any("counted 20 new events, 0 could be read" in note for note in report.notes)
    assert "no value in any of these rows" in render(report)
