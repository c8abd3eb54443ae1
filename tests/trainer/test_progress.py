"""How far a run is: told while it works, never too often, never after its end, and never at its cost."""

import asyncio
import itertools
from operator import itemgetter

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import RunProgress
from services.trainer import progress as told
from services.trainer.answer import Limits
from services.trainer.dask_fitter import Backends
from services.trainer.fitter import ChildFitter, fit_inline
from services.trainer.journal import Journal
from services.trainer.progress import Progress
from tests.trainer.mill import BOOSTING, Mill, project_with, story
from tests.trainer.test_core import run


def at(stage, step, **values):
    """How far it is."""
    return RunProgress(stage=stage, step=step, steps=100, message=f"{stage} {step}", values=values)


class Talker:
    """Fits inline, and says what it is told to say while it does."""

    def __init__(self, talk):
        self.talk, self.report = talk, None

    def reporting(self, report):
        """The same, telling ``report``."""
        self.report = report
        return self

    async def __call__(self, task):
        """Talk, then fit."""
        await self.talk(self.report)
        return await fit_inline(task)


async def steps_of(mill):
    """Stage and step of what was told."""
    return [(run["progress"]["stage"], run["progress"]["step"]) for run in await mill.progress()]


async def test_a_run_tells_how_far_it_is_and_ends_as_ever(tmp_path):
    """Each stage at once; of a hundred steps within a second the newest; the run's own events are as without it."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    await mill.grow(120)

    async def talk(report):
        for step in range(100):
            report(at("searching", step, train_loss=0.5, odd=float("nan")))
        await mill.world.until(topics.TRAINING_RUNS, 2)
        for step in range(100):
            report(at("fitting", step))
            report(at("searching", step))
        await mill.world.until(topics.TRAINING_RUNS, 4)
        report(at("fitting", 100))

    await mill.ask("one")
    async with mill.trainer(Talker(talk)):
        runs = await mill.until_runs(2)
    assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(runs)
    assert [("searching", 99), ("fitting", 99), ("searching", 99)] == await steps_of(mill)
    first = (await mill.progress())[0]
    assert ({"train_loss": 0.5}, runs[0]["run_id"]) == (first["progress"]["values"], first["run_id"])


async def test_no_more_than_one_a_second(tmp_path, monkeypatch):
    """With the second made short: no more events than seconds have passed, each later than the one before."""
    monkeypatch.setattr(told, "EVERY_S", 0.2)
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    await mill.grow(120)
    took = []

    async def talk(report):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for step in itertools.count(1):
            report(at("fitting", step))
            if len(await mill.progress()) >= 4:
                break
            await asyncio.sleep(0.005)
        took.append(loop.time() - began)

    await mill.ask("one")
    async with mill.trainer(Talker(talk)):
        await mill.until_runs(2)
    assert took[0] >= 3 * 0.2
    steps = [step for _, step in await steps_of(mill)]
    assert steps == sorted(set(steps))


async def test_progress_that_cannot_be_written_fails_nothing(tmp_path):
    """A commit of it is refused: a log line, and the run ends well."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    await mill.grow(120)
    commits, hit = itertools.count(1), asyncio.Event()

    def fault_of(owner):
        if owner != "millrace.trainer.tiny" or next(commits) != 2:
            return None
        hit.set()
        return "lost"

    async def talk(report):
        report(at("fitting", 1))
        await asyncio.wait_for(hit.wait(), 10)

    mill.world.log.commit_fault = fault_of
    await mill.ask("one")
    async with mill.trainer(Talker(talk)):
        runs = await mill.until_runs(2)
    assert [("STARTED", "one"), ("SUCCEEDED", "one")] == story(runs)


async def test_nothing_is_told_after_the_end(tmp_path):
    """Neither what was waiting when the run ended, nor what a late thread says, nor of a run that another has ended."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    world = mill.world
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.TRAINING_RUNS)
    journal = Journal("tiny", "tiny", world.transport(), codec)
    started = run("STARTED", model="tiny")
    await journal.publish(started)
    async with Progress(journal, world.clock, started) as progress:
        progress.report(at("fitting", 1))
    progress.report(at("fitting", 2))
    await journal.publish(started.model_copy(update={"status": "SUCCEEDED"}))
    assert await journal.mention(started.model_copy(update={"progress": at("fitting", 3)}))
    await journal.close()
    assert [] == await mill.progress()


async def test_a_child_tells_what_it_does_and_what_it_uses(tmp_path):
    """Stages in order, with processor time, memory and wall time in every one of them, and in the result."""
    mill = await Mill.create(project_with(tmp_path, BOOSTING), tmp_path)
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer(ChildFitter(Limits(0, 1))):
        await mill.until_runs(2)
    said = [run["progress"] for run in await mill.progress()]
    stages = list(dict.fromkeys(one["stage"] for one in said))
    assert stages == [stage for stage in ("fitting", "testing") if stage in stages]
    assert stages
    for one in said:
        assert {"cpu_s", "memory_bytes_max", "wall_s", "disk_bytes"} <= one["values"].keys()


async def test_a_run_is_fitted_where_its_backend_says(tmp_path):
    """Locally by the child; a run for a cluster that there is not fails with the way out."""
    folder = tmp_path / "project"
    mill = await Mill.create(project_with(folder, BOOSTING), tmp_path)
    await mill.grow(120)
    fit = Backends(ChildFitter(Limits(0, 1)), None, "tiny")
    await mill.ask("one")
    async with mill.trainer(fit):
        assert ("SUCCEEDED", "local") == itemgetter("status", "backend")((await mill.until_runs(2))[1])
    mill.world.project = project_with(folder, BOOSTING, training={"backend": "dask"})
    await mill.ask("two", reason="OPERATOR")
    async with mill.trainer(fit):
        failed = (await mill.until_runs(4))[3]
    assert ("FAILED", "dask") == itemgetter("status", "backend")(failed)
    assert "MILLRACE_DASK_SCHEDULER" in failed["error"]
