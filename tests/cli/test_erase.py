"""``millrace erase``: what is found, the order of the steps, the evidence, and that it can be run again."""

import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import OutRecord, Record, TopicPartition
from millrace.cli.erase import Parts, _refuse_naming, carry_out, command, open_keys, personal_fields, plan
from millrace.cli.erase_show import Erased, Plan, report, show_end, show_plan
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, ProjectError
from millrace.contracts.project import load_project
from millrace.contracts.topics import DAY_MS
from millrace.stores.lake import Lake
from millrace.stores.pepper import SubjectKeysError, pepper_of
from millrace.stores.subject_keys import SubjectKeys
from services.ingest.pseudonyms import pseudonym
from tests.cli.lineage_world import label, part, run, sample, say, snapshot, version
from tests.conftest import Broker
from tests.stores.lake_rows import DAILY, rows, span
from tests.support import EPOCH_MS, EVENT, World, tiny_project

ADA = "Ada Lovelace"
REASON = "asked in writing"
NOW_MS = EPOCH_MS + 10 * DAY_MS
PLACES = ["begun", "removed", "destroyed", "done", "finished"]
MARKED = [{**field, **({"personal": "subject"} if field["name"] == "who" else {})} for field in EVENT["fields"]]


@dataclass(slots=True)
class Scene:
    """Ada and Bob on a memory log, in a real lake, with real keys."""

    world: World
    keys: SubjectKeys
    lake: Lake
    ada: str
    bob: str

    @property
    def parts(self) -> Parts:
        """As the command has them."""
        world = self.world
        codec = Codec(world.schemas)
        return Parts(world.project, personal_fields(world.project), world.transport(), codec, self.keys, self.lake)

    async def audits(self) -> list[dict[str, Any]]:
        """The evidence, with what was found read back."""
        audits = await self.world.values(topics.AUDIT_EVENTS)
        return [{**one, "reason": json.loads(one["reason"])} for one in audits]

    def in_lake(self) -> list[str]:
        """Whose rows the lake's newest version has."""
        names: list[str] = self.lake.read([span(0, 0, 6)], columns=["entity"]).column("entity").to_pylist()
        return names


def private_project(folder: Path, **changes: Any) -> Path:
    """A project whose entity is a person."""
    tiny_project(folder, **changes)
    (folder / "event.avsc").write_text(json.dumps({**EVENT, "fields": MARKED}))
    return folder


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Samples 0 to 5: Ada's are 1 and 3; a snapshot and a run with them, and ones without; clear records upstream."""
    world = await World.create(load_project(private_project(tmp_path / "project")))
    keys = SubjectKeys(f"sqlite:///{tmp_path / 'subject-keys.db'}", b"p" * 32, "tiny")
    made = keys.keys_for([ADA, "Bob"], EPOCH_MS)
    ada, bob = (pseudonym(made[name], "who", name) for name in (ADA, "Bob"))
    who = [bob, ada, bob, ada, bob, bob]
    log = [sample(n, entity=name) if n != 3 else label(1, entity=name) for n, name in enumerate(who)]
    await say(world, topics.SAMPLES, *log)
    await say(world, topics.DATA_SNAPSHOTS, snapshot("before", 1), snapshot("with", 4))
    ended = (run("run-with", part(0, 3)), run("run-after", part(4, 6)), run("run-failed", part(3, 4), status="FAILED"),
             run("run-vetoed", part(0, 3), excluded=(part(1, 2),)))  # fmt: skip
    await say(world, topics.TRAINING_RUNS, run("run-with", part(0, 3), status="STARTED"), *ended)
    words = (version(1, "run-with", "REGISTERED"), version(1, "run-with"), version(2, "run-after"))
    await say(world, topics.MODEL_VERSIONS, *words, version(1, "run-with", "RETIRED"), version(None, "x", "REJECTED"))
    lake = Lake(tmp_path / "lake", "tiny", DAILY)
    table = rows(0, range(6))
    lake.append(table.set_column(table.schema.get_field_index("entity"), "entity", [who]), 0, 0, 6)
    yield Scene(world, keys, lake, ada, bob)
    keys.close()


async def upstream(world: World) -> None:
    """Two events and a label of Ada's in the clear, others of Bob's, and dead letters: hers, his, nobody's."""
    hers, his = await world.event(who=ADA), await world.event(who="Bob")
    await world.send(topics.EVENTS, hers, his, hers)
    await world.send(topics.LABELS, await world.label("e", "yes", EPOCH_MS, who=ADA))
    letters = [("tiny-events", hers[1], b"k"), ("tiny-events", his[1], b"k"), ("tiny-events", b"x", None),
               ("tiny-labels", b"x", ADA.encode()), ("tiny-events", b"x", ADA.encode())]  # fmt: skip
    producer = await world.transport().producer("test.letters")
    await producer.commit([letter(*one) for one in letters])


def letter(topic: str, value: bytes, key: bytes | None) -> OutRecord:
    """A record that was refused."""
    record = Record(topic, 0, 0, EPOCH_MS, key, value)
    return dead_letter("tiny-dead-letters", record, stage="S", reason="r", message="m", error_class="E")


async def erase(scene: Scene, reached: Callable[[str], None] = lambda _place: None) -> tuple[Plan, list[Erased]]:
    """The whole of it, as the command does it."""
    found = await plan(scene.parts, ADA)
    return found, await carry_out(scene.parts, ADA, found, "op", REASON, NOW_MS, reached)


async def test_everything_about_the_person_is_found(scene: Scene) -> None:
    """Rows on the log and in the lake, the snapshots and runs that cover them, the versions that came of these."""
    (target,) = (await plan(scene.parts, ADA)).targets

    found = target.found
    assert scene.ada == found.pseudonym
    assert [(0, 2, 1, 3)] == [(one.partition, one.rows, one.first_offset, one.last_offset) for one in found.samples]
    assert found.samples == found.lake
    assert ("with",) == found.snapshots
    trained = [(one.run_id, one.status, one.version, one.version_status) for one in found.trained]
    assert [("run-with", "SUCCEEDED", 1, "RETIRED"), ("run-failed", "FAILED", None, None)] == trained


async def test_what_retention_took_from_the_log_is_found_in_the_lake(scene: Scene) -> None:
    """The run that was trained on it is named all the same."""
    scene.world.log.delete_before(TopicPartition("tiny-samples", 0), 4)

    (target,) = (await plan(scene.parts, ADA)).targets

    assert () == target.found.samples
    assert ["run-with", "run-failed"] == [one.run_id for one in target.found.trained]


async def test_a_plan_changes_nothing(scene: Scene) -> None:
    """It can be looked at and left."""
    before = scene.keys.lives(ADA)

    await plan(scene.parts, ADA)

    assert before == scene.keys.lives(ADA)
    assert 2 == scene.in_lake().count(scene.ada)
    assert [] == await scene.audits()


async def test_an_erasure_destroys_removes_and_leaves_evidence(scene: Scene) -> None:
    """The key is gone, so are the rows; Bob is untouched; the evidence names the pseudonym and no person."""
    _, (erased,) = await erase(scene)

    assert (2, NOW_MS) == (erased.lake_rows_removed, erased.key_destroyed_at_ms)
    assert [(None, NOW_MS, None)] == [(one.key, one.destroyed_at_ms, one.pseudonym) for one in scene.keys.lives(ADA)]
    assert [scene.bob] * 4 == scene.in_lake()
    assert scene.keys.lives("Bob")[0].key is not None
    begun, done = await scene.audits()
    assert [f"erase/tiny/{scene.ada}/begun", f"erase/tiny/{scene.ada}/done"] == [begun["audit_id"], done["audit_id"]]
    assert ("erase-subject", scene.ada, "op", begun["audit_id"]) == (
        done["action"], done["subject"], done["actor"], done["caused_by"],
    )  # fmt: skip
    assert ("done", REASON, 2, NOW_MS) == tuple(
        done["reason"][name] for name in ("phase", "reason", "lake_rows_removed", "key_destroyed_at_ms")
    )
    assert ["with"] == done["reason"]["found"]["snapshots"] == begun["reason"]["found"]["snapshots"]
    assert "Lovelace" not in json.dumps([begun, done])


async def test_once_more_says_since_when(scene: Scene) -> None:
    """Nothing is done a second time."""
    await erase(scene)

    found, again = await erase(scene)

    assert [] == again
    assert ("already-erased", NOW_MS) == (report(found, again)["status"], report(found, again)["erased_at_ms"])
    assert 2 == len(await scene.audits())


async def test_nobody_is_unknown(scene: Scene) -> None:
    """Whoever never came is not said to have been erased."""
    found = await plan(scene.parts, "Nobody")

    assert ("unknown", None) == (report(found, [])["status"], report(found, [])["erased_at_ms"])


class KilledError(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("place", PLACES)
async def test_killed_anywhere_it_can_be_run_again(scene: Scene, place: str) -> None:
    """The end is the same, and the evidence is there once, whatever the first run had done."""

    def die(reached: str) -> None:
        if reached == place:
            raise KilledError

    with pytest.raises(KilledError):
        await erase(scene, die)
    await erase(scene)

    assert [(None, NOW_MS, None)] == [(one.key, one.destroyed_at_ms, one.pseudonym) for one in scene.keys.lives(ADA)]
    assert [scene.bob] * 4 == scene.in_lake()
    assert ["begun", "done"] == [one["reason"]["phase"] for one in await scene.audits()]
    assert [scene.ada] * 2 == [one["subject"] for one in await scene.audits()]


async def test_whoever_came_again_meanwhile_is_erased_too(scene: Scene) -> None:
    """An unfinished erasure and a new life: both are brought to an end, under their own pseudonyms."""

    def die(reached: str) -> None:
        if reached == "destroyed":
            raise KilledError

    with pytest.raises(KilledError):
        await erase(scene, die)
    new = pseudonym(scene.keys.keys_for([ADA], NOW_MS)[ADA], "who", ADA)

    _, erased = await erase(scene)

    assert [scene.ada, new] == [one.found.pseudonym for one in erased]
    assert [None, None] == [one.key for one in scene.keys.lives(ADA)]
    assert 4 == len(await scene.audits())


@pytest.mark.parametrize("faults", [["lost"], ["unanswered"], ["lost", "unanswered"]])
async def test_evidence_is_written_once_however_commits_end(
    scene: Scene, faults: list[Literal["lost", "unanswered"]]
) -> None:
    """After a commit without a clear answer the log decides whether to write again."""
    found = await plan(scene.parts, ADA)
    for fault in faults:
        scene.world.log.fail_next_commit(fault)

    await carry_out(scene.parts, ADA, found, "op", REASON, NOW_MS)

    assert ["begun", "done"] == [one["reason"]["phase"] for one in await scene.audits()]


async def test_without_evidence_nothing_is_destroyed(scene: Scene) -> None:
    """A log that never answers stops it at the first step."""
    found = await plan(scene.parts, ADA)
    for _ in range(3):
        scene.world.log.fail_next_commit("lost")

    with pytest.raises(BusError, match="begun could not be written"):
        await carry_out(scene.parts, ADA, found, "op", REASON, NOW_MS)

    assert scene.keys.lives(ADA)[0].key is not None
    assert 2 == scene.in_lake().count(scene.ada)


async def test_what_upstream_wrote_is_named_until_it_expires(scene: Scene) -> None:
    """Events, labels by their key, dead letters with the original bytes; what cannot be attributed is counted."""
    await upstream(scene.world)

    left = {one.topic: (one.records, one.unreadable) for one in (await plan(scene.parts, ADA)).remains}
    expires = {one.topic: one.expires_at_ms for one in (await plan(scene.parts, ADA)).remains}

    assert {"tiny-events": (2, 0), "tiny-labels": (1, 0), "tiny-dead-letters": (3, 1)} == left
    newest_ms = max(one.timestamp_ms for one in await scene.world.records(topics.EVENTS))
    assert newest_ms + topics.EVENTS.retention_ms == expires["tiny-events"]


async def test_people_see_what_was_found_and_done(scene: Scene) -> None:
    """Tables before, sentences after; and it says when upstream's records are gone."""
    await upstream(scene.world)
    console = Console(width=120, record=True, file=io.StringIO())

    found, erased = await erase(scene)
    show_plan(console, found)
    show_end(console, found, erased)
    show_end(console, await plan(scene.parts, ADA), [])
    show_end(console, await plan(scene.parts, "Nobody"), [])

    said = " ".join(console.export_text().split())
    assert f"pseudonym {scene.ada}" in said
    assert "partition 0: 2, offsets 1 to 3" in said
    assert "tiny run-with SUCCEEDED" in said
    assert f"erased {scene.ada}: key destroyed 2020-09-23 12:26:40Z, 2 rows removed from" in said
    assert "tiny-events: 2 records name the person until" in said
    assert "tiny-dead-letters: 1 records could not be attributed" in said
    assert "already erased, since 2020-09-23 12:26:40Z" in said
    assert "nobody of that name ever had a key here" in said
    assert "Lovelace" not in said


def test_a_stream_without_marks_has_nobody(tmp_path: Path) -> None:
    """The message says what to mark."""
    project = tiny_project(tmp_path)

    with pytest.raises(ProjectError, match=r"event\.avsc marks no field as personal"):
        personal_fields(project)


def test_an_empty_key_store_is_not_made(tmp_path: Path) -> None:
    """It would say of everybody that they are unknown."""
    project = load_project(private_project(tmp_path / "project"))

    with pytest.raises(SubjectKeysError, match="there is no pepper file"):
        open_keys(project, tmp_path, None, None)
    pepper_of(None, tmp_path / "subject-keys.pepper")
    with pytest.raises(SubjectKeysError, match="there is no key store"):
        open_keys(project, tmp_path, None, None)

    assert not (tmp_path / "subject-keys.db").exists()


@pytest.mark.parametrize(
    ("subject", "reason", "words"),
    [("", "r", "it is empty"), ("\udc80", "r", "not UTF-8"), ("Ada", "ada asked", "it names the person")],
)
def test_subject_and_reason_are_checked(subject: str, reason: str, words: str) -> None:
    """The audit log is kept for ever, so the reason must not say who it was."""
    with pytest.raises(click.BadParameter, match=words):
        _refuse_naming(subject, reason)


def test_json_cannot_ask(tmp_path: Path) -> None:
    """A program has to say yes beforehand."""
    answer = CliRunner().invoke(command, [str(tmp_path), ADA, "--json"])

    assert 2 == answer.exit_code
    assert "give --yes too" in answer.output


@pytest.mark.broker
def test_the_command_on_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """Asked first, then done, then already done; the name comes from standard input."""
    from millrace.cli.prepare import command as prepare

    folder = private_project(tmp_path / "project", stream="erased", model="erased")
    store = SubjectKeys(
        f"sqlite:///{tmp_path / 'subject-keys.db'}", pepper_of(None, tmp_path / "subject-keys.pepper"), "erased"
    )
    store.keys_for([ADA], EPOCH_MS)
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    CliRunner().invoke(prepare, [str(folder), *at], catch_exceptions=False)
    words = [str(folder), "-", *at, "--data", str(tmp_path)]

    no = CliRunner().invoke(command, words, input=f"{ADA}\n", catch_exceptions=False)
    kept = store.lives(ADA)[0].key
    yes = CliRunner().invoke(command, [*words, "--yes", "--json"], input=f"{ADA}\n", catch_exceptions=False)
    again = CliRunner().invoke(command, [*words, "--yes"], input=f"{ADA}\n", catch_exceptions=False)

    assert 1 == no.exit_code
    assert kept is not None
    assert "erased" == json.loads(yes.stdout)["status"]
    assert store.lives(ADA)[0].key is None
    assert "already erased, since" in again.output
    store.close()
