"""``millrace runs export --mlflow``: a real MLflow server shows the run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.cli.runs_export import bring
from millrace.cli.runs_mlflow import Mlflow, MlflowError
from millrace.local.ports import PortBook
from millrace.runs.fold import Runs
from millrace.runs.mlflow import exported
from millrace.runs.record import files_of
from services.trainer.train.record import make_record
from tests.cli.mlflow_server import Server, mlflow_server
from tests.runs.made import BEGAN_MS, began, decided, event, progressed, succeeded
from tests.trainer.search.made import BUILDS, searching, signs
from tests.trainer.test_record import made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The record of a run with a search."""
    task = replace(signs(search=searching("logistic", "tree", trials=4)), run_id="run-a")
    return dict(files_of(make_record(task, *made(task, BUILDS))))


@pytest.mark.slow
@pytest.mark.matrix
def test_a_real_server_has_the_run_with_all_that_belongs_to_it(server: Server, files: dict[str, bytes]) -> None:
    """Read back through its own API: name, status, times, tags, parameters, metrics with their history, files."""
    run = Runs([began(), progressed(1, loss=3.0), progressed(2, loss=1.0), succeeded(), decided()]).find("run-a")
    sent = bring(run, files, server.url)

    (found,) = server.runs("tiny")
    info, data = found["info"], found["data"]
    assert sent["created"]
    assert (sent["run_id"], "run-a", "FINISHED") == (info["run_id"], info["run_name"], info["status"])
    assert (BEGAN_MS, BEGAN_MS + 10_000) == (int(info["start_time"]), int(info["end_time"]))
    tags = {one["key"]: one["value"] for one in data["tags"]}
    assert ("run-a", "2", "retrain-1", "f", "b" * 64) == tuple(
        tags[f"millrace.{name}"] for name in ("run_id", "version", "caused_by", "feature_set", "rows_sha256")
    )
    params = {one["key"]: one["value"] for one in data["params"]}
    assert {"family": "tree", "depth": "3", "kind": "gini", "seed": "7", "window": "last:60"} == params
    metrics = {one["key"]: one["value"] for one in data["metrics"]}
    assert (0.875, 0.75) == (metrics["accuracy"], metrics["champion_accuracy"])
    assert [(0, 3.0), (1, 1.0)] == server.history(info["run_id"], "progress/fitting/loss")
    steps = [int(line.split(b",")[0]) for line in files["history.csv"].splitlines()[1:]]
    assert steps == [step for step, _ in server.history(info["run_id"], "train_loss")]
    assert {name: len(content) for name, content in files.items()} == server.files(info["run_id"])
    assert files["loss.svg"] == server.ask("/get-artifact", run_id=info["run_id"], path="loss.svg")


@pytest.mark.slow
@pytest.mark.matrix
def test_exporting_again_changes_nothing_and_brings_what_is_new(server: Server, files: dict[str, bytes]) -> None:
    """A run under way is exported, ends, and is exported twice: one run, each point once, no file twice."""
    runs = Runs([began("run-b"), progressed(1, run_id="run-b", loss=3.0)])
    first = bring(runs.find("run-b"), {}, server.url)
    runs.add(succeeded("run-b"))
    second, third = (bring(runs.find("run-b"), files, server.url) for _ in range(2))

    assert [True, False, False] == [one["created"] for one in (first, second, third)]
    assert 1 == len({one["run_id"] for one in (first, second, third)})
    assert 0 == third["metrics"]
    (found,) = [one for one in server.runs("tiny") if one["info"]["run_name"] == "run-b"]
    assert "FINISHED" == found["info"]["status"]
    for key in {one["key"] for one in found["data"]["metrics"]}:
        points = server.history(first["run_id"], key)
        assert len(set(points)) == len(points), key
    assert set(files) == set(server.files(first["run_id"]))


@pytest.mark.slow
@pytest.mark.matrix
def test_a_failed_run_is_there_with_its_reason(server: Server) -> None:
    """And with no files, since it has no record."""
    run = Runs([event("run-f", "FAILED", error="out of memory")]).find("run-f")
    sent = bring(run, {}, server.url)

    (found,) = [one for one in server.runs("tiny") if one["info"]["run_name"] == "run-f"]
    assert "FAILED" == found["info"]["status"]
    assert "out of memory" in {one["value"] for one in found["data"]["tags"]}
    assert 0 == sent["files"]


@pytest.mark.slow
@pytest.mark.matrix
def test_a_deleted_experiment_is_named(server: Server) -> None:
    """What to do is in the message; MLflow's own is about a state."""
    run = Runs([event("run-d", "FAILED", model="gone", error="no")]).find("run-d")
    sent = bring(run, {}, server.url)
    server.ask("/api/2.0/mlflow/experiments/delete", {"experiment_id": sent["experiment_id"]})

    with pytest.raises(MlflowError, match="'gone' was deleted"):
        bring(run, {}, server.url)


def test_what_is_no_tracking_server_is_told_so(tmp_path: Path) -> None:
    """An address without a scheme, and one where nobody answers."""
    port = PortBook(tmp_path / "ports.json").choose(["nobody"])["nobody"]
    run = exported(Runs([succeeded()]).find("run-a"), {})

    for uri in ("sqlite:///mlflow.db", "here", "http://"):
        with pytest.raises(MlflowError, match="no tracking server's address"):
            Mlflow(uri)
    with pytest.raises(MlflowError, match="does not answer as MLflow does"):
        Mlflow(f"http://user:secret@127.0.0.1:{port}/").send(run)


def test_a_server_that_does_not_pass_artefacts_on_is_told_so() -> None:
    """MLflow's own client would write to the store itself, by rights that we lack; without files nothing is lost."""
    server = Mlflow("http://127.0.0.1:1")

    with pytest.raises(MlflowError, match="start it with --artifacts-destination"):
        server._upload("s3://bucket/1/run/artifacts", {"run.json": b"{}"})
    assert 0 == server._upload("s3://bucket/1/run/artifacts", {})
