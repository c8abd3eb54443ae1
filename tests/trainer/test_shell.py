"""The trainer on the memory bus, from news to the end of a run."""

import asyncio
import itertools
from functools import partial
from typing import get_args

import pytest

from millrace.bus.memory_log import CommitFault
from millrace.contracts import topics
from millrace.contracts.errors import ArtifactStoreUnavailableError
from services.trainer.fitter import fit_in_child, fit_inline
from services.trainer.train.score import score
from services.trainer.train.task import FitError
from tests.trainer.mill import Mill, project_with, story, until

child = partial(fit_in_child, memory_mb=0, threads=1)


@pytest.fixture
async def mill(tmp_path):
    """An empty stream with a project whose pipeline is a logistic regression."""
    return await Mill.create(project_with(tmp_path / "project"), tmp_path)


async def test_the_first_model_is_trained_once_there_are_enough_rows(mill):
    """STARTED and SUCCEEDED, the artefact in the store, everything needed to repeat it in the events."""
    await mill.grow(120)
    cause = await mill.snapshot()
    async with mill.trainer() as service:
        started, ended = await mill.until_runs(2)
        assert {"bus": None, "project": None} == service.checks()
    assert [("STARTED", cause), ("SUCCEEDED", cause)] == story([started, ended])
    assert (started["run_id"], 80 + 20, 20) == (ended["run_id"], ended["train_rows"] + 20, ended["holdout_rows"])
    content = mill.artifacts.get(ended["artifact_sha256"])
    assert ended["artifact_bytes"] == len(content)
    assert ended["metrics"]["rows"] == 20
    assert all(check["passed"] for check in ended["checks"]), ended["checks"]
    assert score(content, [[0.5, 0.0, 1.0]], 2).probabilities.shape == (1, 2)


async def test_too_few_rows_wait_for_the_next_snapshot(mill):
    """A snapshot that counts rows which are not usable starts nothing; the next one does."""
    await mill.grow(60)
    await mill.snapshot(labelled_rows=100)
    async with mill.trainer() as service:
        await until(lambda: service.checks()["bus"] is None)
        await mill.grow(60)
        cause = await mill.snapshot()
        assert [("STARTED", cause), ("SUCCEEDED", cause)] == story(await mill.until_runs(2))


async def test_the_champion_is_scored_on_the_same_rows(mill):
    """The candidate learns the new concept, the champion that learned the opposite one is bad at it."""
    await mill.grow(120)
    await mill.snapshot()
    async with mill.trainer():
        first = (await mill.until_runs(2))[1]
        await mill.deploy(first["artifact_sha256"])
        await mill.grow(200, sign=-1.0)
        await mill.ask("drifted")
        second = (await mill.until_runs(4))[3]
    assert (1, 20) == (second["champion_version"], second["champion_metrics"]["rows"])
    assert second["champion_metrics"]["accuracy"] < 0.4
    assert second["metrics"]["accuracy"] > 0.7


async def test_a_mark_bounds_the_window(mill):
    """A request's mark is the end of the ranges, though more rows have come since."""
    await mill.grow(300)
    await mill.ask("r", mark=400)
    async with mill.trainer():
        started = (await mill.until_runs(2))[0]
    (part,) = started["ranges"]
    assert (400, 100) == (part["until_offset"], started["train_rows"] + started["holdout_rows"])


async def test_a_failing_fit_ends_its_run_and_the_next_one_works(mill):
    """A FAILED event with the reason and an alert in the same transaction; then the next request is served."""
    await mill.grow(120)
    fits = iter([FitError("no luck")])

    async def fit(task):
        for error in fits:
            raise error
        return await fit_inline(task)

    await mill.ask("one")
    async with mill.trainer(fit):
        assert "no luck" == (await mill.until_runs(2))[1]["error"]
        await mill.ask("two")
        runs = await mill.until_runs(4)
    assert [("STARTED", "one"), ("FAILED", "one"), ("STARTED", "two"), ("SUCCEEDED", "two")] == story(runs)
    (alert,) = await mill.world.values(topics.ALERTS)
    assert ("training-failed", runs[1]["run_id"]) == (alert["reason"], alert["subject"])


async def test_a_full_artefact_store_fails_the_run_only(mill, tmp_path):
    """The store's folder is a file: FAILED, an alert, and the service is still there."""
    (tmp_path / "artifacts").write_text("in the way")
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer(store_tries=3) as service:
        failed = (await mill.until_runs(2))[1]
        assert ("FAILED", None) == (failed["status"], service.checks()["bus"])
    assert "artifacts" in failed["error"]


async def test_a_store_that_is_away_for_a_while_fails_no_run(mill):
    """Each call that it does not answer is repeated; the run ends as if nothing had been."""
    await mill.grow(120)
    await mill.ask("one")
    silences = iter([True, True, False])

    async def in_thread(call, *args):
        if next(silences, False):
            raise ArtifactStoreUnavailableError("no route to host")
        return call(*args)

    async with mill.trainer(in_thread=in_thread):
        assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(await mill.until_runs(2))


@pytest.mark.parametrize("damage", ["missing", "damaged"])
async def test_a_lost_champion_does_not_stop_its_successor(mill, tmp_path, damage):
    """The run names the champion, has no metrics of it, and a check that says why: nothing is claimed."""
    await mill.grow(120)
    digest = mill.artifacts.put(b"champion")
    mill.artifacts.put(b"another")
    (path,) = (tmp_path / "artifacts").rglob(digest)
    path.write_bytes(b"chamber")
    if damage == "missing":
        path.unlink()
    await mill.deploy(digest)
    await mill.ask("one")
    async with mill.trainer():
        ended = (await mill.until_runs(2))[1]
    assert ("SUCCEEDED", 1, {}) == (ended["status"], ended["champion_version"], ended["champion_metrics"])
    (check,) = [check for check in ended["checks"] if not check["passed"]]
    assert "champion-readable" == check["name"]
    assert f"artefact {digest} is {damage}" in check["message"]


async def test_changed_features_give_a_first_model_again(mill, tmp_path):
    """The champion needs other features: the new ones' first rows make a model, compared with nothing, and only once.

    Snapshots count the old rows too; a window with too few new ones starts nothing.
    """
    await mill.grow(120)
    await mill.snapshot()
    async with mill.trainer():
        first = (await mill.until_runs(2))[1]
        await mill.deploy(first["artifact_sha256"])
    features = [{"name": "x", "kind": "value", "field": "x"}, {"name": "last", "kind": "label_lag", "rows": 1}]
    mill.world.project = project_with(tmp_path / "project", features=features)
    await mill.grow(60)
    async with mill.trainer() as service:
        early = await mill.snapshot(labelled_rows=220)  # counts rows of other features, or not yet usable ones
        await until(lambda: service._journal.state.put_off == early)
        await mill.grow(60)
        cause = await mill.snapshot()
        ended = (await mill.until_runs(4))[3]
    assert ("SUCCEEDED", cause, None) == (ended["status"], ended["caused_by"], ended["champion_version"])
    assert mill.world.project.feature_set == ended["feature_set"] != first["feature_set"]


@pytest.mark.parametrize("row", [topics.RETRAIN_REQUESTS, topics.DEPLOYMENTS, topics.TRAINING_RUNS])
async def test_a_control_record_that_is_no_event_is_left_out(mill, row):
    """Others may write to these topics, for ever: an alert says so, once for all restarts, and work goes on."""
    await mill.world.send(row, ("tiny", b'{"retrain":"please"}'))
    await mill.grow(120)
    async with mill.trainer():
        await mill.world.until(topics.ALERTS, 1)
    await mill.ask("one")
    async with mill.trainer() as service:
        await until(lambda: any(run.ended for run in service._journal.state.runs.values()))
    (alert,) = await mill.world.values(topics.ALERTS)
    assert ("unreadable-record", f"{row.suffix} offset 0") == (alert["reason"], alert["subject"])


async def test_a_repeated_request_on_the_same_rows_is_told_so(mill):
    """A second request without new data is answered, and the run succeeds only once."""
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer():
        await mill.until_runs(2)
        await asyncio.sleep(0.002)  # the clock of the log has milliseconds; this request is later than the run
        await mill.ask("two")
        runs = await mill.until_runs(3)
    assert [("STARTED", "one"), ("SUCCEEDED", "one"), ("FAILED", "two")] == story(runs)
    assert "nothing is new" in runs[2]["error"]
    assert runs[2]["run_id"] != runs[0]["run_id"]


async def test_a_run_cut_short_is_repeated_with_the_same_model(mill, tmp_path):
    """Killed in the fit and started again: one SUCCEEDED, the same run id, the bytes of an undisturbed run."""
    await mill.grow(120)
    await mill.ask("one")
    hanging = asyncio.Event()

    async def hang(task):
        hanging.set()
        await asyncio.Event().wait()

    async with mill.trainer(hang):
        await asyncio.wait_for(hanging.wait(), 10)
    assert [("STARTED", "one")] == story(await mill.runs())
    async with mill.trainer(child):
        runs = await mill.until_runs(2)
    other = await Mill.create(mill.world.project, tmp_path / "other")
    await other.grow(120)
    await other.ask("else")
    async with other.trainer():
        undisturbed = (await other.until_runs(2))[1]
    assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(runs)
    keys = ("run_id", "artifact_sha256", "metrics")
    assert [undisturbed[key] for key in keys] == [runs[1][key] for key in keys]


async def test_killed_between_artefact_and_event_succeeds_once(mill):
    """The artefact is there, the event is not: the repeated run puts the same artefact and says so once."""
    await mill.grow(120)
    await mill.ask("one")
    kept: list[str] = []
    reached = asyncio.Event()

    async def stop_after_put(call, *args):
        kept.append(call(*args))
        if len(kept) == 3:  # golden records and the run's record, then the model
            reached.set()
            await asyncio.Event().wait()
        return kept[-1]

    async with mill.trainer(in_thread=stop_after_put):
        await asyncio.wait_for(reached.wait(), 10)
    async with mill.trainer(child):
        runs = await mill.until_runs(2)
    assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(runs)
    assert (kept[0], kept[2]) == (runs[1]["golden_sha256"], runs[1]["artifact_sha256"])


@pytest.mark.parametrize("fault", get_args(CommitFault))
@pytest.mark.parametrize("nth", [1, 2])
async def test_an_unclear_commit_is_settled_by_the_log(mill, fault, nth):
    """Whether the transaction of the beginning or of the end happened or not, each event is there once."""
    await mill.grow(120)
    await mill.ask("one")
    commits = itertools.count(1)
    hit: list[str] = []

    def fault_of(owner):
        if owner != "millrace.trainer.tiny" or next(commits) != nth:
            return None
        hit.append(owner)
        return fault

    mill.world.log.commit_fault = fault_of
    async with mill.trainer():
        runs = await mill.until_runs(2)
    assert 1 == len(hit)
    assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(runs)


async def test_two_trainers_say_nothing_twice(mill):
    """Both do the fit of an open run; the one that is second finds the end in the log and drops its own."""
    await mill.grow(120)
    await mill.ask("one")
    gate, waiting = asyncio.Event(), []

    async def fit(task):
        waiting.append(task)
        await gate.wait()
        return await fit_inline(task)

    async with mill.trainer(fit) as first:
        await mill.until_runs(1)
        async with mill.trainer(fit) as second:
            await until(lambda: len(waiting) == 2)
            gate.set()
            await until(lambda: all(one._journal.state.open_run is None for one in (first, second)))
            assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(await mill.runs())


async def test_a_changed_project_ends_the_open_run(mill, tmp_path):
    """The code that the run was started with is gone, so the run cannot be repeated; it fails with that reason."""
    await mill.grow(120)
    await mill.ask("one")
    hanging = asyncio.Event()

    async def hang(task):
        hanging.set()
        await asyncio.Event().wait()

    async with mill.trainer(hang):
        await asyncio.wait_for(hanging.wait(), 10)
    mill.world.project = project_with(tmp_path / "project", training={"seed": 5})
    async with mill.trainer():
        assert "changed while the run was open" in (await mill.until_runs(2))[1]["error"]


async def test_a_pipeline_that_cannot_be_compiled_is_named_by_readiness(tmp_path):
    """The check says which file and why; the run fails instead of the service."""
    mill = await Mill.create(project_with(tmp_path / "project", "def build(:\n"), tmp_path)
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer() as service:
        assert "SyntaxError" in (await mill.until_runs(2))[1]["error"]
        assert "pipeline.py cannot be compiled" in service.checks()["project"]
