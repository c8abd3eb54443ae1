"""The log and the model, as the doctor sees them."""

import pytest

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import Record
from millrace.cli.connect import Clients
from millrace.cli.doctor import of_project
from millrace.contracts import topics
from millrace.contracts.events import AlertRaised
from millrace.stores.artifacts import ArtifactStore
from tests.cli.lineage_world import deployment, run, say, status, version
from tests.onnx_models import classifier
from tests.support import EPOCH_MS, World, tiny_project


async def world_of(tmp_path, *, deployed=True, report=None):
    """A model that serves, or none yet."""
    world = await World.create(tiny_project(tmp_path / "project"))
    store = ArtifactStore(str(tmp_path / "artifacts"))
    sha = store.put(classifier(len(world.project.feature_names)))
    if deployed:
        decided = deployment(1, 1)
        part = decided.traffic[0].model_copy(update={"artifact_sha256": sha})
        await say(world, topics.TRAINING_RUNS, run("run-a"))
        await say(world, topics.MODEL_VERSIONS, version(1, "run-a", "REGISTERED"), version(1, "run-a"))
        await say(world, topics.DEPLOYMENTS, decided.model_copy(update={"traffic": (part,)}))
        await say(world, topics.SERVING_STATUS, report or status(1, 1, 0))
        await world.send(topics.EVENTS, await world.event())
        await world.send(topics.LABELS, await world.label("e1", 1.0, EPOCH_MS))
    return world, store


async def examined(world, store):
    """All findings but those that are well, by subject."""
    context = world.context()
    clients = Clients(world.project, context.transport, context.codec)
    found = [one async for one in of_project(clients, store, world.clock.now_ms())]
    return {one.subject: one for one in found if one.level != "ok"}, found


async def test_where_all_is_well_nothing_is_to_mend(tmp_path):
    """Topics, schemas, arrivals, letters, the model, its partitions, its file and the alerts were all looked at."""
    looks, found = await examined(*await world_of(tmp_path))

    assert {} == looks
    assert {
        "project", "topics", "schemas", "events", "labels", "dead letters", "tiny", "serving", "artefact", "alerts",
    } == {one.subject for one in found}  # fmt: skip


async def test_an_empty_stream_says_what_to_send(tmp_path):
    """No events, no model: how many rows a first one needs."""
    looks, _ = await examined(*await world_of(tmp_path, deployed=False))

    assert {"events", "labels", "tiny"} == set(looks)
    assert "training.first_rows" in looks["tiny"].mend
    assert "millrace publish" in looks["events"].mend


async def test_a_lost_artefact_is_in_trouble(tmp_path):
    """It still serves; a restart could not load it."""
    world, _ = await world_of(tmp_path)
    looks, _ = await examined(world, ArtifactStore(str(tmp_path / "empty")))

    assert {"artefact": "trouble"} == {name: one.level for name, one in looks.items()}


async def test_what_could_not_be_loaded_is_in_trouble(tmp_path):
    """With the partition, the reason, and the command that mends it."""
    world, store = await world_of(tmp_path, report=status(1, 1, 0, status="FAILED", reason="no such file"))
    looks, _ = await examined(world, store)

    assert "partition 0 could not load version 1: no such file" == looks["serving"].what
    assert "millrace rollback tiny" in looks["serving"].mend


async def test_refused_records_are_counted_by_reason(tmp_path):
    """The most frequent first, with the command that lists them."""
    world, store = await world_of(tmp_path)
    context = world.context()
    record = Record("tiny-events", 0, 0, 0, b"w", b"garbage", ())
    letters = [
        dead_letter(world.topic(topics.DEAD_LETTERS), record, stage="s", reason=reason, message="m", error_class="c")
        for reason in ("out-of-range", "undecodable", "out-of-range")
    ]
    producer = await context.transport.producer("test.letters")
    await producer.commit(letters)
    await producer.close()
    looks, _ = await examined(world, store)

    assert "3 within a day: 2 out-of-range, 1 undecodable" == looks["dead letters"].what


@pytest.mark.parametrize(("severity", "level"), [("WARNING", "warning"), ("CRITICAL", "trouble")])
async def test_alerts_of_the_last_hour_are_told(tmp_path, severity, level):
    """By reason, with the newest message; those of other models are not ours."""
    world, store = await world_of(tmp_path)
    alerts = [
        AlertRaised(
            alert_id=f"a{number}", service="monitor", severity=severity, reason="drift", subject="s",
            message=f"message {number}", raised_at_ms=0, model=model,
        )
        for number, model in enumerate(["tiny", "tiny", "other"])
    ]  # fmt: skip
    await say(world, topics.ALERTS, *alerts)
    looks, _ = await examined(world, store)

    assert (level, "2 of drift within an hour, the newest: message 1") == (looks["alerts"].level, looks["alerts"].what)


async def test_missing_topics_stop_there(tmp_path):
    """What lies in them cannot be looked at; the way out is named once."""
    project = tiny_project(tmp_path / "project")
    world = await World.create(project)
    other = tiny_project(tmp_path / "other", stream="elsewhere", model="elsewhere")
    context = world.context()
    found = [one async for one in of_project(Clients(other, context.transport, context.codec), None, 0)]

    assert ["project", "topics"] == [one.subject for one in found]
    assert "millrace prepare" in found[1].mend
