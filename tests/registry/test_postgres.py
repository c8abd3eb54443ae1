"""The projection on a real PostgreSQL, where one is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.events import ServingStatusReported
from millrace.stores.artifacts import ArtifactStore
from services.registry.feed import Feed
from services.registry.projection import MovedError, Projection
from tests.registry.lives import append_all, client, following, whole_life
from tests.registry.runs import append, make_run, ready, registry, until, until_decided
from tests.registry.test_projection import TOPICS, content
from tests.support import World, tiny_project


def programs():
    """The folder of PostgreSQL's programs, or None."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("pg_ctl")
    return next((place for place in [*places, *([Path(on_path).parent] if on_path else [])]
                 if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)  # fmt: skip


def as_owner(*words):
    """The command, run by a user that PostgreSQL accepts: it refuses root."""
    if os.geteuid() != 0:
        return list(words)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *words]


def can_change_user():
    """Whether root can become the postgres user here."""
    if os.geteuid() != 0:
        return True
    return (
        bool(shutil.which("setpriv"))
        and not subprocess.run(as_owner("true"), check=False, capture_output=True).returncode
    )


@pytest.fixture(scope="module")
def server():
    """The URL of a server of our own, in a folder that is removed afterwards."""
    place = programs()
    if place is None:
        pytest.skip("PostgreSQL is not installed: neither pg_ctl on the path nor /usr/lib/postgresql/*/bin")
    if not can_change_user():
        pytest.skip("PostgreSQL refuses root, and this root cannot become the user postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has a limit of 107 bytes
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"

    def run(program, *options):
        """Run one of PostgreSQL's programs to its end; a server that it starts must not inherit a pipe."""
        words = as_owner(place / program, "-D", data, *options)
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

    run("initdb", "-U", "millrace", "-A", "trust", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        run("pg_ctl", "-w", "-t", "30", "-l", folder / "log", "-o", options, "start")
        yield f"postgresql://millrace@127.0.0.1:{port}/postgres"
        run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server):
    """The server's URL, with nothing of ours in it."""
    projection = Projection(server)
    projection.clear()
    projection.close()
    return server


async def test_a_model_lives_and_is_rebuilt_equal_on_postgresql(url, tmp_path):
    """The same service, another database: two versions, then the tables lost and rebuilt from the log."""
    world = await World.create(tiny_project(tmp_path / "project"))
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    odd = make_run("run-3", against=2, artifact_sha256=digest, metrics={"accuracy": float("nan")}, error="a\0b")
    async with registry(world, tmp_path, database_url=url) as service:
        for count, run in enumerate([make_run(artifact_sha256=digest),
                                     make_run("run-2", against=1, artifact_sha256=digest), odd]):  # fmt: skip
            await append(world, topics.TRAINING_RUNS, run)
            await until_decided(world, count + 1)
        await until(lambda: len(content(service._projection)["version_changes"]) == 8)
        await until(lambda: len(content(service._projection)["runs"]) == 3)
        await until(lambda: len(content(service._projection)["deployments"]) == 2)
        before = content(service._projection)
    projection = Projection(url)
    projection.clear()
    projection.close()
    async with registry(world, tmp_path, database_url=url) as service:
        await ready(service)
        after = content(service._projection)

    assert before == after
    assert not (tmp_path / "registry.db").exists()


def test_two_processes_on_postgresql_apply_each_event_once(url):
    """The position is moved only from where the writer believes it to be."""
    first, second = Projection(url), Projection(url)
    first.open(TOPICS)
    second.open(TOPICS)
    first.apply("training-runs", 0, 1, [(0, make_run())])
    with pytest.raises(MovedError):
        second.apply("training-runs", 0, 1, [(0, make_run())])

    assert 1 == len(content(second)["runs"])
    first.close()
    second.close()


def test_numbers_of_64_bits_and_odd_text_are_kept(url):
    """Offsets, times and seeds are 64 bits wide; a NUL, which PostgreSQL refuses, does not stop the projection."""
    projection = Projection(url)
    projection.open(TOPICS)
    projection.apply("training-runs", 0, 2**62, [(2**61, make_run(seed=2**63 - 1, error="a\0b"))])
    projection.apply("serving-status", 0, 1, [(0, ServingStatusReported(
        model="tiny", process="p", partition=0, epoch=2**62, version=1, status="FAILED", from_offset=2**62,
        reason="\0", reported_at_ms=2**62))])  # fmt: skip
    found = content(projection)

    assert 2**62 == projection.open(TOPICS)["training-runs"]
    assert str(2**63 - 1) in found["runs"][0]
    assert "a\N{REPLACEMENT CHARACTER}b" in found["runs"][0]
    assert 1 == len(found["serving"])
    projection.close()


async def test_a_whole_life_is_told_on_postgresql_as_on_sqlite(url, tmp_path):
    """Rollouts, approvals, refusals, pages, card and stream: the same answers from both databases."""
    world = await World.create(tiny_project(tmp_path / "project"))
    await append_all(world, whole_life().log)
    paths = ("", "/history", "/versions?limit=2", "/versions/2", "/versions/2/card", "/deployments?limit=3",
             "/audit?limit=4", "/rollouts", "/champion")  # fmt: skip
    answers = []
    for database in (url, f"sqlite:///{tmp_path / 'registry.db'}"):
        async with (
            following(world, database) as (projection, follower),
            client(world, projection, follower) as http,
        ):
            found = [await http.get(f"/v1/models/tiny{path}") for path in paths]
            feed = Feed(projection, inline, follower.news)
            stream = feed.stream("tiny", await feed.place(None, live=False))
            told = [await anext(stream) for _ in range(20)]
            await stream.aclose()
        answers.append(([(one.status_code, one.text) for one in found], told))

    assert answers[0] == answers[1]
    assert {200} == {status for status, _ in answers[0][0]}
