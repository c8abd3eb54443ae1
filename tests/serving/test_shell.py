"""Serving on the memory bus: where scoring begins, swaps, refusals, labels on their way to the monitor."""

import asyncio
import math

import httpx
import pytest
from fastapi import FastAPI

from millrace.bus.deadletter import why
from millrace.contracts import topics
from millrace.contracts.frames import decode_frame
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from services.serving.shell import ServingService
from tests.onnx_models import classifier
from tests.serving.scene import deployment, label, later, sample, serving, write
from tests.support import World, forget_positions, tiny_project, until


@pytest.fixture
async def world(tmp_path):
    """The tiny project on an empty log."""
    return await World.create(tiny_project(tmp_path / "project"))


@pytest.fixture
def store(tmp_path):
    """The artefact store that serving reads."""
    return ArtifactStore(tmp_path / "artifacts")


async def test_scoring_begins_at_the_first_deployment_and_says_where(world, store, tmp_path):
    """Samples before the deployment's time are not scored; every later one is, once; the offset is on record."""
    await write(world, sample(0), sample(1))
    since_ms = await later(world)
    async with serving(world, tmp_path):
        await write(world, deployment(world, 1, store.put(classifier()), since_ms))
        status = (await world.until(topics.SERVING_STATUS, 1))[0]
        await write(world, sample(2), sample(3, x=-1.0))
        predictions = await world.until(topics.PREDICTIONS, 2)
    offsets = [record.offset for record in await world.records(topics.SAMPLES)]

    assert [("e2", 1.0, "yes"), ("e3", 0.0, "no")] == [
        (one["event_id"], one["value"], one["label"]) for one in predictions
    ]
    assert [f"tiny/tiny-samples/0/{offset}" for offset in offsets[2:]] == [one["prediction_id"] for one in predictions]
    assert offsets[1] < status["from_offset"] <= offsets[2]


async def test_a_restart_scores_each_sample_once(world, store, tmp_path):
    """What was committed before the restart is not scored again, what came meanwhile is."""
    await write(world, deployment(world, 1, store.put(classifier())))
    await write(world, sample(0), sample(1))
    async with serving(world, tmp_path):
        await world.until(topics.PREDICTIONS, 2)
    await write(world, sample(2))
    async with serving(world, tmp_path):
        predictions = await world.until(topics.PREDICTIONS, 3)

    assert ["e0", "e1", "e2"] == [one["event_id"] for one in predictions]


async def test_positions_that_the_broker_forgot_are_found_again(world, store, tmp_path):
    """A group away for long has no positions any more: the observations tell, and nothing is scored twice."""
    await write(world, deployment(world, 1, store.put(classifier())))
    await write(world, sample(0), label(0, 1.0), sample(1))
    async with serving(world, tmp_path):
        await world.until(topics.PREDICTIONS, 2)
    assert forget_positions(world.log)
    await write(world, sample(2))
    async with serving(world, tmp_path):
        predictions = await world.until(topics.PREDICTIONS, 3)

    assert ["e0", "e1", "e2"] == [one["event_id"] for one in predictions]


async def test_a_new_version_takes_over_between_two_batches(world, store, tmp_path):
    """From the status's offset on, and not before, the new version answers."""
    await write(world, deployment(world, 1, store.put(classifier())))
    async with serving(world, tmp_path):
        await write(world, sample(0))
        await world.until(topics.PREDICTIONS, 1)
        await write(world, deployment(world, 2, store.put(classifier(flipped=True))))
        statuses = await world.until(topics.SERVING_STATUS, 2)
        await write(world, sample(1))
        predictions = await world.until(topics.PREDICTIONS, 2)

    assert [(1, 1, 1.0), (2, 2, 0.0)] == [(one["version"], one["epoch"], one["value"]) for one in predictions]
    assert predictions[0]["sample_offset"] < statuses[1]["from_offset"] <= predictions[1]["sample_offset"]


@pytest.mark.parametrize("damage", ["missing", "damaged", "not a model"])
async def test_a_bad_model_is_reported_and_the_last_good_one_goes_on(world, store, tmp_path, damage):
    """The status says FAILED with the reason, an alert is raised, and version 1 still answers."""
    await write(world, deployment(world, 1, store.put(classifier())))
    digest = "ab" * 32
    if damage == "damaged":
        digest = store.put(classifier(flipped=True))
        path = next((tmp_path / "artifacts").rglob(digest))
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    if damage == "not a model":
        digest = store.put(b"hello")
    async with serving(world, tmp_path):
        await world.until(topics.SERVING_STATUS, 1)
        await write(world, deployment(world, 2, digest))
        statuses = await world.until(topics.SERVING_STATUS, 2)
        await write(world, sample(0))
        predictions = await world.until(topics.PREDICTIONS, 1)
        alerts = await world.until(topics.ALERTS, 1)

    assert ("FAILED", 2) == (statuses[1]["status"], statuses[1]["epoch"])
    assert statuses[1]["reason"] in alerts[0]["message"]
    assert [1] == [one["version"] for one in predictions]


async def test_observations_carry_predictions_and_labels_in_samples_order(world, store, tmp_path):
    """The monitor reads one ordered log: a label stands where it stands among the samples."""
    await write(world, deployment(world, 1, store.put(classifier())))
    await write(world, sample(0), label(0, 1.0), sample(1, x=-3.0))
    async with serving(world, tmp_path):
        await world.until(topics.PREDICTIONS, 2)
        frames = [decode_frame(one["frame"]) for one in await world.until(topics.OBSERVATIONS, 1)]
    merged = {name: [value for frame in frames for value in frame[name]] for name in frames[0]}

    assert ["e0", "e0", "e1"] == merged["event_id"]
    assert [False, True, False] == [bool(flag) for flag in merged["is_label"]]
    assert [1.0, -3.0] == [value for value in merged["x"] if not math.isnan(value)]
    assert [1.0] == [value for value in merged["label"] if not math.isnan(value)]


async def test_the_open_inference_protocol_answers(world, store, tmp_path):
    """Metadata names the features; inference scores rows; wrong shapes and unknown models are refused in words."""
    await write(world, deployment(world, 1, store.put(classifier())))
    async with serving(world, tmp_path) as service:
        await world.until(topics.SERVING_STATUS, 1)
        app: FastAPI = build_app("serving", service.checks)
        service.add_routes(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://serving") as http:
            metadata = (await http.get("/v2/models/tiny")).json()
            tensor = {"name": "features", "shape": [2, 3], "datatype": "FP32", "data": [2, 0, 0, -2, 0, 0]}
            answer = (await http.post("/v2/models/tiny/infer", json={"inputs": [tensor]})).json()
            narrow = await http.post("/v2/models/tiny/infer", json={"inputs": [{**tensor, "shape": [3, 2]}]})
            unknown = await http.get("/v2/models/other")
            ready = await http.get("/readyz")

    assert ["x", "x_change", "last"] == metadata["parameters"]["features"]
    assert [1.0, 0.0] == answer["outputs"][0]["data"]
    assert (400, "inputs[0] has shape [3, 2], [rows, 3] is needed") == (narrow.status_code, narrow.json()["detail"])
    assert (404, 200) == (unknown.status_code, ready.status_code)


async def test_nothing_is_skipped_while_no_model_can_be_loaded(world, store, tmp_path):
    """Restarted while the store is away: samples wait, and are scored when the model can be loaded again."""
    await write(world, deployment(world, 1, store.put(classifier())))
    async with serving(world, tmp_path) as service:
        await write(world, sample(0))
        await world.until(topics.PREDICTIONS, 1)
    await write(world, sample(1), sample(2))
    (tmp_path / "artifacts").rename(tmp_path / "away")
    async with serving(world, tmp_path) as service:
        await world.until(topics.ALERTS, 1)
        assert "no artefact store" in service.checks()["model"]
        (tmp_path / "away").rename(tmp_path / "artifacts")
        await write(world, sample(3))
        predictions = await world.until(topics.PREDICTIONS, 4)
        assert service.checks()["model"] is None

    assert ["e0", "e1", "e2", "e3"] == [one["event_id"] for one in predictions]


async def test_a_store_that_was_away_is_asked_again(world, store, tmp_path):
    """A new version whose file cannot be had now takes over as soon as it can."""
    await write(world, deployment(world, 1, store.put(classifier())))
    async with serving(world, tmp_path) as service:
        await world.until(topics.SERVING_STATUS, 1)
        digest = store.put(classifier(flipped=True))
        (tmp_path / "artifacts").rename(tmp_path / "away")
        await write(world, deployment(world, 2, digest))
        await world.until(topics.ALERTS, 1)
        (tmp_path / "away").rename(tmp_path / "artifacts")
        statuses = await world.until(topics.SERVING_STATUS, 3)

    assert [("SERVING", 1), ("FAILED", 2), ("SERVING", 2)] == [(one["status"], one["epoch"]) for one in statuses]
    assert service.deployments.trouble is None


async def test_frames_are_cut_to_fit_into_records(world, store, tmp_path):
    """Long ids make one micro-batch larger than a record may be: several frames, without a gap, hold every row."""
    await write(world, deployment(world, 1, store.put(classifier())))
    rows = 1200
    await write(
        world,
        *[(row, event.model_copy(update={"event_id": f"{n:0900}"})) for n in range(rows) for row, event in [sample(n)]],
    )
    context = world.context("serving")
    service = ServingService(context, artifacts=str(tmp_path / "artifacts"), max_records=2000)
    task = asyncio.create_task(service.run())
    await world.until(topics.PREDICTIONS, rows)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    frames = await world.values(topics.OBSERVATIONS)

    assert len(frames) > 1
    assert rows == sum(frame["rows"] for frame in frames)
    assert [frame["until_offset"] for frame in frames[:-1]] == [frame["from_offset"] for frame in frames[1:]]


async def test_a_sample_left_over_from_other_features_is_a_dead_letter(world, store, tmp_path):
    """It was appended before the deployment of the new features: no model for it will come."""
    row, event = sample(0)
    await write(world, (row, event.model_copy(update={"feature_set": "old", "features": (1.0,)})), sample(1))
    since_ms = await later(world)
    _, first = deployment(world, 1, store.put(classifier()))
    await write(world, (topics.DEPLOYMENTS, first.model_copy(update={"decided_at_ms": since_ms})))
    async with serving(world, tmp_path):
        predictions = await world.until(topics.PREDICTIONS, 1)
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 1)

    assert ["e1"] == [one["event_id"] for one in predictions]
    assert why(letters[0])["reason"] == "feature-set-replaced"


async def test_a_sample_of_newer_features_waits_for_its_model(world, store, tmp_path):
    """Ingest was restarted with other features first: what comes after is kept, and readiness says why."""
    await write(world, deployment(world, 1, store.put(classifier())))
    async with serving(world, tmp_path) as service:
        await write(world, sample(0))
        await world.until(topics.PREDICTIONS, 1)
        row, event = sample(1)
        await write(world, (row, event.model_copy(update={"feature_set": "new", "features": (1.0, 2.0)})), sample(2))

        async def refused() -> list[str]:
            return [reason] if (reason := service.checks()["features"]) else []

        reasons = await until(refused, 1)

    assert "feature set new wait for a model" in reasons[0]
    assert ["e0"] == [one["event_id"] for one in await world.values(topics.PREDICTIONS)]
    assert [] == await world.records(topics.DEAD_LETTERS)


REFUSED = {1: "feature-count", 4: "undecodable", 5: "undecodable", 6: "unknown-schema", 11: "undecodable"}
"""By offset; markers of transactions are in between."""


async def test_samples_that_cannot_be_scored_are_dead_letters_and_the_others_go_on(world, store, tmp_path):
    """Bytes that are no sample, and too few features: each once, with its bytes and its reason."""
    await write(world, deployment(world, 1, store.put(classifier())))
    row, good = sample(1)
    await write(world, sample(0), (row, good.model_copy(update={"event_id": "narrow", "features": (1.0,)})), sample(1))
    broken = (await world.records(topics.SAMPLES))[0].value[:-1]
    await world.send(topics.SAMPLES, ("w", b"no sample"), ("w", broken), ("w", b"\0\0\0\x03\xe7rest"))
    await write(world, label(0, 1.0), sample(2, x=-1.0))
    async with serving(world, tmp_path):
        await world.until(topics.PREDICTIONS, 3)
        await world.send(topics.SAMPLES, ("w", b"alone in its batch"))
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 5)
        await write(world, sample(3))
        predictions = await world.until(topics.PREDICTIONS, 4)
    bad = [record for record in await world.records(topics.SAMPLES) if record.offset in REFUSED]
    seen = {(int(why(letter)["offset"]), why(letter)["reason"], letter.value) for letter in letters}

    assert [("e0", 1.0), ("e1", 1.0), ("e2", 0.0), ("e3", 1.0)] == [
        (one["event_id"], one["value"]) for one in predictions
    ]
    assert {(record.offset, REFUSED[record.offset], record.value) for record in bad} == seen
    assert len(await world.records(topics.DEAD_LETTERS)) == len(bad) == 5


async def in_force(world: World, epoch: int) -> None:
    """Wait until that deployment is in force."""

    async def found() -> list[int]:
        return [one["epoch"] for one in await world.values(topics.SERVING_STATUS) if one["epoch"] == epoch]

    await until(found, 1)


async def test_versions_that_change_under_load_answer_each_sample_once(world, store, tmp_path):
    """Each prediction is of the version whose deployment was in force at its offset, and there is one for each."""
    digests = [store.put(classifier()), store.put(classifier(flipped=True))]
    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path):
        await in_force(world, 1)
        for epoch in range(2, 8):
            start = 120 * (epoch - 2)
            await write(world, *[sample(start + n) for n in range(60)])
            await write(world, deployment(world, epoch, digests[(epoch + 1) % 2]))
            await write(world, *[sample(start + n) for n in range(60, 120)])
            await in_force(world, epoch)
        await write(world, sample(720))
        predictions = await world.until(topics.PREDICTIONS, 721)
    statuses = [(one["from_offset"], one["epoch"]) for one in await world.values(topics.SERVING_STATUS)]
    expected = [max(epoch for offset, epoch in statuses if offset <= one["sample_offset"]) for one in predictions]

    assert list(range(1, 8)) == [epoch for _, epoch in statuses]
    assert [f"e{n}" for n in range(721)] == [one["event_id"] for one in predictions]
    assert [(epoch, epoch, float(epoch % 2)) for epoch in expected] == [
        (one["epoch"], one["version"], one["value"]) for one in predictions
    ]
    assert len(set(expected)) > 3, "versions must have changed under way"
