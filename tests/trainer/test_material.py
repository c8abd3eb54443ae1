"""What a fit is made of: the owner's files, rows from the log and from memory, and the groups of the rows."""

import asyncio

import pytest

from millrace.bus.tasks import inline
from millrace.bus.types import TopicPartition
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import OffsetGoneError
from services.trainer import reader as reading
from services.trainer.asking import PatientStore
from services.trainer.fitter import fit_inline
from services.trainer.material import UNREADABLE_GROUP, Material, Wanted
from services.trainer.reader import SamplesReader
from services.trainer.sources import Sources, code_hash, policy_of
from services.trainer.train.window import Row, Window
from tests.support import PIPELINE, World
from tests.trainer.mill import Mill, project_with, until
from tests.trainer.test_core import run

FAMILY = {"families": [{"name": "other", "build": "other.py:build"}, {"name": "same", "build": "pipeline.py:build"}]}


def searching(folder, text=PIPELINE):
    """A project with a family in a file of its own."""
    project_with(folder)
    if text is not None:
        (folder / "other.py").write_text(text)
    return project_with(folder, training={"search": FAMILY})


def test_families_are_part_of_the_code(tmp_path):
    """Their files are read at the start and hashed; one in the pipeline's own file adds nothing."""
    project = searching(tmp_path)
    sources = Sources.read(project)
    assert (["other", "same"], None) == (list(sources.families), sources.fault)
    assert sources.pipeline == sources.families["same"]
    before = policy_of(project, sources).code_hash
    (tmp_path / "other.py").write_text(PIPELINE + "\n")
    assert before != code_hash(project, Sources.read(project))
    assert before == code_hash(project, sources)
    plain = project_with(tmp_path / "plain")
    assert plain.code_hash == code_hash(plain, Sources.read(plain))


@pytest.mark.parametrize(
    ("text", "error"), [(None, "other.py cannot be read"), ("def (", "other.py cannot be compiled")]
)
def test_a_family_that_cannot_be_loaded_is_named_by_readiness(tmp_path, text, error):
    """As the pipeline is."""
    assert error in Sources.read(searching(tmp_path, text)).fault


def same(window):
    """What tells two windows apart, missing values aside: these are not equal to themselves."""
    return window.ranges, window.sha256, [row.offset for row in window.rows]


class Counting:
    """Counts the records that are read through a transport."""

    def __init__(self, transport):
        self.transport, self.count = transport, 0

    async def bounds(self, topic, partition):
        """As the transport has them."""
        return await self.transport.bounds(topic, partition)

    async def read(self, topic, partition, start, stop):
        """The same records, counted."""
        async for records in self.transport.read(topic, partition, start, stop):
            self.count += len(records)
            yield records


async def test_records_are_read_once(tmp_path, monkeypatch):
    """The next window reads only what is new, and both are what a reader without memory finds."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    world = mill.world
    counting = Counting(world.transport())
    remembering = SamplesReader(world.project, counting, Codec(world.schemas))
    for rows, marks in ((150, {}), (60, {}), (100, {0: 250}), (30, {0: 90}), (500, {})):
        await mill.grow(50)
        fresh = SamplesReader(world.project, world.transport(), Codec(world.schemas))
        assert same(await fresh.newest(rows, marks)) == same(await remembering.newest(rows, marks))
    assert 2 * 50 * 5 == counting.count
    window = await remembering.newest(100, {})
    assert same(window) == same(await remembering.again(window.ranges))
    monkeypatch.setattr(reading, "REMEMBERED", 10)
    await mill.grow(50)
    await remembering.newest(10, {})
    assert 10 == len(remembering._known[0].records)
    assert same(window) == same(await remembering.again(window.ranges))


async def test_what_was_read_before_is_not_taken_for_what_is_gone(tmp_path):
    """A reader that has to go to the log is told that retention has removed the rows."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    await mill.grow(100)
    world = mill.world
    window = await SamplesReader(world.project, world.transport(), Codec(world.schemas)).newest(80, {})
    world.log.delete_before(TopicPartition(world.topic(topics.SAMPLES), 0), 150)
    with pytest.raises(OffsetGoneError):
        await SamplesReader(world.project, world.transport(), Codec(world.schemas)).again(window.ranges)


async def test_groups_are_the_field_that_fairness_names(tmp_path):
    """Of the hold-out rows, as text; an event that cannot be read is a group of its own."""
    fairness = {"field": "who", "metric": "demographic_parity_difference", "max": 0.2}
    world = await World.create(project_with(tmp_path, gates={"fairness": fairness}))
    events = [(await world.event(id=str(at), who="ab"[at % 2]))[1] for at in range(40)]
    rows = [Row(at, 0, at, (0.0, 0.0, 0.0), float(at % 2), event) for at, event in enumerate([*events, b"no event"])]
    codec, project = Codec(world.schemas), world.project
    await codec.prepare(project, topics.EVENTS)
    sources = Sources.read(project)
    material = Material(project, policy_of(project, sources), sources, codec, None, None)
    task = await material.task(run("STARTED"), Window((), tuple(rows)), Wanted())
    assert ((), [*"bababababababababab", UNREADABLE_GROUP]) == (task.train.groups, list(task.holdout.groups))


async def test_a_task_knows_the_drift_the_delay_and_its_study(tmp_path):
    """What the search needs, in the task; a run that was cut short is given the same again."""
    project = project_with(
        tmp_path / "project", training={"window_rows": 100, "search": {"windows": ["last", "since_drift"]}}
    )
    mill = await Mill.create(project, tmp_path)
    await mill.grow(120)
    tasks, reached = [], asyncio.Event()

    async def fit(task):
        tasks.append(task)
        reached.set()
        await asyncio.Event().wait()

    since = (await SamplesReader(project, mill.world.transport(), Codec(mill.world.schemas)).newest(100, {})).rows[30]
    await mill.ask("one", since_time_ms=since.time_ms)
    for _ in range(2):
        reached.clear()
        async with mill.trainer(fit, studies=tmp_path / "studies", in_thread=inline):
            await asyncio.wait_for(reached.wait(), 10)
    (started,) = await mill.runs()
    assert [(30, 1, started["run_id"])] * 2 == [(task.since_drift, task.gap_rows, task.run_id) for task in tasks]
    assert [str(tmp_path / "studies" / started["run_id"] / "trials.log")] * 2 == [task.study for task in tasks]


async def test_what_a_killed_trainer_left_of_a_search_is_removed(tmp_path):
    """At the next start, of runs that have ended; of others, which may be another model's, nothing is."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer():
        ended = (await mill.until_runs(2))[1]
    for name in (ended["run_id"], "run-of-another"):
        (tmp_path / "studies" / name).mkdir(parents=True)
    async with mill.trainer(studies=tmp_path / "studies"):
        await until(lambda: len(list((tmp_path / "studies").iterdir())) == 1)
    assert ["run-of-another"] == [one.name for one in (tmp_path / "studies").iterdir()]


async def test_a_patient_store_puts_and_gets(tmp_path):
    """What it keeps it gives back."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    store = PatientStore(mill.artifacts, inline, 1)
    assert b"x" == await store.get(await store.put(b"x"))


async def test_a_veto_while_the_run_is_open_ends_it(tmp_path):
    """Rows that are found bad during the fit give no model, and the run says which."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    await mill.grow(120)

    async def fit(task):
        await mill.veto(100, 150)
        return await fit_inline(task)

    await mill.ask("one")
    async with mill.trainer(fit):
        failed = (await mill.until_runs(2))[1]
    assert "offsets 100 to 150, were found bad while the run was open" in failed["error"]
