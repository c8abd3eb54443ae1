"""``millrace data features``: computed again from the lake, none differs from what was recorded."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from millrace.bus.types import TopicPartition
from millrace.cli.data import command
from millrace.cli.data_features import compare, recompute
from millrace.cli.data_source import LakeSource, LogSource
from millrace.cli.data_travel import travel
from millrace.cli.lineage_facts import read_facts
from millrace.cli.lineage_lake import LakeSamples
from millrace.cli.lineage_read import LineageReader
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange
from millrace.lineage.subject import LineageError
from millrace.stores.lake import Lake, LakeError
from services.ingest.shell import IngestService
from services.trainer.reader import SamplesReader
from tests.cli.lineage_world import run, say
from tests.support import EPOCH_MS, MINUTE_MS, World, running, tiny_project, until

EVENTS = 60


async def filled(folder: Path) -> tuple[World, Lake]:
    """A stream that real ingest has taken in, with its lake; as ``millrace data`` finds it under ``folder/data``."""
    world = await World.create(tiny_project(folder, expectations=[], data={"lake": {"commit_s": 0.05}}))
    lake = Lake(folder / "data" / "lake", "tiny", world.project.data.lake)
    rng = random.Random(7)
    for number in range(EVENTS):
        who, at_ms = rng.choice(["a", "b", "c"]), EPOCH_MS + number * MINUTE_MS
        x = None if rng.random() < 0.1 else rng.uniform(-5, 5)
        await world.send(topics.EVENTS, await world.event(id=f"e{number}", who=who, at=at_ms, x=x))
        if rng.random() < 0.8:
            value = rng.choice(["no", "yes"])
            await world.send(topics.LABELS, await world.label(f"e{number}", value, at_ms + 30_000, who))
    context = world.context("ingest")
    async with running(context, IngestService(context, max_records=20, trace_share=0.0, lake=lake)):
        await world.until(topics.SAMPLES, EVENTS)
        last = (await world.records(topics.EVENTS))[-1].offset

        async def taken() -> list[int]:
            offsets = [one["source_offset"] for one in await world.values(topics.SAMPLES) if one["kind"] == "EVENT"]
            end = (await world.records(topics.SAMPLES))[-1].offset
            return [1] if last in offsets and (lake.position(0) or 0) > end else []

        await until(taken, 1)
    return world, lake


def rows(lake: Lake) -> Any:
    """All rows of the lake."""
    part = OffsetRange(topic="", partition=0, from_offset=0, until_offset=lake.position(0) or 0)
    return lake.read([part])


async def test_no_recorded_feature_differs(tmp_path: Path) -> None:
    """What ingest computed, and the same code over the lake: lags and label feedback included, to the bit."""
    world, lake = await filled(tmp_path)

    found = recompute(world.project, lake)

    features = np.array([row for row in rows(lake).column("features").to_pylist() if row])
    assert (EVENTS, 0, {}, ()) == (found.rows, found.differing, found.by_feature, found.first)
    assert np.isfinite(features).any(axis=0).all(), "every feature must have been something"


async def test_a_feature_that_was_changed_is_found(tmp_path: Path) -> None:
    """With its place, and both values."""
    world, lake = await filled(tmp_path)
    table = rows(lake)
    place = table.column("kind").to_pylist().index("EVENT", 20)
    features = table.column("features").to_pylist()
    features[place] = [features[place][0], 99.0, features[place][2]]
    spot = table.column_names.index("features")
    changed = table.set_column(spot, "features", pa.array(features, pa.list_(pa.float64())))

    found = compare(world.project, changed)

    assert (EVENTS, 1, {"x_change": 1}) == (found.rows, found.differing, found.by_feature)
    assert (f"0/{table.column('offset')[place]}", 99.0) == (found.first[0]["place"], found.first[0]["recorded"])


async def test_rows_of_other_feature_sets_are_not_compared_but_looked_back_at(tmp_path: Path) -> None:
    """And are counted."""
    world, lake = await filled(tmp_path)
    table = rows(lake)
    sets = table.column("feature_set").to_pylist()
    others = ["older" if name and place < 30 else name for place, name in enumerate(sets)]
    spot = table.column_names.index("feature_set")

    found = compare(world.project, table.set_column(spot, "feature_set", pa.array(others)))

    older = others.count("older")
    assert (EVENTS - older, 0, (f"{older} rows of other feature sets are not compared",)) == (
        found.rows,
        found.differing,
        found.notes,
    )


async def test_the_command_needs_the_lake_alone(tmp_path: Path) -> None:
    """No broker is asked; without a lake the message names the place and the way out."""
    await filled(tmp_path)
    runner, at = CliRunner(), ["features", str(tmp_path), "--data"]

    said = runner.invoke(command, [*at, str(tmp_path / "data"), "--json"], catch_exceptions=False)
    words = runner.invoke(command, [*at, str(tmp_path / "data")], catch_exceptions=False)

    found = json.loads(said.output)
    assert (0, EVENTS, 0) == (said.exit_code, found["rows"], found["differing"])
    assert f"{EVENTS} rows computed again, 0 differ" in words.output
    with pytest.raises(LakeError, match="has nothing of the stream tiny; publish, or give --lake"):
        runner.invoke(command, [*at, str(tmp_path / "none")], catch_exceptions=False)


async def test_lineage_finds_in_the_lake_what_the_log_has_lost(tmp_path: Path) -> None:
    """By id and by place, forward and back: the answer is the same as before retention."""
    world, lake = await filled(tmp_path)
    values = await world.values(topics.SAMPLES)
    places = [record.offset for record in await world.records(topics.SAMPLES)]
    labelled = next(one["event_id"] for one in values if one["kind"] == "LABEL")
    (event,) = [place for place, one in zip(places, values, strict=True) if _is(one, "EVENT", labelled)]
    source = next(one["source_offset"] for one in values if _is(one, "EVENT", labelled))
    (end,) = [place for place, one in zip(places, values, strict=True) if _is(one, "LABEL", labelled)]
    held = OffsetRange(topic="tiny-samples", partition=0, from_offset=event, until_offset=end + 1)
    await say(world, topics.TRAINING_RUNS, run("run-a", held, feature_set=world.project.feature_set))
    asked = [f"event:{labelled}", f"tiny-samples/0/{event}", f"tiny-events/0/{source}"]

    def reader(samples: LakeSamples | None) -> LineageReader:
        return LineageReader(world.project, world.transport(), Codec(world.schemas), lake=samples)

    before = [(await reader(None).answer(what)).as_json() for what in asked]
    world.log.delete_before(TopicPartition("tiny-samples", 0), end + 1)
    after = [(await reader(LakeSamples(lake)).answer(what)).as_json() for what in asked]

    assert before == after
    assert all("run:run-a" in {node["id"] for node in one["nodes"]} for one in after)
    with pytest.raises(LineageError, match="nothing came of"):
        await reader(None).answer(asked[0])


def _is(sample: dict[str, Any], kind: str, event_id: str) -> bool:
    return (kind, event_id) == (sample["kind"], sample["event_id"])


async def test_a_run_over_what_ingest_wrote_is_read_alike_from_log_and_lake(tmp_path: Path) -> None:
    """Through the real writers of both, under the trainer's own hash."""
    world, lake = await filled(tmp_path)
    window = await SamplesReader(world.project, world.transport(), Codec(world.schemas)).newest(20, {})
    values = {"feature_set": world.project.feature_set, "rows_sha256": window.sha256}
    await say(world, topics.TRAINING_RUNS, run("run-a", *window.ranges, train_rows=15, holdout_rows=5, **values))
    transport, codec = world.transport(), Codec(world.schemas)
    facts, _ = await read_facts(world.project, transport, codec)
    log = LogSource(world.project, transport, codec)

    found = [await travel(world.project, facts, "run-a", log, lambda: LakeSource(lake), at) for at in ("log", "lake")]

    assert [True, True] == [one.verified for one in found]
    assert 20 == found[0].rows.table.num_rows
    assert found[0].rows.table.drop_columns("x_change").equals(found[1].rows.table.drop_columns("x_change"))
