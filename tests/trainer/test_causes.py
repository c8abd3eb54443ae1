"""Runs that begin by themselves: new rows, the time, a changed project; and the budget of the day."""

import asyncio

from millrace.contracts import topics
from services.trainer.fitter import fit_inline
from tests.trainer.mill import Mill, project_with, story, until


async def serving(tmp_path, **triggers):
    """A stream whose first model is trained and serves."""
    mill = await Mill.create(project_with(tmp_path / "project", training={"triggers": triggers}), tmp_path)
    await mill.grow(120)
    await mill.snapshot()
    async with mill.trainer():
        first = (await mill.until_runs(2))[1]
    await mill.deploy(first["artifact_sha256"])
    return mill


async def test_enough_new_rows_cause_a_run_and_that_run_no_other(tmp_path):
    """The snapshot that has them is the cause; another one with too few new rows causes nothing."""
    mill = await serving(tmp_path, new_rows=50)
    async with mill.trainer() as service:
        await mill.grow(50)
        cause = await mill.snapshot()
        started, ended = (await mill.until_runs(4))[2:]
        await mill.grow(49)
        await mill.snapshot()
        await until(lambda: service._journal.state.current(mill.world.project.feature_set)[1] == 219)
    assert [("STARTED", cause), ("SUCCEEDED", cause)] == story([started, ended])
    assert ("SCHEDULE", 4) == (started["trigger"], len(await mill.runs()))
    assert started["because"].startswith("50 new labelled rows since run-")


async def test_time_causes_a_run_without_any_news(tmp_path):
    """The trainer wakes by itself when the schedule is due, once for each period that has new rows."""
    mill = await serving(tmp_path, every_s=0.5)
    await mill.grow(20)
    await mill.snapshot()
    async with mill.trainer():
        started, ended = (await mill.until_runs(4))[2:]
    assert (True, "SUCCEEDED") == (started["caused_by"].startswith("schedule/tiny/"), ended["status"])


async def test_a_changed_project_is_trained_once(tmp_path):
    """At the start after the change; a restart after that changes nothing."""
    mill = await serving(tmp_path, project_changed=True)
    mill.world.project = project_with(tmp_path / "project", training={"triggers": {"project_changed": True}, "seed": 5})
    async with mill.trainer():
        started = (await mill.until_runs(4))[2]
    assert ("OPERATOR", f"project/{mill.world.project.code_hash}") == (started["trigger"], started["caused_by"])
    async with mill.trainer() as service:
        await until(lambda: service.checks()["bus"] is None)
        await mill.ask("later")
        assert "later" == (await mill.until_runs(5))[4]["caused_by"]


async def test_a_cause_over_the_budget_is_told_once_and_waits(tmp_path):
    """One alert for the day, however often the trainer looks or starts; a person's request is run at once."""
    mill = await serving(tmp_path, runs_per_day=1)
    await mill.grow(50)
    await mill.ask("drifted")
    for _ in range(2):
        async with mill.trainer() as service:
            await mill.world.until(topics.ALERTS, 1)
            await mill.snapshot()
            await until(lambda: service._journal.state.requests.keys() == {"drifted"})
    (alert,) = await mill.world.values(topics.ALERTS)
    assert ("training-budget", "tiny") == (alert["reason"], alert["subject"])
    assert 2 == len(await mill.runs())
    async with mill.trainer():
        await asyncio.sleep(0.002)  # later than the request before, by the clock of the log
        await mill.ask("please", reason="OPERATOR", message="we know why")
        runs = await mill.until_runs(4)
    assert [("STARTED", "please"), ("SUCCEEDED", "please")] == story(runs[2:])
    assert "we know why" == runs[3]["because"]


async def test_the_first_model_says_why_it_was_trained(tmp_path):
    """Every run says what caused it, and where it was fitted."""
    mill = await serving(tmp_path)
    _, ended = await mill.runs()
    assert "120 labelled rows and no model of these features yet; the first one needs 100" == ended["because"]
    assert ("trained", "local", "pipeline", "last:80") == (
        ended["source"], ended["backend"], ended["family"], ended["window"],
    )  # fmt: skip
    assert {"majority", "last-label", "linear"} == ended["baselines"].keys()


async def test_who_finds_itself_fenced_drops_what_another_has_said(tmp_path):
    """Two trainers end the same run; the slower one is fenced in the middle of its end, and goes on as if silent."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    await mill.grow(120)
    await mill.ask("one")
    gates = [asyncio.Event(), asyncio.Event()]
    begun = []

    async def fit(task):
        gate = gates[len(begun)]
        begun.append(task)
        await gate.wait()
        return await fit_inline(task)

    async with mill.trainer(fit) as first:
        await until(lambda: len(begun) == 1)
        async with mill.trainer(fit) as second:
            await until(lambda: len(begun) == 2)
            gates[1].set()
            await until(lambda: second._journal.state.open_run is None)
            first._journal.refresh = _nothing_once(first._journal)
            gates[0].set()
            await until(lambda: first._journal.state.open_run is None)
    assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(await mill.runs())


def _nothing_once(journal):
    """Let the first look at the log find nothing, as if the other had written just after it."""
    refresh = journal.refresh

    async def once():
        journal.refresh = refresh

    return once
