"""What the pages are told about models: what serves and why, the whole life, versions side by side."""

import pytest

from tests.console.world import DAY_MS, append, console, drifted, get, measured, new_world, progressed, snapshot
from tests.registry.lives import run, whole_life
from tests.support import EPOCH_MS


@pytest.fixture
async def client(tmp_path):
    """A whole life of the tiny model, with metrics of two versions and a run under way."""
    world = await new_world(tmp_path / "project")
    metrics = [
        *(measured(100 * number, 0.9 - number / 100) for number in range(1, 11)),
        measured(1100, 0.8, version=2, metrics_id="m/2/0"),
        measured(1100, 0.7, version=2, partition=1, window_rows=300, metrics_id="m/2/1"),
    ]
    await append(world, [*whole_life().log, *metrics, drifted(7), snapshot(1), progressed(6, 3, against=2)])
    async with console(world, tmp_path) as (_, http):
        yield http


async def test_the_overview_shows_every_model_with_what_serves_and_why(client):
    """Champion, since when, by whose word; what is being trained; frozen, by whom; what waits."""
    found = await get(client, "/api/overview")
    [model] = found["models"]

    assert (True, None) == (found["ready"], found["catching_up"])
    assert ("tiny", "tiny", "frozen", 2) == tuple(
        model[name] for name in ("model", "stream", "state", "champion_version")
    )
    assert [("champion", 2, 1.0, "LIVE")] == [tuple(part.values()) for part in model["shares"]]
    assert ("ada", "tiny is frozen: nothing but rolling back happens by itself (a holiday)") == (
        model["frozen"]["by"],
        model["frozen"]["reason"],
    )
    assert ("run-6", "fit", 0.3) == tuple(model["training"][name] for name in ("run_id", "stage", "progress_ratio"))
    assert [4] == [one["version"] for one in found["waiting"]]
    assert {"models": 1, "models_serving": 1, "training": 1, "waiting": 1, "runs": 6, "versions": 4} == {
        name: found["counts"][name] for name in ("models", "models_serving", "training", "waiting", "runs", "versions")
    }


async def test_since_when_a_champion_serves_is_told_by_what_made_it_champion(client):
    """Not by the newest deployment: a failed canary in between changes nothing about that."""
    model = await get(client, "/api/models/tiny")
    made = [one for one in model["recent_deployments"] if one["kind"] == "PROMOTED"]

    assert 1 == len(made)
    assert (made[0]["decided_at_ms"], made[0]["reason"]) == (model["champion_since_ms"], model["why"])
    assert model["epoch"] > made[0]["epoch"]


async def test_the_quality_of_a_model_is_that_of_its_champion_over_all_partitions(client):
    """The mean by rows; the interval is narrower than that of each partition."""
    [model] = (await get(client, "/api/overview"))["models"]
    quality = model["quality"]

    assert ("accuracy", 2, 400, "labels", True) == tuple(
        quality[name] for name in ("metric", "version", "rows", "source", "higher_is_better")
    )
    assert pytest.approx(0.725) == quality["value"]
    assert 0 < quality["value"] - quality["low"] < 0.05


async def test_what_can_be_done_is_offered_with_the_versions_that_fit(client):
    """The registry's own rules say so."""
    offered = {one["verb"]: one for one in (await get(client, "/api/models/tiny"))["actions"]}

    assert [1] == offered["rollback"]["versions"]
    assert [4] == offered["approve"]["versions"]
    assert (True, False) == (offered["unfreeze"]["possible"], offered["abort"]["possible"])
    assert "no rollout is under way" in offered["abort"]["why_not"]


async def test_the_timeline_puts_metrics_and_what_happened_on_one_axis(client):
    """By event time, what has only a wall time stands where measuring was by then."""
    found = await get(client, "/api/models/tiny/timeline")
    lines = {line["version"]: line for line in found["series"]}
    marks = {mark["kind"]: mark for mark in found["marks"]}

    assert [1, 2] == sorted(lines)
    assert 10 == len(lines[1]["at_ms"]) == len(lines[1]["low"]) == lines[1]["points_total"]
    assert [0.89, 0.8] == [lines[1]["value"][0], lines[1]["value"][-1]]
    assert pytest.approx(0.725) == lines[2]["value"][0]
    assert {"drift", "run", "version", "deployment", "request", "action"} <= marks.keys()
    assert ("own", EPOCH_MS + 7000) == (marks["drift"]["time_from"], marks["drift"]["at_ms"])
    assert "nearest_metric" == marks["deployment"]["time_from"]
    assert found["from_ms"] <= marks["deployment"]["at_ms"] <= found["until_ms"]
    assert ["accuracy", "log_loss"] == found["metrics"]


async def test_a_timeline_of_wall_time_is_cut_into_as_many_points_as_are_asked_for(client):
    """The points of one part are their mean by rows; the interval stays."""
    query = f"?axis=wall&max_points=10&from_ms={EPOCH_MS + DAY_MS}&until_ms={EPOCH_MS + DAY_MS + 200_000}"
    found = await get(client, f"/api/models/tiny/timeline{query}")
    [line] = [line for line in found["series"] if line["version"] == 1]

    assert (1, True, 10) == (len(line["value"]), line["downsampled"], line["points_total"])
    assert pytest.approx(0.845) == line["value"][0]
    assert 1000 == line["rows_total"] == line["rows"][0]


async def test_versions_come_with_their_lives_and_rejected_runs_beside_them(client):
    """The newest first, with what the registry said of each."""
    found = await get(client, "/api/models/tiny/versions")
    two = await get(client, "/api/models/tiny/versions?limit=2")
    rest = await get(client, f"/api/models/tiny/versions?limit=10&cursor={two['next']}")

    assert [4, 3, 2, 1] == [version["version"] for version in found["versions"]]
    assert ["run-3"] == [one["run_id"] for one in found["rejected"]]
    assert 1.0 == next(one["serving_share"] for one in found["versions"] if one["version"] == 2)
    assert "RETIRED" == found["versions"][3]["status"]
    assert [one["version"] for one in found["versions"]] == [
        one["version"] for one in (*two["versions"], *rest["versions"])
    ]


async def test_two_versions_are_shown_side_by_side(client):
    """Metrics, parameters and checks row by row, and in words which is better."""
    found = await get(client, "/api/models/tiny/versions/compare?a=1&b=2")
    rows = {(row["group"], row["name"]): row for row in found["rows"]}

    assert (1, 2) == (found["a"]["version"], found["b"]["version"])
    assert (None, "1.0") == (rows["parameters", "C"]["a"], rows["parameters", "C"]["b"])
    live = rows["live metrics", "accuracy"]
    assert ("a", pytest.approx(-0.075)) == (live["better"], live["difference"])
    assert "version 1 is better than version 2 in accuracy" in found["words"]


async def test_models_are_found_by_a_part_of_their_name(client):
    """And what is not known is said with what is."""
    assert 1 == (await get(client, "/api/models?q=in"))["total"]
    assert [] == (await get(client, "/api/models?q=%25"))["models"]
    assert "known are ['tiny']" in (await get(client, "/api/models/nope", 404))["detail"]
    assert "is no cursor of this list" in (await get(client, "/api/models?cursor=zzz", 400))["detail"]


async def test_runs_are_listed_and_one_is_told_in_whole(client):
    """Filters hold for the pages and the total; a run knows its cause, its curve and its verdict."""
    found = await get(client, "/api/runs?status=SUCCEEDED&limit=2")
    rest = await get(client, f"/api/runs?status=SUCCEEDED&cursor={found['next']}")
    one = await get(client, "/api/models/tiny/runs/run-2")
    now = await get(client, "/api/models/tiny/runs/run-6")

    assert 5 == found["total"] == len(found["runs"]) + len(rest["runs"])
    assert ("REGISTERED", 2) == (one["verdict"], one["version"])
    assert ("drift", "drift/tiny/1") == (one["cause"]["kind"], one["cause"]["id"])
    assert [{"name": "fit: loss", "points": [{"step": 3, "value": 0.5}]}] == now["losses"]
    assert "only a run that succeeded has a record" == now["record_missing"]
    assert ("STARTED", "fit") == (now["status"], now["progress"]["stage"])


async def test_a_drift_tells_its_evidence_and_what_followed(client):
    """Which, how sure, the two distributions; the run and the version that came of it."""
    led = await get(client, "/api/drifts/drift/tiny/1")
    found = await get(client, "/api/models/tiny/drifts/drift%2Ftiny%2Ffeature:x%2F0%2F7")
    listed = await get(client, "/api/models/tiny/drifts?severity=WARNING")

    assert (2, "run-2") == (led["followed_by"]["version"], led["led_to_run"])
    assert 2 == led["followed_by"]["deployment"]["traffic"][0]["version"]
    assert "version 2 came of it" in led["words"][-1]
    assert [[90, 10], [5, 15], "100 training rows"] == [
        found["distribution"][name] for name in ("before_counts", "after_counts", "before_label")
    ]
    assert any("probability 1e-06" in said for said in found["words"])
    assert ["drift/tiny/feature:x/0/7"] == [one["drift_id"] for one in listed["drifts"]]
    await get(client, "/api/models/other/drifts/drift%2Ftiny%2F1", 404)


async def test_a_run_that_is_begun_again_is_shown_as_it_is_now(tmp_path):
    """It failed, and begins anew under its id: its time is that of the new beginning; success is final."""
    world = await new_world(tmp_path / "project")
    failed = run(1, status="FAILED", error="it broke")
    again = progressed(1, 1).model_copy(update={"progress": None})
    async with console(world, tmp_path) as (service, client):
        await append(world, [again.model_copy(update={"changed_at_ms": EPOCH_MS}), failed, again])
        await append(world, [run(1), progressed(1, 5)])
        from tests.console.world import eventually

        found = await eventually(
            client, "/api/runs", lambda page: page["runs"] and page["runs"][0]["status"] == "SUCCEEDED"
        )

        assert [EPOCH_MS + DAY_MS + 1] == [one["began_at_ms"] for one in found["runs"]]
        assert service.follower.fault is None
