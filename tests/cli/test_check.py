"""``millrace check``: what it finds, and that the owner's code cannot break it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from millrace.cli.check import command, examine
from millrace.cli.check_pipeline import synthetic_rows, try_pipeline
from millrace.contracts.project import load_project
from tests.support import MODEL, tiny_project


def run(folder: Path, *options: str) -> Result:
    """Check the folder."""
    return CliRunner().invoke(command, [str(folder), *options])


def test_a_sound_project_is_explained(tmp_path: Path) -> None:
    """Exit status 0, each feature in words, and the pipeline tried."""
    tiny_project(tmp_path)

    result = run(tmp_path)

    assert 0 == result.exit_code, result.output
    assert all(words in result.output for words in ("x minus itself 1 row ago", "the newest known label", "sound"))


@pytest.mark.parametrize(
    ("monitors", "words"),
    [
        ({"error": {"detector": "adwin", "parameters": {"detla": 0.1}}}, "detla"),
        ({"watch": [{"on": "features", "detector": "ddm"}]}, "monitors.watch"),
    ],
)
def test_a_detector_that_the_monitor_would_refuse_is_named(tmp_path: Path, monitors: Any, words: str) -> None:
    """Before anything runs: a parameter that it has not, a subject that it cannot watch."""
    tiny_project(tmp_path, monitors=monitors)

    result = run(tmp_path)

    assert 1 == result.exit_code
    assert words in result.output


def test_json_holds_everything(tmp_path: Path) -> None:
    """One object on standard output, whatever the pipeline prints."""
    tiny_project(tmp_path)
    (tmp_path / "pipeline.py").write_text("print('{')\n" + (tmp_path / "pipeline.py").read_text())

    report = json.loads(run(tmp_path, "--json").output)

    assert report["ok"], report
    assert [spec["name"] for spec in MODEL["features"]] == [feature["name"] for feature in report["features"]]
    assert ["model.yaml", "event.avsc", "pipeline"] == [finding["name"] for finding in report["findings"]]
    assert "tiny-events" in report["topics"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("model.yaml", "stream: [", "cannot be parsed"),
        ("model.yaml", "stream: tiny", "is not accepted"),
        ("event.avsc", "{", "cannot be parsed"),
        ("pipeline.py", None, "is missing"),
    ],
)
def test_a_project_that_cannot_be_read_is_named(tmp_path: Path, file: str, text: str | None, said: str) -> None:
    """Exit status 1, and the message names the file."""
    tiny_project(tmp_path)
    path = tmp_path / file
    path.unlink() if text is None else path.write_text(text)

    result = run(tmp_path)

    assert 1 == result.exit_code
    assert said in result.output
    assert file in result.output


def test_an_event_schema_that_is_no_avro_is_refused(tmp_path: Path) -> None:
    """A field that no feature uses counts too: ingest could not read a single event."""
    tiny_project(tmp_path)
    schema = json.loads((tmp_path / "event.avsc").read_text())
    schema["fields"].append({"name": "note", "type": "text"})
    (tmp_path / "event.avsc").write_text(json.dumps(schema))

    result = run(tmp_path)

    assert 1 == result.exit_code
    assert "not a valid Avro schema" in result.output


def test_a_dataset_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Otherwise publish would be the first to say so."""
    tiny_project(tmp_path, dataset={"file": "gone.csv", "label_column": "y"})

    result = run(tmp_path)

    assert 1 == result.exit_code
    assert "gone.csv is missing" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(3)", "status 3"),
        ("import os, sys\nsys.stderr.write('far away')\nos.abort()", "far away"),
    ],
)
def test_a_pipeline_that_exits_or_crashes_breaks_only_itself(tmp_path: Path, text: str, said: str) -> None:
    """The command lives, and says what happened."""
    tiny_project(tmp_path)
    (tmp_path / "pipeline.py").write_text(text)

    result = run(tmp_path)

    assert 1 == result.exit_code
    assert said in " ".join(result.output.split())


def test_a_pipeline_that_hangs_is_stopped(tmp_path: Path) -> None:
    """After the time that a training run may take."""
    tiny_project(tmp_path, training={"timeout_s": 1})
    (tmp_path / "pipeline.py").write_text("while True:\n    pass")

    report = examine(tmp_path, start_up_s=0)

    assert "pipeline.py:build did not end within 1 s (training.timeout_s)" == report.findings[-1].message


NAIVE = "from sklearn.linear_model import {0}\ndef build(seed):\n    return {0}()"
OWN = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
class Own(ClassifierMixin, BaseEstimator):
    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self
    def predict(self, x):
        return np.zeros(len(x), dtype=int)
    def predict_proba(self, x):
        return np.tile([1.0, 0.0], (len(x), 1))
def build(seed):
    return Own()
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "no_such_module"),
        ("def make(seed): ...", "has no function 'build'"),
        ("def build(seed):\n    raise RuntimeError('my own words')", "my own words"),
        (NAIVE.format("Ridge"), "a classifier with predict_proba is needed"),
        (NAIVE.format("LogisticRegression"), "These features can be missing: x_change, last"),
        (OWN, "Own"),
    ],
)
def test_a_pipeline_that_cannot_be_trained_is_explained(tmp_path: Path, text: str, said: str) -> None:
    """The owner reads what the trainer would say, before there is a trainer."""
    project = tiny_project(tmp_path)
    (tmp_path / "pipeline.py").write_text(text)

    found = try_pipeline(project)

    assert said in str(found["error"])


@pytest.mark.parametrize(
    ("build", "space", "said"),
    [
        ("pipeline.py:build", {}, None),
        ("pipeline.py:treez", {}, "has no function 'treez'"),
        ("nofile.py:trees", {}, "nofile.py"),
        ("pipeline.py:build", {"lrr": [1]}, "lrr"),
    ],
)
def test_each_family_of_the_search_is_tried(
    tmp_path: Path, build: str, space: dict[str, Any], said: str | None
) -> None:
    """At one point of its space, so that a typing error does not wait for the first run."""
    tiny_project(tmp_path)
    family = {"name": "trees", "build": build, "space": space}
    config: dict[str, Any] = {**MODEL, "training": {**MODEL["training"], "search": {"families": [family]}}}
    (tmp_path / "model.yaml").write_text(json.dumps(config))

    found = try_pipeline(load_project(tmp_path))

    if said is None:
        assert "so do the families trees" in found["message"]
    else:
        assert "training.search.families: trees" in found["error"]
        assert said in found["error"]


def test_a_regression_is_tried_too(tmp_path: Path) -> None:
    """Made-up labels are numbers then."""
    tiny_project(tmp_path)
    label, gates = {"task": "regression", "delay_s": 1}, {"metric": "mae", "first": 1}
    config: dict[str, Any] = {**MODEL, "label": label, "gates": gates}
    (tmp_path / "model.yaml").write_text(json.dumps(config))
    (tmp_path / "pipeline.py").write_text(
        NAIVE.format("HistGradientBoostingRegressor").replace("linear_model", "ensemble")
    )

    found = try_pipeline(load_project(tmp_path))

    assert found["error"] is None, found


def test_made_up_rows_keep_to_the_expectations(tmp_path: Path) -> None:
    """Values lie in the declared range, both classes occur, and only what can be missing is."""
    project = tiny_project(tmp_path, expectations=[{"field": "x", "min": 3, "max": 4}])

    rows = synthetic_rows(project, 200)

    assert [0, 1, 1] == [int(column) for column in (rows.x != rows.x).sum(axis=0)]
    assert (3.0, 4.0) == (rows.x[:, 0].min().round(), rows.x[:, 0].max().round())
    assert {0.0: 100, 1.0: 100} == {label: int((rows.y == label).sum()) for label in (0.0, 1.0)}
