"""The lake writer on the memory bus: what is in the samples log is in the table, once, as soon as it may be."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from millrace.bus.types import TopicPartition
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.contracts.errors import OffsetGoneError
from millrace.contracts.events import OffsetRange, SampleRecorded
from millrace.stores.lake import COLUMNS, Lake, LakeError
from services.ingest.lake import LakeWriter
from tests.support import EPOCH_MS, MINUTE_MS, World, tiny_project
from tests.transports import eventually

DAILY = LakePolicy()
QUICK = {"commit_rows": 40, "commit_s": 0.05, "compact_every": 3}


@pytest.fixture
async def world(tmp_path):
    """The tiny project on an empty log."""
    return await World.create(tiny_project(tmp_path / "project", data={"lake": QUICK}))


@pytest.fixture
def lake(world, tmp_path):
    """Its lake, empty."""
    return Lake(tmp_path / "lake", "tiny", world.project.data.lake)


async def samples(world: World, numbers: range, **fields: Any) -> None:
    """Commit samples of these numbers: every third is a label; an event's own bytes are in it."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.SAMPLES)
    values = []
    for number in numbers:
        is_label = number % 3 == 2
        _, event = await world.event(
            id=f"e{number}", at=EPOCH_MS + number * MINUTE_MS, x=number / 4, who=f"w{number % 2}"
        )
        sample = SampleRecorded(
            kind="LABEL" if is_label else "EVENT", event_id=f"e{number}", entity=f"w{number % 2}",
            time_ms=EPOCH_MS + number * MINUTE_MS, feature_set="" if is_label else world.project.feature_set,
            features=() if is_label else (number / 4, math.nan), event=None if is_label else event,
            label=1.0 if is_label else None, source_topic="tiny-events", source_partition=0, source_offset=number,
            source_time_ms=EPOCH_MS, **fields,
        )  # fmt: skip
        values.append((f"w{number % 2}", codec.encode(world.topic(topics.SAMPLES), sample)))
    await world.send(topics.SAMPLES, *values)


@contextlib.asynccontextmanager
async def writing(world: World, lake: Lake) -> AsyncIterator[LakeWriter]:
    """A writer at work, until the block ends."""
    writer = LakeWriter(world.context(), 0, lake)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def reaches(writer: LakeWriter, position: int) -> None:
    """Wait until everything below is in the lake, as this writer sees it."""

    async def there() -> bool:
        return writer.position >= position

    await eventually(there, f"the lake has the samples below {position}")


def everything(lake: Lake) -> list[dict[str, Any]]:
    """All rows of partition 0."""
    begin, until = lake.begin(0), lake.position(0)
    return lake.read([OffsetRange(topic="", partition=0, from_offset=begin, until_offset=until)]).to_pylist()


async def test_every_sample_is_a_row_with_the_fields_of_its_event(world, lake):
    """As another reader of the log sees it; columns of the event are null where there is none."""
    await samples(world, range(100))
    async with writing(world, lake) as writer:
        end = (await world.transport().bounds("tiny-samples", 0)).end
        await reaches(writer, end)
        rows = everything(lake)
    records, values = await world.records(topics.SAMPLES), await world.values(topics.SAMPLES)

    assert (end, lake.version()) == (writer.position, writer.version)
    assert 100 == len(rows)
    for row, record, value in zip(rows, records, values, strict=True):
        assert (0, record.offset) == (row["partition"], row["offset"])
        assert record.timestamp_ms == round(row["recorded"].timestamp() * 1000)
        assert value["time_ms"] == round(row["time"].timestamp() * 1000)
        for name in ("kind", "event_id", "entity", "feature_set", "label", "flags", "source_topic", "source_offset"):
            assert (name, value.get(name)) == (name, row[name])
        assert repr(list(value["features"])) == repr(row["features"])
        event = None if value["event"] is None else await Codec(world.schemas).decode_record(value["event"])
        expected = dict.fromkeys(["id", "who", "at", "x"]) if event is None else event
        assert expected == {name[4:]: row[name] for name in row if name.startswith("raw_")}


async def test_record_by_record_is_the_same_as_by_the_column(world, lake, tmp_path, monkeypatch):
    """Types, nulls and all."""
    other = Lake(tmp_path / "other", "tiny", world.project.data.lake)
    await samples(world, range(50), flags="late-event")
    end = (await world.records(topics.SAMPLES))[-1].offset + 1
    async with writing(world, lake) as writer:
        await reaches(writer, end)

    async def never(*_args: object) -> None:
        return None

    monkeypatch.setattr(Codec, "columnar", never)
    async with writing(world, other) as writer:
        await reaches(writer, end)
    span = [OffsetRange(topic="", partition=0, from_offset=0, until_offset=end)]
    by_column, one_by_one = lake.read(span), other.read(span)

    assert by_column.schema == one_by_one.schema
    assert repr(by_column.to_pylist()) == repr(one_by_one.to_pylist())


async def test_a_restart_goes_on_where_the_table_ends(world, lake):
    """Whatever came while nobody wrote is written; nothing twice; the table is compacted on the way."""
    end = 0
    for turn in range(8):
        await samples(world, range(turn * 10, turn * 10 + 10))
        end = (await world.records(topics.SAMPLES))[-1].offset + 1
        async with writing(world, lake) as writer:
            await reaches(writer, end)
            if turn == 4:
                for more in range(3):
                    await samples(world, range(1000 + more, 1001 + more))
                    end = (await world.records(topics.SAMPLES))[-1].offset + 1
                    await reaches(writer, end)

                async def compacted() -> bool:
                    return any(commit.operation == "COMPACT" for commit in lake.history())

                await eventually(compacted, "small files are merged")
    rows = everything(lake)

    assert [record.offset for record in await world.records(topics.SAMPLES)] == [row["offset"] for row in rows]
    assert 83 == len({row["event_id"] for row in rows})


async def test_a_writer_in_a_hurry_does_not_wait_for_more(world, lake, tmp_path):
    """Samples that somebody waits for are committed at once, others when it is time."""
    patient = tiny_project(tmp_path / "patient", data={"lake": {"commit_s": 3600.0}})
    world.project = patient
    await samples(world, range(5))
    async with writing(world, lake) as writer:
        writer.hurry(3)
        await reaches(writer, 5)
        await samples(world, range(5, 8))
        end = (await world.transport().bounds("tiny-samples", 0)).end
        writer.hurry(end - 1)
        await reaches(writer, end)

    assert 8 == len(everything(lake))


async def test_a_new_lake_begins_where_the_log_does(world, lake):
    """What retention removed before there was a lake is not waited for."""
    await samples(world, range(10))
    world.log.delete_before(TopicPartition("tiny-samples", 0), 4)
    end = (await world.records(topics.SAMPLES))[-1].offset + 1
    async with writing(world, lake) as writer:
        await reaches(writer, end)

    assert 4 == lake.begin(0)
    assert [f"e{number}" for number in range(4, 10)] == [row["event_id"] for row in everything(lake)]


async def test_samples_that_retention_took_first_are_not_passed_over(world, lake):
    """The writer stops, and says what is missing and what can be done."""
    await samples(world, range(4))
    async with writing(world, lake) as writer:
        await reaches(writer, 5)  # with the marker of the transaction
    await samples(world, range(4, 10))
    world.log.delete_before(TopicPartition("tiny-samples", 0), 8)
    writer = LakeWriter(world.context(), 0, lake)
    with pytest.raises(
        OffsetGoneError, match="has the samples below offset 5, and retention has removed those below 8"
    ):
        await writer.run()

    assert "Restore the topic" in writer.trouble()


async def test_a_lake_of_another_log_is_refused(world, lake):
    """One that has more samples than the topic: what comes next would stand among rows of something else."""
    lake.append(COLUMNS.empty_table(), 0, 0, 7)
    await samples(world, range(4))
    with pytest.raises(LakeError, match=r"ends at offset 5, and the lake .* has the samples below 7"):
        await LakeWriter(world.context(), 0, lake).run()


async def test_a_lake_that_has_everything_misses_nothing(world, lake):
    """Though retention has taken all the log, with the markers at its end."""
    await samples(world, range(4))
    end = (await world.transport().bounds("tiny-samples", 0)).end
    async with writing(world, lake) as writer:
        await reaches(writer, end)
    world.log.delete_before(TopicPartition("tiny-samples", 0), end)
    async with writing(world, lake) as writer:
        await reaches(writer, end)
        await samples(world, range(4, 6))
        await reaches(writer, end + 2)

    assert 6 == len(everything(lake))


async def test_two_writers_write_everything_once(world, lake, tmp_path):
    """A zombie beside its successor: nothing is twice; whichever of them is ended, the other has gone on."""
    first, second = (LakeWriter(world.context(), 0, each) for each in (lake, Lake(tmp_path / "lake", "tiny", DAILY)))
    tasks = [asyncio.create_task(writer.run()) for writer in (first, second)]
    for number in range(0, 300, 20):
        await samples(world, range(number, number + 20))
        end = (await world.transport().bounds("tiny-samples", 0)).end
        await reaches(first if number < 100 else second, end)
        if number == 200:
            tasks[0].cancel()
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [asyncio.CancelledError] * 2 == [type(result) for result in results]
    assert [record.offset for record in await world.records(topics.SAMPLES)] == [r["offset"] for r in everything(lake)]


async def test_a_store_that_is_away_is_waited_for(world, tmp_path):
    """The writer says what is wrong, and goes on when it is right."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    lake = Lake(blocked, "tiny", world.project.data.lake)
    await samples(world, range(5))
    async with writing(world, lake) as writer:

        async def told() -> bool:
            return "does not answer" in str(writer.trouble())

        await eventually(told, "the trouble is told")
        blocked.unlink()
        await reaches(writer, 5)

    assert writer.trouble() is None
    assert 5 == len(everything(lake))


async def test_an_event_that_the_project_cannot_read_any_more_is_kept_as_written(tmp_path):
    """Its fields stand beside those of today, told apart by their type where that has changed."""
    old = await World.create(tiny_project(tmp_path / "old", data={"lake": QUICK}))
    await samples(old, range(3))
    folder = tmp_path / "new"
    tiny_project(
        folder, data={"lake": QUICK}, features=[{"name": "last", "kind": "label_lag", "rows": 1}], expectations=[]
    )
    schema = json.loads((folder / "event.avsc").read_text())
    schema["fields"][3] = {"name": "x", "type": ["null", "string"], "default": None}
    (folder / "event.avsc").write_text(json.dumps(schema))
    await _written_as_today(old, folder)
    lake = Lake(tmp_path / "lake", "tiny", old.project.data.lake)
    async with writing(old, lake) as writer:
        await reaches(writer, 3)
    rows = everything(lake)

    assert [0.0, 0.25, None] == [row["raw_x__double"] for row in rows]
    assert ["e0", "e1", None] == [row["raw_id"] for row in rows]


async def _written_as_today(world: World, folder: Path) -> None:
    """The same log, seen by a project that has changed."""
    from millrace.contracts.project import load_project

    world.project = load_project(folder)
