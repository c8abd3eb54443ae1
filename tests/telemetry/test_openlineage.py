"""OpenLineage: what is told, where to, and that nobody waits for it or fails of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde

from millrace.contracts.events import TrainingRunChanged
from millrace.telemetry import openlineage
from millrace.telemetry.openlineage import Lineage, Places, Target
from millrace.telemetry.openlineage_events import deployment, run_id, snapshot, training
from tests.cli.lineage_world import deployment as decided
from tests.cli.lineage_world import part, run
from tests.cli.lineage_world import snapshot as taken

PLACES = Places(bus="kafka://broker:9092", lake="s3://bucket/lake")
NAMES = ("x", "x_change")
PATIENCE_S = 30.0


class Server(ThreadingHTTPServer):
    """A lineage server that keeps what it is told, and answers as it is asked to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status = 201
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = threading.Event()

    @property
    def url(self) -> str:
        """The whole address of the endpoint."""
        return f"http://127.0.0.1:{self.server_port}/api/v1/lineage"


class Handler(BaseHTTPRequestHandler):
    """Takes events."""

    def do_POST(self) -> None:  # the library's name
        """Keep the event."""
        server: Server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.asked.set()
        server.go_on.wait(PATIENCE_S)
        server.told.append((self.path, self.headers["Authorization"], body))
        self.send_response(server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A real HTTP server on a free port."""
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.go_on.set()
        made.shutdown()
        thread.join()


def said(event: RunEvent) -> dict[str, Any]:
    """The event as it is sent."""
    found: dict[str, Any] = json.loads(Serde.to_json(event))
    return found


def ended(**changes: Any) -> TrainingRunChanged:
    """A run over two partitions that succeeded."""
    values = {"artifact_bytes": 99, "metrics": {"accuracy": 0.9, "log_loss": float("nan")}, "table_version": 4}
    return run("run-a", part(0, 7), part(3, 9, partition=1), **{**values, **changes})


@pytest.mark.parametrize(("status", "state"), [("STARTED", "START"), ("SUCCEEDED", "COMPLETE"), ("FAILED", "FAIL")])
def test_a_run_is_told_with_its_data_and_code(status: str, state: str) -> None:
    """Inputs are versions of the samples and of the table; the job has the hashes; the run is always the same one."""
    (event,) = map(said, training(ended(status=status, error="too bad"), NAMES, PLACES))

    assert (state, run_id("run", "run-a")) == (event["eventType"], event["run"]["runId"])
    assert ("millrace", "tiny.train") == (event["job"]["namespace"], event["job"]["name"])
    code = event["job"]["facets"]["millrace_code"]
    assert ("code", "f", "config", "lock") == tuple(
        code[key] for key in ("codeHash", "featureSet", "configHash", "lockHash")
    )
    versions = [(one["namespace"], one["name"], one["facets"]["version"]["datasetVersion"]) for one in event["inputs"]]
    assert [("kafka://broker:9092", "tiny-samples", "0:0-7,1:3-9"), ("s3://bucket", "lake/tiny", "4")] == versions
    fields = [field["name"] for field in event["inputs"][0]["facets"]["schema"]["fields"]]
    assert ["label", "x", "x_change"] == fields[-3:]
    assert {"accuracy": 0.9} == event["run"]["facets"]["millrace_training"]["metrics"]
    assert (status == "FAILED") == ("errorMessage" in event["run"]["facets"])


def test_a_model_is_the_run_s_output_and_the_deployment_s_input() -> None:
    """Under one name and version, so that a lineage server draws one line from the rows to the predictions."""
    (made,) = map(said, training(ended(), NAMES, PLACES))
    begun, complete = map(said, deployment(decided(3, 2), PLACES))

    (model,), (used,) = made["outputs"], begun["inputs"]
    assert ("millrace", "models/tiny") == (model["namespace"], model["name"]) == (used["namespace"], used["name"])
    assert "a" * 64 == model["facets"]["version"]["datasetVersion"] == used["facets"]["version"]["datasetVersion"]
    assert (2, "champion", 1.0) == tuple(
        used["facets"]["millrace_model"][key] for key in ("version", "variant", "share")
    )
    assert ["tiny-predictions"] == [one["name"] for one in complete["outputs"]]
    assert ("START", "COMPLETE") == (begun["eventType"], complete["eventType"])


@pytest.mark.parametrize(("lake", "version", "outputs"), [("/lake", 4, 1), (None, 4, 0), ("/lake", None, 0)])
def test_a_snapshot_is_told_with_its_table(lake: str | None, version: int | None, outputs: int) -> None:
    """Where there is a lake."""
    events = [*map(said, snapshot(taken("snap-1", 7, table_version=version), NAMES, Places(lake=lake)))]

    assert ["START", "COMPLETE"] == [event["eventType"] for event in events]
    assert [outputs] * 2 == [len(event["outputs"]) for event in events]
    assert all(one["name"] == "/lake/tiny" for event in events for one in event["outputs"])


@pytest.mark.parametrize(
    "events",
    [training(ended(), NAMES, PLACES), snapshot(taken("s", 7), NAMES, PLACES), deployment(decided(1, 1), PLACES)],
)
def test_events_have_what_the_specification_requires(events: list[RunEvent]) -> None:
    """Every event, dataset and facet; names as the specification writes them, and JSON that any reader takes."""
    for event in events:
        found = json.loads(json.dumps(said(event), allow_nan=False))
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= set(found)
        assert found["schemaURL"].endswith("OpenLineage.json#/$defs/RunEvent")
        datasets = [*found["inputs"], *found["outputs"]]
        assert all(one["namespace"] and one["name"] for one in [*datasets, found["job"]])
        kinds = ("facets", "inputFacets", "outputFacets")
        holders = [found["run"], found["job"], *datasets]
        facets = [facet for one in holders for kind in kinds for facet in one.get(kind, {}).values()]
        assert all({"_producer", "_schemaURL"} <= set(facet) for facet in facets)


def test_events_reach_a_server_and_a_file(server: Server, tmp_path: Path) -> None:
    """In order, with the key; whatever the environment says."""
    counted: list[str] = []
    lineage = Lineage(Target(server.url, tmp_path / "lineage.jsonl", "secret"), PLACES, counted.append)

    lineage.training(ended(status="STARTED"), NAMES)
    lineage.snapshot(taken("snap-1", 7), NAMES)
    lineage.deployment(decided(1, 1))
    lineage.close(PATIENCE_S)

    lines = [json.loads(line) for line in (tmp_path / "lineage.jsonl").read_text().splitlines()]
    assert [event for _, _, event in server.told] == lines
    assert {("/api/v1/lineage", "Bearer secret")} == {(path, key) for path, key, _ in server.told}
    assert ["tiny.train", *["tiny.snapshot"] * 2, *["tiny.deploy"] * 2] == [one["job"]["name"] for one in lines]
    assert ["told"] * 3 == counted


def test_the_environment_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the library's variables and files nor a proxy changes where events go."""
    dead = "http://127.0.0.1:9"
    for name in ("OPENLINEAGE_URL", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, dead)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "console")
    (tmp_path / "openlineage.yml").write_text("transport: {type: console}")
    monkeypatch.chdir(tmp_path)
    lineage = Lineage(Target(server.url))

    lineage.training(ended(), NAMES)
    lineage.close(PATIENCE_S)

    assert 1 == len(server.told)


def test_nothing_is_started_without_a_place() -> None:
    """Off is off: no thread, nothing counted."""
    counted: list[str] = []
    lineage = Lineage(Target(), PLACES, counted.append)

    lineage.training(ended(), NAMES)
    lineage.close()

    assert (None, []) == (lineage._thread, counted)


def test_a_server_that_refuses_is_said_once_and_every_loss_counted(server: Server) -> None:
    """The service goes on, and the log is not filled."""
    counted: list[str] = []
    lineage = Lineage(Target(server.url), PLACES, counted.append)
    server.status = 400

    with structlog.testing.capture_logs() as lines:
        lineage.training(ended(), NAMES)
        lineage.training(ended(), NAMES)
        lineage.training(ended(), [object()])  # not even an event can be made of it
        lineage.close(PATIENCE_S)

    assert ["lost"] * 3 == counted
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert "400" in line["reason"]


def test_a_server_that_is_well_again_is_told_on(server: Server) -> None:
    """Only what failed is lost."""
    counted: list[str] = []
    answered = threading.Semaphore(0)

    def count(outcome: str) -> None:
        counted.append(outcome)
        answered.release()

    lineage = Lineage(Target(server.url), PLACES, count)
    server.status = 400
    lineage.training(ended(), NAMES)
    assert answered.acquire(timeout=PATIENCE_S)
    server.status = 201
    lineage.training(ended(), NAMES)
    lineage.close(PATIENCE_S)

    assert ["lost", "told"] == counted


def test_a_server_that_hangs_holds_nobody_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded, what is too much is counted at once, and closing ends in time."""
    monkeypatch.setattr(openlineage, "WAITING_MAX", 2)
    counted: list[str] = []
    lineage = Lineage(Target(server.url), PLACES, counted.append)
    server.go_on.clear()
    lineage.training(ended(), NAMES)
    assert server.asked.wait(PATIENCE_S)

    for _ in range(5):
        lineage.training(ended(), NAMES)
    lost_at_once = counted.count("lost")
    lineage.close(0.01)

    assert 3 == lost_at_once
    assert 6 == counted.count("lost")
    server.go_on.set()
    lineage._thread.join(PATIENCE_S)
    assert 6 == len(counted)


def test_a_file_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    """Its folder does not exist."""
    counted: list[str] = []
    lineage = Lineage(Target(file=tmp_path / "none" / "lineage.jsonl"), PLACES, counted.append)

    lineage.deployment(decided(1, 1))
    lineage.close(PATIENCE_S)

    assert ["lost"] == counted
