"""The sender and the reader on the memory bus, and the schemas that the demo changes."""

from collections import Counter
from pathlib import Path

import pytest

from millrace.bus.memory import CommitFault
from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.codec import Codec, schema_id_of
from millrace.contracts.errors import IncompatibleSchemaError, ProjectError
from millrace.contracts.project import Project
from millrace.contracts.topics import subject
from millrace.demo.dataset import DatasetFile
from millrace.demo_data.inject import Plan, clean
from millrace.demo_data.ledger import fates, lost
from millrace.demo_data.project import derive, dropped, incompatible
from millrace.demo_data.read import Reader
from millrace.demo_data.send import UNKNOWN_ID, Sender
from millrace.demo_data.story import Pace
from services.ingest.shell import IngestService
from tests.demo_data.scene import row
from tests.support import World, running, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
PLAN = Plan.of(20, 1_020)


async def world_of(folder: Path) -> World:
    """The demo's project on the memory bus, with the schema that lacks a field registered too."""
    return await World.create(derive(EXAMPLE, folder / "project"))


async def sender_of(world: World) -> Sender:
    """A sender that can write everything."""
    codec, changed = Codec(world.schemas), Codec(world.schemas)
    await codec.prepare(world.project, topics.EVENTS, topics.LABELS)
    await changed.prepare_topic(world.topic(topics.EVENTS), dropped(world.project.event_schema))
    return Sender(world.transport(), codec, changed, world.project, world.clock)


async def test_the_project_is_the_example_with_room_for_faults(tmp_path: Path) -> None:
    """Its file stays where it is; what training must catch is not declared."""
    project: Project = derive(EXAMPLE, tmp_path / "project")
    ranges = {rule.field: rule.required for rule in project.expectations if rule.slug == "out-of-range"}

    assert project.dataset is not None
    assert str(EXAMPLE / "electricity.csv.gz") == project.dataset.file
    assert {"period": True, "nswprice": True, "vicprice": True, "vicdemand": False} == ranges
    assert ["not-unique"] == [rule.slug for rule in project.expectations if rule.slug != "out-of-range"]
    assert Pace().first_rows >= project.training.first_rows


async def test_one_schema_is_refused_and_the_other_taken(tmp_path: Path) -> None:
    """What old records do not fit is refused in words; a dropped field with a default is taken."""
    world = await world_of(tmp_path)
    events, schema = world.topic(topics.EVENTS), world.project.event_schema

    with pytest.raises(IncompatibleSchemaError, match="nswprice"):
        await world.schemas.register(subject(events), incompatible(schema))
    assert await world.schemas.register(subject(events), dropped(schema)) > 0


async def test_what_is_sent_stands_on_the_topics(tmp_path: Path) -> None:
    """In order, each event with its label; dropped fields and unknown ids as the plan says."""
    world = await world_of(tmp_path)
    sender = await sender_of(world)
    sent = list(PLAN.sendings(row(number) for number in range(20, 1_020)))
    await sender.send(iter(sent), rate=0)
    events, labels = await world.records(topics.EVENTS), await world.values(topics.LABELS)
    ids = Counter(schema_id_of(record.value) for record in events)

    assert [one.value for one in events] == [one.value for one in sender.sent]
    assert [one.event_id for one in sent] == [label["event_id"] for label in labels]
    assert (3, {3, 31, 970}) == (ids[UNKNOWN_ID], set(ids.values()))
    assert {"unit_change": 31, "new_category": 21, "missing_burst": 18, "duplicated_hour": 4, "schema_change": 34} == (
        sender.bad
    )


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_an_unclear_commit_is_neither_lost_nor_doubled(tmp_path: Path, fault: CommitFault) -> None:
    """Whether or not the transaction happened, each event stands on the topic once."""
    world = await world_of(tmp_path)
    sender = await sender_of(world)
    await sender.send(map(clean, map(row, range(700))), rate=0)
    world.log.fail_next_commit(fault)
    await sender.send(map(clean, map(row, range(700, 1_400))), rate=0)

    assert [one.value for one in sender.sent] == [one.value for one in await world.records(topics.EVENTS)]
    assert 1_400 == sender.labels == len(await world.records(topics.LABELS))


async def test_every_event_is_followed_to_its_end(tmp_path: Path) -> None:
    """Ingest without a model catches what is declared, and what cannot be read; the rest is found as samples."""
    world = await world_of(tmp_path)
    sender, file = await sender_of(world), DatasetFile(world.project)
    await sender.send(PLAN.sendings(file.slice(20, 1_020)), rate=0)
    reader = Reader(world.transport(), Codec(world.schemas), world.project)
    told = reader.new()

    async def ended() -> list[object]:
        nonlocal told
        told = await reader.read_all()
        return [*told.admitted, *told.refused] if told.labels_joined + len(told.labels_refused) == told.labels else []

    context = world.context("ingest")
    service = IngestService(context, max_records=5_000, trace_share=0, in_thread=inline)
    async with running(context, service):
        await until(ended, len(sender.sent))
    found = fates(sender.sent, told)

    assert {"duplicate-event": 2, "not-unique": 2, "unknown-schema": 3} == Counter(
        one.caught_by for one in found if one.caught_by
    )
    assert 0 == lost(found)
    assert {"duplicate-label": 2, "label-without-event": 5} == Counter(
        letter.reason for letter in told.labels_refused.values()
    )
    assert (0, 1_004) == (sum(one.is_scored for one in found), told.labels)


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        (Pace(first_rows=4_999), "4999 rows before the faults"),
        (Pace(stop=13_999), "only 13999 rows are sent"),
        (Pace(fault_rows=40_000), "the faults end at row 46000"),
    ],
)
def test_sizes_that_cannot_work_are_refused(tmp_path: Path, pace: Pace, words: str) -> None:
    """Before anything is started, with the numbers seen."""
    project = derive(EXAMPLE, tmp_path / "project")

    with pytest.raises(ProjectError, match=words):
        pace.check(project, DatasetFile(project))
