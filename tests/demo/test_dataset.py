"""Files become events and labels; whatever does not fit is named before anything is sent."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project, load_project
from millrace.demo.dataset import DatasetFile, Row
from tests.support import tiny_project

START_MS = 1_600_000_000_000
MADE = {"file": "rows.csv", "label_column": "truth", "entity": "w", "start": "2020-09-13T12:26:40Z", "every_s": 60}
EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"


def project_with(folder: Path, text: str, **dataset: Any) -> Project:
    """A project whose file holds this text."""
    project = tiny_project(folder, dataset={**MADE, **dataset})
    (folder / "rows.csv").write_text(text)
    return project


def only_row(project: Project, path: Path | None = None) -> Row:
    """The first row of its file."""
    return next(DatasetFile(project, path).slice(0, 1))


def test_what_the_file_lacks_is_made(tmp_path: Path) -> None:
    """Id, entity and time come from the dataset section; the label follows by delay_s."""
    rows = list(DatasetFile(project_with(tmp_path, "x,truth\n1.5,yes\n-2,no\n")).slice(1, 9))

    event = {"id": "row-1", "who": "w", "at": START_MS + 60_000, "x": -2.0}
    assert [Row(1, "w", "row-1", event, "no", START_MS + 90_000)] == rows


def test_columns_named_like_fields_are_taken_as_they_are(tmp_path: Path) -> None:
    """An id stays a text even if it looks like a number, and a column of no field is left out."""
    project = project_with(tmp_path, f"id,who,at,x,truth,more\n007,z,{START_MS},1,yes,9\n")

    assert {"id": "007", "who": "z", "at": START_MS, "x": 1.0} == only_row(project).event


@pytest.mark.parametrize("text", ["2020-09-13T12:26:40Z", "2020-09-13 12:26:40", "2020-09-13T14:26:40+02:00"])
def test_a_time_may_be_written_as_iso_8601(tmp_path: Path, text: str) -> None:
    """With a zone, or without one as UTC."""
    assert START_MS == only_row(project_with(tmp_path, f"at,x,truth\n{text},1,yes\n")).event["at"]


@pytest.mark.parametrize(("cell", "sent"), [("yes", "yes"), ("1", 1.0), ("0", 0.0), ("", None)])
def test_a_label_is_a_class_or_its_index_or_not_known(tmp_path: Path, cell: str, sent: object) -> None:
    """Names stay names, indices become numbers, and an empty cell is an event without a label."""
    assert sent == only_row(project_with(tmp_path, f"x,truth\n1,{cell}\n2,no\n")).label


def test_a_regression_label_is_a_number(tmp_path: Path) -> None:
    """Any number will do."""
    label = {"task": "regression", "classes": [], "delay_s": 30}
    project = tiny_project(tmp_path, dataset=MADE, label=label, gates={"metric": "mae", "first": 1.0})
    (tmp_path / "rows.csv").write_text("x,truth\n1,-3.5\n")

    assert -3.5 == only_row(project).label


def _as_gz(folder: Path) -> Path:
    path = folder / "other.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("x,truth\n1.5,yes\n")
    return path


def _as_parquet(folder: Path) -> Path:
    path = folder / "other.parquet"
    at = pa.array([datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({"x": [1.5], "truth": ["yes"], "at": at}), path)
    return path


@pytest.mark.parametrize("write", [_as_gz, _as_parquet])
def test_packed_and_columnar_files_are_read_alike(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """A .csv.gz and a .parquet file give what the CSV gives, times included."""
    project = project_with(tmp_path, "x,truth\n1.5,yes\n")

    assert only_row(project) == only_row(project, write(tmp_path))


@pytest.mark.parametrize(
    ("text", "dataset", "words"),
    [
        ("x,truth\n1,yes\nabc,no\n", {}, ["row 1", "'x'", "'abc'", "a number"]),
        ("x,truth\n1,yes\n1,maybe\n", {}, ["row 1", "'truth'", "'maybe'", "['no', 'yes']"]),
        ("x,truth\n1,yes\n1,2\n", {}, ["row 1", "'truth'", "'2'"]),
        ("x,answer\n1,yes\n", {}, ["'truth'", "['x', 'answer']", "label_column"]),
        ("x,truth\n1,yes\n", {"entity": None}, ["'who'", "['x', 'truth']", "dataset.entity"]),
        ("x,truth\n1,yes\n", {"start": None}, ["'at'", "dataset.start"]),
        ("at,x,truth\nyesterday,1,yes\n", {}, ["row 0", "'at'", "'yesterday'", "a time"]),
        ("who,x,truth\na,1,yes\n,1,yes\n", {}, ["row 1", "'who'", "empty"]),
        ("", {}, ["is no CSV"]),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, dataset: dict[str, Any], words: list[str]) -> None:
    """The error says which row and column, and what was seen."""
    with pytest.raises(ProjectError) as caught:
        DatasetFile(project_with(tmp_path, text, **dataset))

    assert [] == [word for word in words if word not in str(caught.value)], str(caught.value)


def test_a_project_without_a_dataset_says_so(tmp_path: Path) -> None:
    """There is nothing to send."""
    with pytest.raises(ProjectError, match="no section dataset"):
        DatasetFile(tiny_project(tmp_path))


def test_the_example_is_read_whole() -> None:
    """All 45,312 half-hours, each with its label 29 minutes later."""
    file = DatasetFile(load_project(EXAMPLE))
    last = next(file.slice(45_311, 45_312))

    assert (45_312, "nsw-45311", "NSW", 29 * 60_000) == (
        file.rows, last.event_id, last.entity, last.label_time_ms - last.event["time"],
    )  # fmt: skip
