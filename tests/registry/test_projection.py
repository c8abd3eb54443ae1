"""The projection: it equals the log, however often it is lost, damaged, or shared."""

import contextlib
import sqlite3
from functools import reduce

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from structlog.testing import capture_logs

from millrace.contracts import topics
from millrace.contracts.errors import MillraceError
from millrace.contracts.events import (
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_policy import Rollout
from millrace.stores.artifacts import ArtifactStore
from services.registry.core import Policy, State, evolve
from services.registry.follow import FOLLOWED
from services.registry.projection import MovedError, Projection
from services.registry.tables import Audit, Base, Position, Version
from tests.registry.lives import Lived, run, whole_life
from tests.registry.runs import append, make_run, ready, registry, until, until_decided
from tests.support import World, tiny_project

TOPICS = {
    "model-versions": ModelVersionChanged,
    "deployments": DeploymentDecided,
    "training-runs": TrainingRunChanged,
    "serving-status": ServingStatusReported,
}
STATUS = ServingStatusReported(
    model="tiny", process="serving@host", partition=0, epoch=1, version=1, status="SERVING", from_offset=10,
    reason=None, reported_at_ms=5,
)  # fmt: skip


@pytest.fixture
def url(tmp_path):
    """A SQLite file in a folder that does not exist yet."""
    return f"sqlite:///{tmp_path / 'data' / 'registry.db'}"


@pytest.fixture
async def lived(tmp_path):
    """A log with two versions, a rejection and a serving status, and the data folder of the registry that read it."""
    world = await World.create(tiny_project(tmp_path / "project"))
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    async with registry(world, tmp_path) as service:
        await ready(service)
        for count, run in enumerate(
            [
                make_run(artifact_sha256=digest),
                make_run("run-2", against=1, artifact_sha256=digest),
                make_run("run-3", against=1, status="FAILED", error="boom"),
                make_run("run-4", against=1, artifact_sha256=digest),
            ]
        ):
            await append(world, topics.TRAINING_RUNS, run)
            await until_decided(world, min(count + 1, 2) + (count == 3))
        await append(world, topics.SERVING_STATUS, STATUS)
        await until(lambda: len(content(service._projection)["serving"]) == 1)
        await until(lambda: len(content(service._projection)["runs"]) == 4)
        await until(lambda: len(content(service._projection)["version_changes"]) == 8)
        await until(lambda: len(content(service._projection)["deployments"]) == 2)
    return world, tmp_path, content(service._projection)


def content(projection):
    """Every row of every table."""
    with projection.session() as session:
        return {
            table.name: sorted(map(repr, session.connection().execute(select(table)).all()))
            for table in Base.metadata.sorted_tables
        }


async def rebuilt(world, folder, **changes):
    """What a registry makes of the log with the files in this folder."""
    async with registry(world, folder, **changes) as service:
        await ready(service)
        return content(service._projection)


async def test_a_restart_goes_on_from_the_position(lived):
    """What was applied is not applied again, and the tables are as they were."""
    world, folder, before = lived

    assert before == await rebuilt(world, folder)


async def test_a_lost_database_is_rebuilt_equal(lived):
    """The file is gone: the log says everything again."""
    world, folder, before = lived
    (folder / "registry.db").unlink()

    assert before == await rebuilt(world, folder)


@pytest.mark.parametrize("damage", ["garbage", "cut short", "hole", "not a database"])
async def test_a_damaged_database_is_moved_aside_and_rebuilt_equal(lived, damage):
    """Whatever SQLite finds wrong: the damaged file is kept for whoever wants to look, the log fills a new one."""
    world, folder, before = lived
    file = folder / "registry.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(file.read_bytes())
    match damage:
        case "garbage":
            data[100:] = b"\xa5" * (len(data) - 100)
        case "cut short":
            data = data[: len(data) // 2]
        case "hole":
            data[4096:8192] = bytes(4096)
        case "not a database":
            data = bytearray(b"these are not the bytes you are looking for " * 100)
    file.write_bytes(data)
    with capture_logs() as lines:
        after = await rebuilt(world, folder)

    assert before == after
    assert bytes(data) == (folder / "registry.db.damaged-1").read_bytes()
    assert 1 == sum("moved aside" in line["event"] for line in lines)


async def test_damage_while_running_heals_itself(lived):
    """An error of the database is a failing check, then a rebuilt projection; decisions never stopped."""
    world, folder, before = lived
    async with registry(world, folder) as service:
        await ready(service)
        service._projection.close()
        for suffix in ("-wal", "-shm"):
            (folder / f"registry.db{suffix}").unlink(missing_ok=True)
        (folder / "registry.db").write_bytes(b"x" * 9000)
        await append(world, topics.SERVING_STATUS, STATUS.model_copy(update={"partition": 1}))
        await until((folder / "registry.db.damaged-1").exists)
        await ready(service)
        after = content(service._projection)

    assert 2 == len(after["serving"])
    assert {**before, "serving": 0, "positions": 0} == {**after, "serving": 0, "positions": 0}


async def test_an_older_layout_is_rebuilt_equal(lived):
    """Tables of another layout, or some of them missing, are thrown away: they hold no truth of their own."""
    world, folder, before = lived
    for statement in ("UPDATE millrace_layout SET fingerprint = 'older'", "DROP TABLE deployments"):
        with sqlite3.connect(folder / "registry.db") as connection:
            connection.execute(statement)
        connection.close()

        assert before == await rebuilt(world, folder)


async def test_a_projection_of_another_log_is_rebuilt(lived, tmp_path):
    """Positions beyond the end of the log mean that the log is a new one."""
    _, folder, before = lived
    fresh = await World.create(tiny_project(tmp_path / "again"))
    after = await rebuilt(fresh, folder)

    assert [] == after["versions"] + after["runs"] + after["deployments"]
    assert before["millrace_layout"] == after["millrace_layout"]


async def test_tables_of_somebody_else_are_never_touched(lived):
    """A database with tables of these names that Millrace did not make is refused, with the way out."""
    world, folder, _ = lived
    with sqlite3.connect(folder / "other.db") as connection:
        connection.execute("CREATE TABLE runs (mine TEXT)")
    connection.close()
    async with registry(world, folder, database_url=f"sqlite:///{folder / 'other.db'}") as service:
        await until(service.task.done)

    assert isinstance(service.task.exception(), MillraceError)
    assert "MILLRACE_DATABASE_URL" in str(service.task.exception())


async def test_an_unreadable_record_of_another_model_is_skipped_with_a_log_line(lived):
    """Poison on a shared topic does not blind the questions about this model."""
    world, folder, before = lived
    await world.send(topics.SERVING_STATUS, ("other", b"not avro"))
    with capture_logs() as lines:
        after = await rebuilt(world, folder)

    assert before["serving"] == after["serving"]
    assert ["serving-status"] == [line["topic"] for line in lines if line["event"] == "undecodable control record"]


def test_events_and_position_change_together_or_not_at_all(url):
    """A batch that fails in its last event leaves nothing of itself behind."""
    projection = Projection(url)
    projection.open(TOPICS)
    before = content(projection)
    with pytest.raises(TypeError):
        projection.apply("training-runs", 0, 2, [(0, make_run()), (1, Event())])

    assert before == content(projection)
    projection.close()


def test_two_processes_on_one_database_apply_each_event_once(url):
    """The slower one is told that the position has moved, and changes nothing."""
    first, second = Projection(url), Projection(url)
    first.open(TOPICS)
    second.open(TOPICS)
    first.apply("training-runs", 0, 1, [(0, make_run())])
    with pytest.raises(MovedError):
        second.apply("training-runs", 0, 1, [(0, make_run())])

    assert 1 == second.open(TOPICS)["training-runs"]
    first.close()
    second.close()


def test_an_epoch_that_does_not_grow_is_not_stored(url):
    """A replayed or doubled deployment changes nothing, as in the core."""
    deployments = [event for event in whole_life().log if isinstance(event, DeploymentDecided)]
    projection = Projection(url)
    projection.open(TOPICS)
    second = [(0, deployments[1]), (1, deployments[0]), (2, deployments[1].model_copy(update={"reason": "again"}))]
    projection.apply("deployments", 0, 3, second)

    assert 1 == len(content(projection)["deployments"])
    assert "again" not in content(projection)["deployments"][0]
    projection.close()


def test_the_journal_of_a_damaged_file_goes_with_it(url, tmp_path):
    """Another process may hold a write-ahead log; it must not be applied to the new file."""
    file = tmp_path / "data" / "registry.db"
    projection = Projection(url)
    projection.open(TOPICS)
    projection.close()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("INSERT INTO millrace_layout VALUES ('journal')")
        other.commit()
        data = file.read_bytes()
        file.write_bytes(data[:8192] + b"\xa5" * (len(data) - 8192))
        projection.open(TOPICS)
        moved = {path.name for path in file.parent.iterdir() if "damaged" in path.name}
        layouts = content(projection)["millrace_layout"]
        projection.close()

    assert {"registry.db.damaged-1", "registry.db.damaged-1-shm", "registry.db.damaged-1-wal"} == moved
    assert 1 == len(layouts)


def test_a_succeeded_run_stays_succeeded(url):
    """What a redelivered earlier state says of a run comes too late."""
    projection = Projection(url)
    projection.open(TOPICS)
    states = [make_run(status=status) for status in ("STARTED", "FAILED", "SUCCEEDED", "STARTED", "FAILED")]
    projection.apply("training-runs", 0, 5, list(enumerate(states)))

    assert ["SUCCEEDED"] == [row.split(", ")[3].strip("'") for row in content(projection)["runs"]]
    projection.close()


ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["approve", "reject", "promote", "rollback", "retire"]), st.integers(1, 3)),
    st.tuples(st.sampled_from(["abort", "freeze", "unfreeze", "kill"]), st.none()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=12), doubled=st.integers(0, 90), replayed=st.integers(0, 90))
def test_the_tables_say_what_the_core_says(tmp_path_factory, actions, doubled, replayed):
    """One rule in two places: also with repeated and stale events in the log, tables and fold agree."""
    lived = Lived(Policy(Gates(first=0.6), Rollout(strategy="canary")))
    for place, (verb, number) in enumerate(actions):
        if verb == "run":
            lived.happens(run(number, lived.state.champion))
        else:
            lived.asks(verb, number, request_id=f"request/{place}")
    log = list(lived.log)
    if log:
        log.insert(doubled % len(log) + 1, log[doubled % len(log)])
        log.append(log[replayed % len(log)])
    state = reduce(evolve, log, State("tiny"))
    projection = Projection(f"sqlite:///{tmp_path_factory.mktemp('db') / 'registry.db'}")
    projection.open([row.suffix for row in FOLLOWED])
    for row, kind in FOLLOWED.items():
        events = list(enumerate(event for event in log if isinstance(event, kind)))
        projection.apply(row.suffix, 0, len(events), events)
    with projection.session() as session:
        found = {row.version: (row.status, row.space) for row in session.scalars(select(Version))}
        positions = {row.topic: row.next_offset for row in session.scalars(select(Position))}
        answered = {row.caused_by for row in session.scalars(select(Audit)) if row.caused_by}
    epochs = sorted(int(row.split(", ")[1]) for row in content(projection)["deployments"])
    projection.close()

    assert {number: (version.status, version.space) for number, version in state.versions.items()} == found
    assert sum(isinstance(event, ModelVersionChanged) for event in log) == positions["model-versions"]
    assert list(range(1, state.epoch + 1)) == epochs
    assert state.answered == answered
