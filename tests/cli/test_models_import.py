"""``millrace models import``: what it reads, and what it says of the outcome."""

import json

import pyarrow as pa
import pytest
import yaml
from pyarrow import csv, parquet

from millrace.cli.models_import import ImportModelError, decision, read_model, read_sample
from millrace.contracts.events import ModelVersionChanged, TrainingRunChanged
from tests.support import tiny_project


def run(status: str, **more: object) -> TrainingRunChanged:
    """The run that the request caused."""
    return TrainingRunChanged(
        run_id="run-1", model="tiny", status=status, trigger="OPERATOR", caused_by="ask-1", ranges=(), feature_set="f",
        code_hash="c", seed=0, train_rows=0, holdout_rows=50, duration_s=0.0, changed_at_ms=0, **more,
    )  # fmt: skip


def change(status: str, version: int | None) -> ModelVersionChanged:
    """The registry's word about it."""
    return ModelVersionChanged(
        change_id=f"c/{status}", model="tiny", version=version, status=status, run_id="run-1", artifact_sha256=None,
        feature_set="f", metrics={}, reasons=("because",), caused_by="run-1", changed_at_ms=0,
    )  # fmt: skip


def mlflow_folder(folder, **flavours: object):
    """As MLflow writes it."""
    folder.mkdir()
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavours}))
    (folder / "model.onnx").write_bytes(b"onnx bytes")
    return folder


def test_a_file_is_taken_as_it_is_and_a_folder_by_its_flavour(tmp_path):
    """ONNX and skops files, and the file that MLflow's description names."""
    folder = mlflow_folder(tmp_path / "m", onnx={"data": "model.onnx"}, python_function={})

    assert b"onnx bytes" == read_model(folder / "model.onnx") == read_model(folder)


@pytest.mark.parametrize(
    ("flavours", "words"),
    [
        ({"sklearn": {"pickled_model": "model.pkl"}}, "onnx is needed"),
        ({"onnx": {"data": "../secret"}}, "no file in that folder"),
    ],
)
def test_other_folders_are_refused(tmp_path, flavours, words):
    """A pickle is never read, and nothing outside of the folder."""
    (tmp_path / "secret").write_text("x")

    with pytest.raises(ImportModelError, match=words):
        read_model(mlflow_folder(tmp_path / "m", **flavours))


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_sample_becomes_json_lines_in_the_projects_order(tmp_path, ending):
    """Whatever the order of the columns; more columns do no harm."""
    project = tiny_project(tmp_path / "project")
    names = project.feature_names
    table = pa.table(
        {"label": ["yes", "no"], "more": [1, 2], **{name: [float(at), None] for at, name in enumerate(names)}}
    )
    path = tmp_path / f"sample.{ending}"
    expected = [
        {"features": [float(at) for at in range(len(names))], "label": "yes"},
        {"features": [None] * len(names), "label": "no"},
    ]
    if ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, expected)))
    else:
        {"csv": csv.write_csv, "parquet": parquet.write_table}[ending](table, path)

    assert expected == [json.loads(line) for line in read_sample(path, project).splitlines()]


def test_a_sample_without_a_column_is_refused_by_name(tmp_path):
    """With the columns that there are."""
    csv.write_csv(pa.table({"label": ["yes"]}), tmp_path / "sample.csv")

    with pytest.raises(ImportModelError, match="lacks the columns"):
        read_sample(tmp_path / "sample.csv", tiny_project(tmp_path / "project"))


def test_the_outcome_is_the_one_of_the_requests_own_run():
    """Failed, rejected, admitted, or nothing yet."""
    started = run("STARTED")
    stranger = change("REGISTERED", 7).model_copy(update={"run_id": "run-9"})

    assert "undecided" == decision([started, stranger], "ask-1")["decision"]
    assert "failed" == decision([started, run("FAILED", error="too wide")], "ask-1")["decision"]
    assert "rejected" == decision([started, change("REJECTED", None)], "ask-1")["decision"]
    assert ("admitted", 4) == tuple(
        decision([started, change("REGISTERED", 4)], "ask-1")[key] for key in ("decision", "version")
    )
