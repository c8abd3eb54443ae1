"""``millrace init``: the project that it writes works as it stands."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from millrace.cli.check import examine
from millrace.cli.check_pipeline import fit_task
from millrace.cli.init import SAMPLE, TEMPLATES, command, render, suggested_name
from millrace.cli.sample import DRIFT_ROW, MACHINES, ROWS, sample_csv
from millrace.contracts.project import load_project
from millrace.demo.dataset import DatasetFile
from millrace.features.online import EntityFeatures
from services.ingest.admit import check_expectations
from services.trainer.child import run_task
from services.trainer.train.task import Rows


def test_the_new_project_passes_check(tmp_path: Path) -> None:
    """Folder name, stream and model may be left to the command."""
    folder = tmp_path / "My Pumps"

    result = CliRunner().invoke(command, [str(folder)])

    assert 0 == result.exit_code, result.output
    assert "my-pumps" == load_project(folder).stream == load_project(folder).model
    assert [] == [finding for finding in examine(folder).findings if not finding.ok]
    assert all(f"millrace {step} {folder}" in result.output for step in ("check", "up", "publish"))


def test_names_can_be_given(tmp_path: Path) -> None:
    """The stream's and the model's name may differ, and --json tells what was done."""
    result = CliRunner().invoke(command, [str(tmp_path), "--stream", "pumps", "--model", "wear", "--json"])

    assert {"folder": str(tmp_path), "stream": "pumps", "model": "wear", "files": [*TEMPLATES, SAMPLE]} == json.loads(
        result.output
    )
    assert ("pumps", "wear") == (load_project(tmp_path).stream, load_project(tmp_path).model)


@pytest.mark.parametrize("there", [*TEMPLATES, SAMPLE])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    """One file that exists is enough: it stays as it is and no other is written."""
    (tmp_path / there).write_text("mine")

    result = CliRunner().invoke(command, [str(tmp_path)])

    assert there in str(result.exception)
    assert [(there, "mine")] == [(path.name, path.read_text()) for path in tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["Pumps", "1st", "a_b", "a" * 61, "-a"])
def test_a_name_that_topics_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    """The message says what is allowed, and nothing is written."""
    result = CliRunner().invoke(command, [str(tmp_path / "x"), f"--stream={name}"])

    assert 2 == result.exit_code
    assert "a letter first" in " ".join(result.output.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("folder", ["Älter", "___", "a" * 100, "42", "x-" * 40])
def test_any_folder_name_leads_to_an_allowed_one(tmp_path: Path, folder: str) -> None:
    """What is suggested is accepted as a stream's name."""
    result = CliRunner().invoke(command, [str(tmp_path / "x"), "--stream", suggested_name(folder)])

    assert 0 == result.exit_code, result.output


def test_no_placeholder_is_left() -> None:
    """Every file that is written is rendered, and says its lines' meaning in the right names."""
    files = render("some-stream", "some-model")

    assert [] == [name for name, text in files.items() if "$" in text]
    assert [True, True] == ["some-stream-events" in files["model.yaml"], "some_stream" in files["event.avsc"]]


def test_the_sample_is_always_the_same() -> None:
    """Two people who try it see the same thing."""
    assert sample_csv() == sample_csv()


def test_the_sample_can_be_published(tmp_path: Path) -> None:
    """Every row is an event of the schema that ingest takes, with a label."""
    CliRunner().invoke(command, [str(tmp_path)])
    project = load_project(tmp_path)

    rows = list(DatasetFile(project).slice(0, ROWS))

    assert ROWS == len(rows) == len({row.event_id for row in rows})
    assert set(MACHINES) == {row.entity for row in rows}
    assert {"healthy", "failing"} == {row.label for row in rows}
    for row in rows:
        check_expectations(project, row.event)


def test_the_sample_gives_the_loop_something_to_do(tmp_path: Path) -> None:
    """A first model passes its gate on the first rows, and is no good after the drift."""
    CliRunner().invoke(command, [str(tmp_path)])
    project = load_project(tmp_path)
    x, y = _rows(tmp_path)
    late = np.r_[0:300, DRIFT_ROW + 500 : DRIFT_ROW + 600]

    early_run = run_task(fit_task(project, Rows(x[:400], y[:400])))
    late_run = run_task(fit_task(project, Rows(x[late], y[late])))

    assert early_run.metrics["accuracy"] >= project.gates.first + 0.1
    assert late_run.metrics["accuracy"] <= project.gates.first


def _rows(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The sample's features and labels, each label known before the machine's next row."""
    project = load_project(folder)
    machines: dict[str, EntityFeatures] = {}
    x, y = [], []
    for row in csv.DictReader(io.StringIO((folder / SAMPLE).read_text())):
        entity = machines.setdefault(row["machine"], EntityFeatures(project.features))
        x.append(entity.row({name: float(row[name]) for name in ("temperature", "vibration")}))
        y.append(project.label.to_number(row["condition"]))
        entity.label(y[-1])
    return np.array(x, dtype=np.float32), np.array(y)
