"""Rollouts on the memory bus: from the deployment to predictions, shadow predictions and counts, through restarts."""

import asyncio
import re
import threading

import httpx
import pytest
from fastapi import FastAPI

from millrace.contracts import topics
from millrace.contracts.errors import ArtifactError
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from services.serving.models import Trust
from services.serving.probe import Task, try_model
from services.serving.split import assign, positions
from services.serving.watchdog import Watchdog
from tests.onnx_models import classifier
from tests.serving.bad_models import BAD, TRIGGER, as_bytes, busy, misbehaving
from tests.serving.scene import deployment, part, rollout, sample, serving, write
from tests.support import World, tiny_project, until

ENTITIES = [f"w{n}" for n in range(40)]
OPPOSITE = classifier(flipped=True)


@pytest.fixture
async def world(tmp_path):
    """The tiny project on an empty log."""
    return await World.create(tiny_project(tmp_path / "project"))


@pytest.fixture
def store(tmp_path):
    """The artefact store that serving reads."""
    return ArtifactStore(tmp_path / "artifacts")


def samples(first: int, x: float = 1.0) -> list[tuple[topics.TopicRow, object]]:
    """One event of each entity."""
    return [sample(first + n, x, who) for n, who in enumerate(ENTITIES)]


def canary(world: World, epoch: int, digests: tuple[str, str], share: float, **more: object):
    """Versions 1 and 2, the second as a candidate."""
    parts = part(world, digests[0], 1, 1 - share), part(world, digests[1], 2, share, "candidate")
    return rollout(epoch, *parts, **more)


async def in_force(world: World, epoch: int, status: str = "SERVING") -> dict:
    """That epoch's status, once it is reported."""

    async def found() -> list[dict]:
        values = await world.values(topics.SERVING_STATUS)
        return [one for one in values if (one["epoch"], one["status"]) == (epoch, status)]

    return (await until(found, 1))[0]


async def test_a_canary_grows_keeps_its_entities_and_is_rolled_back(world, store, tmp_path):
    """Through two steps, a restart and the way back each event has one answer, and its entity's variant."""
    digests = store.put(classifier()), store.put(OPPOSITE)
    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path):
        await in_force(world, 1)
        await write(world, canary(world, 2, digests, 0.2))
        assert 1 == (await in_force(world, 2))["version"]
        await write(world, *samples(0))
        await world.until(topics.PREDICTIONS, 40)
        await write(world, canary(world, 3, digests, 0.6, step=1))
        await in_force(world, 3)
        await write(world, *samples(100))
        await world.until(topics.PREDICTIONS, 80)
    async with serving(world, tmp_path):
        await write(world, *samples(200))
        await world.until(topics.PREDICTIONS, 120)
        await write(world, rollout(4, part(world, digests[0], 1), rollout_id=None, kind="ROLLED_BACK"))
        await in_force(world, 4)
        await write(world, *samples(300))
        made = await world.until(topics.PREDICTIONS, 160)
    shadow = await world.until(topics.SHADOW_PREDICTIONS, 120)
    drawn = positions("rollout/tiny/2", ENTITIES)
    theirs = [assign(drawn, [share]).tolist() for share in (0.2, 0.6, 0.6, 0.0)]
    expected = [one for part in theirs for one in part]

    assert 0 < sum(theirs[0]) < sum(theirs[1]) < 40
    assert [("champion", 1, 1.0), ("candidate", 2, 0.0)] == sorted(
        {(one["variant"], one["version"], one["value"]) for one in made}, reverse=True
    )
    assert [["champion", "candidate"][one] for one in expected] == [one["variant"] for one in made]
    assert [["candidate", "champion"][one] for one in expected[:120]] == [one["variant"] for one in shadow]
    assert 280 == len({one["prediction_id"] for one in (*made, *shadow)})
    assert [f"/{one['sample_offset']}/candidate" for one in made if one["variant"] == "candidate"] == [
        one["prediction_id"].removeprefix("tiny/tiny-samples/0") for one in made if one["variant"] == "candidate"
    ]


async def test_counts_of_a_rollout_add_up_to_its_events(world, store, tmp_path):
    """Over all frames of its epochs: answered by one or the other, scored by both; none where there is no rollout."""
    digests = store.put(classifier()), store.put(misbehaving("nan"))
    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path, max_records=7):
        await write(world, *samples(0))
        await world.until(topics.PREDICTIONS, 40)
        await write(world, canary(world, 2, digests, 0.5))
        await in_force(world, 2)
        await write(world, *samples(100), sample(200, TRIGGER))
        await world.until(topics.PREDICTIONS, 81)
    observed = await world.values(topics.OBSERVATIONS)
    parts = [one for frame in observed for one in frame["variants"]]
    total = {
        name: [sum(one[name] for one in parts if one["variant"] == variant) for variant in ("champion", "candidate")]
        for name in ("answered_rows", "assigned_rows", "scored_rows", "missing_rows")
    }

    assert 41 == sum(total["answered_rows"]) == sum(total["assigned_rows"])
    assert ([41, 41], [0, 1]) == (total["scored_rows"], total["missing_rows"])
    assert {(1, None), (2, "rollout/tiny/2")} == {(one["epoch"], one["rollout_id"]) for one in observed}
    assert {1} == {one["champion_version"] for one in observed}


@pytest.mark.parametrize("name", ["garbage", "NaN weight", "loop", "missing"])
async def test_a_bad_candidate_never_begins(world, store, tmp_path, name):
    """The whole deployment is refused for it, its version is named, and what served before goes on."""
    good = store.put(classifier())
    bad, reason = ("ab" * 32, "missing") if name == "missing" else (store.put(as_bytes(BAD[name][0])), BAD[name][1])
    await write(world, deployment(world, 1, good))
    async with serving(world, tmp_path):
        await in_force(world, 1)
        await write(world, canary(world, 2, (good, bad), 0.5))
        status = await in_force(world, 2, "FAILED")
        await write(world, *samples(0))
        made = await world.until(topics.PREDICTIONS, 40)
        alerts = await world.values(topics.ALERTS)

    assert 2 == status["version"]
    assert re.search(reason, status["reason"])
    assert ["tiny version 2"] == [one["subject"] for one in alerts]
    assert {(1, 1, "champion")} == {(one["epoch"], one["version"], one["variant"]) for one in made}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rollout_id": None}, "several parts need a rollout_id"),
        ({"unit": "moon"}, "unit is entity or event, not 'moon'"),
        ({"traffic": ()}, "its first part must be the champion"),
        ({"strategy": "immediate"}, "'immediate' is no strategy for several parts"),
    ],
)
async def test_a_deployment_that_makes_no_sense_is_refused(world, store, tmp_path, changes, reason):
    """Nothing is guessed; the last good one goes on."""
    digests = store.put(classifier()), store.put(OPPOSITE)
    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path):
        await in_force(world, 1)
        row, wrong = canary(world, 2, digests, 0.5)
        await write(world, (row, wrong.model_copy(update=changes)))
        status = await in_force(world, 2, "FAILED")

    assert reason in status["reason"]


async def test_a_candidate_that_is_too_slow_holds_nobody_up(world, store, tmp_path):
    """Each try is ended, after three it is not run any more; the champion answers everything, and it is counted."""
    config = {"guardrails": {"scoring_ms_max": 20}}
    world.project = tiny_project(tmp_path / "project", rollout=config)
    digests = store.put(classifier()), store.put(busy(8, 1000))
    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path, Trust(alarm=Watchdog()), max_records=10):
        await in_force(world, 1)
        await write(world, canary(world, 2, digests, 0.5))
        await in_force(world, 2)
        await write(world, *samples(0))
        made = await world.until(topics.PREDICTIONS, 40)
    parts = [one for frame in await world.values(topics.OBSERVATIONS) for one in frame["variants"]]
    slow = [one for one in parts if one["variant"] == "candidate"]

    assert {(1, "champion")} == {(one["version"], one["variant"]) for one in made}
    assert (40, 0) == (sum(one["error_rows"] for one in slow), sum(one["answered_rows"] for one in slow))
    assert 3 == sum(one["scoring_us"] > 0 for one in slow)


class Waiting:
    """A probe that keeps the second model until it is told."""

    def __init__(self) -> None:
        self.tried = 0
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, task: Task) -> None:
        """Try it, later."""
        self.tried += 1
        if self.tried == 2:
            self.began.set()
            assert self.go.wait(30)
            raise ArtifactError("it took so long, and then it crashed")
        try_model(task)

    def close(self) -> None:
        """There is no child."""


async def test_a_rollback_waits_for_no_probe(world, store, tmp_path):
    """While a candidate keeps its probe busy the last good version can be deployed again."""
    digests, probe = (store.put(classifier()), store.put(OPPOSITE)), Waiting()
    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path, Trust(probe=probe)):
        await in_force(world, 1)
        await write(world, canary(world, 2, digests, 0.5))
        await asyncio.to_thread(probe.began.wait, 30)
        await write(world, rollout(3, part(world, digests[0], 1), rollout_id=None, kind="ROLLED_BACK"))
        await in_force(world, 3)
        probe.go.set()
        assert "crashed" in (await in_force(world, 2, "FAILED"))["reason"]
        await write(world, *samples(0))
        made = await world.until(topics.PREDICTIONS, 40)

    assert {(3, 1)} == {(one["epoch"], one["version"]) for one in made}


async def test_models_in_memory_are_not_loaded_again(world, store, tmp_path):
    """Back and forth between two versions, with the store gone: each is tried once."""
    digests = store.put(classifier()), store.put(OPPOSITE)
    tried = []

    class Counting(Waiting):
        def __call__(self, task: Task) -> None:
            tried.append(task)
            try_model(task)

    await write(world, deployment(world, 1, digests[0]))
    async with serving(world, tmp_path, Trust(probe=Counting())):
        await in_force(world, 1)
        await write(world, canary(world, 2, digests, 0.5))
        await in_force(world, 2)
        (tmp_path / "artifacts").rename(tmp_path / "away")
        await write(world, rollout(3, part(world, digests[1], 2), rollout_id=None, kind="PROMOTED"))
        assert 2 == (await in_force(world, 3))["version"]
        await write(world, rollout(4, part(world, digests[0], 1), rollout_id=None, kind="ROLLED_BACK"))
        assert 1 == (await in_force(world, 4))["version"]

    assert 2 == len(tried)


async def test_every_loaded_version_answers_over_http(world, store, tmp_path):
    """The champion without a version, each one by its own, and 404 with those that are loaded."""
    digests = store.put(classifier()), store.put(misbehaving("error"))
    await write(world, deployment(world, 1, digests[0]), canary(world, 2, digests, 0.5))
    tensor = {"name": "features", "shape": [1, 3], "datatype": "FP32", "data": [2, 0, 0]}
    async with serving(world, tmp_path) as service:
        await in_force(world, 2)
        app: FastAPI = build_app("serving", service.checks)
        service.add_routes(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://serving") as http:

            async def asked(path: str, data: list[float]) -> tuple[int, object]:
                answer = await http.post(f"/v2/models/tiny{path}", json={"inputs": [{**tensor, "data": data}]})
                said = answer.json()
                return answer.status_code, said.get("detail") or (said["model_version"], said["outputs"][0]["data"])

            assert (200, ("1", [1.0])) == await asked("/infer", [2, 0, 0])
            assert (200, ("2", [1.0])) == await asked("/versions/2/infer", [2, 0, 0])
            assert (404, "version '7' of 'tiny' is not loaded; loaded are [1, 2]") == await asked(
                "/versions/7/infer", [2, 0, 0]
            )
            assert 404 == (await asked("/versions/none/infer", [2, 0, 0]))[0]
            assert 500 == (await asked("/versions/2/infer", [TRIGGER, 0, 0]))[0]
            assert ["1", "2"] == (await http.get("/v2/models/tiny")).json()["versions"]
            assert ["2"] == (await http.get("/v2/models/tiny/versions/2")).json()["versions"]
