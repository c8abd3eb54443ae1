"""``millrace data``: the rows as a run saw them, from the log and from the lake, and as they were known at a time."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from millrace.bus.types import TopicPartition
from millrace.cli.data import listed, write
from millrace.cli.data_rows import known, rows_of
from millrace.cli.data_show import show, show_list
from millrace.cli.data_source import LakeSource, LogSource
from millrace.cli.data_travel import Answer, TravelError, parse_time, travel
from millrace.cli.lineage_facts import read_facts
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import SampleRecorded, TrainingRunChanged
from millrace.stores.lake import COLUMNS, Lake, LakeError
from services.trainer.reader import SamplesReader
from tests.cli.lineage_world import history, label, part, run, sample, say, version
from tests.support import EPOCH_MS, MINUTE_MS, World, tiny_project


class Ticking:
    """A clock that is a millisecond on whenever it is asked: every transaction has a log time of its own."""

    def __init__(self) -> None:
        self._now_ms = EPOCH_MS

    def now_ms(self) -> int:
        """Time since the epoch."""
        self._now_ms += 1
        return self._now_ms


async def log_of(world: World, rows: int, seed: int = 1) -> tuple[SampleRecorded, ...]:
    """A random history in partition 0: events out of order, labels late or never, some flagged."""
    world.clock = Ticking()
    rng, log, waiting = random.Random(seed), [], []
    for number in range(rows):
        values: dict[str, Any] = {
            "time_ms": EPOCH_MS + number * MINUTE_MS - rng.randint(0, 3) * MINUTE_MS,
            "feature_set": world.project.feature_set,
            "features": (rng.random(), rng.choice([0.0, -0.0, float("nan")]), rng.random() * 1e9),
            "flags": "late-event:at" if rng.random() < 0.1 else None,
        }
        log.append(sample(number, **values))
        if rng.random() < 0.8:
            waiting.append(number)
        while waiting and rng.random() < 0.6:
            log.append(label(waiting.pop(0), float(rng.randint(0, 1))))
    for start in range(0, len(log), 7):  # each transaction leaves a gap in the offsets
        await say(world, topics.SAMPLES, *log[start : start + 7])
    return tuple(log)


async def fill(world: World, lake: Lake, until: int | None = None) -> int:
    """Append partition 0 of the samples log to the lake; the table's version."""
    codec, rows = Codec(world.schemas), []
    for record in await world.records(topics.SAMPLES):
        one = await codec.decode(SampleRecorded, record.value)
        if until is None or record.offset < until:
            rows.append({
                **one.model_dump(exclude={"event", "time_ms", "source_time_ms"}),
                "partition": 0,
                "offset": record.offset,
                "time": one.time_ms * 1000,
                "recorded": record.timestamp_ms * 1000,
                "source_time": one.source_time_ms * 1000,
            })  # fmt: skip
    columns = {field.name: pa.array([row[field.name] for row in rows], field.type) for field in COLUMNS}
    return lake.append(pa.table(columns), 0, 0, rows[-1]["offset"] + 1)


def no_lake() -> LakeSource:
    """For questions that the log can answer."""
    raise LakeError("there is no lake")


async def ask(world: World, when: str, lake: Any = no_lake, origin: str = "auto") -> Answer:
    """The answer of ``data at``."""
    transport, codec = world.transport(), Codec(world.schemas)
    facts, _ = await read_facts(world.project, transport, codec)
    return await travel(world.project, facts, when, LogSource(world.project, transport, codec), lake, origin)


async def trained(world: World, rows: int = 12) -> TrainingRunChanged:
    """A run over the newest rows, as the trainer makes it."""
    window = await SamplesReader(world.project, world.transport(), Codec(world.schemas)).newest(rows, {})
    values: dict[str, Any] = {
        "feature_set": world.project.feature_set,
        "train_rows": len(window.rows) - 4,
        "holdout_rows": 4,
        "rows_sha256": window.sha256,
    }
    made = run("run-real", *window.ranges, **values)
    await say(world, topics.TRAINING_RUNS, made)
    await say(world, topics.MODEL_VERSIONS, version(1, "run-real"))
    return made


def lake_at(folder: Path, world: World) -> Lake:
    """A lake for the world's stream."""
    return Lake(folder / "lake", world.project.stream, world.project.data.lake)


async def test_log_and_lake_give_the_rows_of_a_run(tmp_path: Path) -> None:
    """Identical tables, in the order in which the trainer reads them, under the run's hash."""
    world = await World.create(tiny_project(tmp_path))
    await log_of(world, 60)
    made = await trained(world)
    lake = lake_at(tmp_path, world)
    await fill(world, lake)

    log, other = await ask(world, "run-real"), await ask(world, "v1", lambda: LakeSource(lake), "lake")

    window = await SamplesReader(world.project, world.transport(), Codec(world.schemas)).again(made.ranges)
    assert _same(log.rows.table, other.rows.table)
    assert [row.offset for row in window.rows] == log.rows.table.column("offset").to_pylist()
    assert (made.rows_sha256, True, "log") == (log.rows.sha256, log.verified, log.source)
    assert (made.rows_sha256, True, "lake") == (other.rows.sha256, other.verified, other.source)
    assert ["train"] * 8 + ["holdout"] * 4 == log.rows.table.column("part").to_pylist()
    assert ["x", "x_change", "last"] == log.rows.table.column_names[-3:]


def _same(one: Any, other: Any) -> bool:
    """Equal to the bit, NaN and the sign of zero included."""
    return one.schema.equals(other.schema) and all(
        _bits(one.column(name)) == _bits(other.column(name)) for name in one.column_names
    )


def _bits(column: Any) -> Any:
    values = column.to_pylist()
    return [np.float64(value).tobytes() if isinstance(value, float) else value for value in values]


async def test_the_lake_answers_when_retention_has_removed_the_rows(tmp_path: Path) -> None:
    """And says so; without a lake the error names both reasons."""
    world = await World.create(tiny_project(tmp_path))
    await log_of(world, 60)
    made = await trained(world)
    lake = lake_at(tmp_path, world)
    await fill(world, lake)
    world.log.delete_before(TopicPartition("tiny-samples", 0), made.ranges[0].until_offset - 2)

    found = await ask(world, "run-real", lambda: LakeSource(lake))

    assert ("lake", True) == (found.source, found.verified)
    assert "read from the lake" in found.notes[0]
    with pytest.raises(TravelError, match=r"neither the log nor the lake has all the rows: .*there is no lake"):
        await ask(world, "run-real")


async def test_a_table_version_that_lacks_rows_is_read_as_of_the_newest(tmp_path: Path) -> None:
    """A run may have read on while the lake was behind; the answer says so."""
    world = await World.create(tiny_project(tmp_path))
    await log_of(world, 60)
    made = await trained(world)
    await say(world, topics.TRAINING_RUNS, made.model_copy(update={"table_version": 0}))
    lake = lake_at(tmp_path, world)
    await fill(world, lake)

    found = await ask(world, "run-real", lambda: LakeSource(lake), "lake")

    assert found.verified
    assert ["table version 0 ends before the run's rows; read as of the newest"] == list(found.notes)


async def test_rows_that_the_lake_has_not_yet_are_missed(tmp_path: Path) -> None:
    """What is there is taken only if the run's hash can tell that it is not all."""
    world = await World.create(tiny_project(tmp_path))
    await log_of(world, 60)
    made = await trained(world)
    lake = lake_at(tmp_path, world)
    await fill(world, lake, until=made.ranges[0].until_offset - 6)

    found = await ask(world, "run-real", lambda: LakeSource(lake), "lake")
    await say(world, topics.TRAINING_RUNS, made.model_copy(update={"rows_sha256": None}))

    assert found.verified is False
    with pytest.raises(LakeError, match="was asked for"):
        await ask(world, "run-real", lambda: LakeSource(lake), "lake")


async def test_rows_that_are_not_the_run_s_are_not_passed_off_as_them(tmp_path: Path) -> None:
    """A hash or a number that differs is said, and the answer is not verified."""
    world = await World.create(tiny_project(tmp_path))
    await log_of(world, 60)
    made = await trained(world)
    changed = made.model_copy(update={"rows_sha256": "0" * 64, "train_rows": made.train_rows + 1})
    await say(world, topics.TRAINING_RUNS, changed)

    found = await ask(world, "run-real")

    assert found.verified is False
    assert "12 rows, the run had 9 and 4" in found.notes[0]
    assert f"the run's to {'0' * 64}" in found.notes[1]


@pytest.mark.parametrize("origin", ["log", "lake"])
async def test_a_label_that_was_unknown_then_is_null(tmp_path: Path, origin: str) -> None:
    """At every time that the log has, the table is what a reader of the log would have known then."""
    world = await World.create(tiny_project(tmp_path))
    await log_of(world, 40)
    lake = lake_at(tmp_path, world)
    await fill(world, lake)
    records = [
        (one, await Codec(world.schemas).decode(SampleRecorded, one.value))
        for one in await world.records(topics.SAMPLES)
    ]

    times = sorted({record.timestamp_ms for record, _ in records})
    for time_ms in [times[0] - 1, *times]:
        found = await ask(world, str(time_ms), lambda: LakeSource(lake), origin)

        then = [each for record, each in records if record.timestamp_ms <= time_ms]
        labels = {each.event_id: each.label for each in then if each.kind == "LABEL"}
        expected = {each.event_id: labels.get(each.event_id) for each in then if each.kind == "EVENT"}
        names, values = (found.rows.table.column(name).to_pylist() for name in ("event_id", "label"))
        assert expected == dict(zip(names, values, strict=True))
        assert len(expected) == len(names)
    assert len(times) > 3


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 40))
def test_what_was_known_grows_only_by_what_is_recorded(seed: int, rows: int, cut: int) -> None:
    """A prefix of the log gives the rows of the whole log, but for labels that come later: none is seen early."""
    rng, log, waiting = random.Random(seed), [], []
    for number in range(rows):
        log.append({**sample(number, time_ms=rng.randint(0, 99)).model_dump(), "recorded_ms": len(log)})
        waiting.append(number)
        while waiting and rng.random() < 0.5:
            of = waiting.pop(rng.randrange(len(waiting)))
            log.append({**label(of, float(of % 2)).model_dump(), "recorded_ms": len(log)})
    records = list(enumerate(log))

    whole = {row["offset"]: row for row in known({0: records}, "f", ("a", "b", "c")).table.to_pylist()}
    early = known({0: records[:cut]}, "f", ("a", "b", "c")).table.to_pylist()

    come = {each["event_id"] for each in log[:cut] if each["kind"] == "LABEL"}
    assert sorted(place for place in whole if place < cut) == sorted(row["offset"] for row in early)
    for row in early:
        assert (whole[row["offset"]]["label"] if row["event_id"] in come else None) == row["label"]


async def test_excluded_and_flagged_rows_are_none_of_the_run_s(tmp_path: Path) -> None:
    """As in the trainer, over two partitions, in the order of event time."""
    records = {
        0: [(0, _record(sample(0))), (1, _record(label(0))), (2, _record(sample(4))), (4, _record(label(4)))],
        1: [(0, _record(sample(2))), (1, _record(sample(3, flags="late:at"))), (2, _record(label(2))),
            (3, _record(label(3))), (5, _record(sample(5))), (6, _record(label(5)))],
    }  # fmt: skip
    made = run("run-x", part(0, 5), part(0, 7, partition=1), excluded=(part(5, 6, partition=1),), holdout_rows=1)

    found = rows_of(made, records, ("a", "label", "part")).table

    assert [(0, 0), (1, 0), (0, 2)] == list(
        zip(*(found.column(name).to_pylist() for name in ("partition", "offset")), strict=True)
    )
    assert ["train", "train", "holdout"] == found.column("part").to_pylist()
    assert ["a", "feature_label", "feature_part"] == found.column_names[-3:]
    digest = hashlib.sha256(b"".join(np.array([n, 0.5, np.nan, 1.0], "<f8").tobytes() for n in (0.0, 2.0, 4.0)))
    assert digest.hexdigest() == rows_of(made, records, ("a", "b", "c")).sha256


def _record(one: SampleRecorded) -> dict[str, Any]:
    return {**one.model_dump(), "recorded_ms": EPOCH_MS}


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("yesterday", "'yesterday' is not understood; give a run id"),
        ("tiny/tiny-samples/0/7", "is not understood"),
        ("v9", r"no version 9 of model tiny; there are \[1, 2\]"),
        ("run-x", "no run run-x of model tiny in training-runs; millrace data list shows all"),
        ("run-refused", "run-refused has no rows: too few"),
    ],
)
async def test_what_cannot_be_travelled_to_is_said(tmp_path: Path, when: str, why: str) -> None:
    """With what there is, or the forms that are understood."""
    world = await history(tmp_path)
    await say(world, topics.TRAINING_RUNS, run("run-refused", status="FAILED", error="too few"))

    with pytest.raises(TravelError, match=why):
        await ask(world, when)


async def test_features_that_have_changed_since_are_numbered(tmp_path: Path) -> None:
    """The small history's feature set is not the project's; its events are left out at a time, and counted."""
    world = await history(tmp_path)

    of_run, at_time = await ask(world, "version 1"), await ask(world, "2030-01-01")

    assert ["feature_0", "feature_1", "feature_2"] == of_run.rows.table.column_names[-3:]
    assert any("features have changed" in note for note in of_run.notes)
    assert (None, 3) == (of_run.verified, of_run.rows.table.num_rows)
    assert (0, ("6 events of other feature sets are left out",)) == (at_time.rows.table.num_rows, at_time.notes)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
async def test_rows_are_written_to_a_file(tmp_path: Path, suffix: str) -> None:
    """With all columns, in order."""
    world = await history(tmp_path)
    found, out = await ask(world, "run-a"), tmp_path / f"rows{suffix}"

    write(found.rows.table, out)

    read = pyarrow.parquet.read_table(out) if suffix == ".parquet" else pyarrow.csv.read_csv(out)
    assert found.rows.table.column_names == read.column_names
    assert found.rows.table.column("event_id").to_pylist() == read.column("event_id").to_pylist()


async def test_people_and_programs_are_told(tmp_path: Path) -> None:
    """What was read and whether it is the run's own; every snapshot and run with its hashes."""
    world = await history(tmp_path)
    facts, notes = await read_facts(world.project, world.transport(), Codec(world.schemas))
    console = Console(width=300, record=True)
    found = json.loads(json.dumps({**listed(facts), "notes": notes}))

    show(await ask(world, "run-a"), None, console)
    show_list(found, console)

    text = console.export_text()
    assert "3 rows of run-a, read from the log" in text
    assert "the run has none to compare with" in text
    assert all(name in text for name in ("snap-1", "snap-2", "run-b", "run-c"))
    assert [("run-a", 1, "code"), ("run-b", 2, "code"), ("run-c", None, "code")] == [
        (one["run_id"], one["version"], one["code_hash"]) for one in found["runs"]
    ]


def test_a_time_without_a_zone_is_utc() -> None:
    """Milliseconds are taken too; anything else is no time."""
    assert (
        EPOCH_MS
        == parse_time("2020-09-13T12:26:40")
        == parse_time("2020-09-13T14:26:40+02:00")
        == parse_time(str(EPOCH_MS))
    )
    assert parse_time("12") is None
