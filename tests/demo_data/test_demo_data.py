"""The demo itself, on a broker, with fewer rows."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
MILLRACE = "from millrace.cli.main import main; main()"
ROWS, FIRST_ROWS, FAULT_ROWS = 6_000, 2_500, 2_500
SETTINGS = {
    "first_rows: 5000": "first_rows: 2000",
    "window_rows: 8500": "window_rows: 4000",
    "first: 0.75": "first: 0.6",
}


def short_project(folder: Path) -> Path:
    """The example, with a first model after 2,000 rows."""
    shutil.copytree(EXAMPLE, folder)
    text = (folder / "model.yaml").read_text()
    for old, new in SETTINGS.items():
        assert old in text, f"model.yaml of the example has no {old!r} any more"
        text = text.replace(old, new)
    (folder / "model.yaml").write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.broker
def test_five_faults_are_caught_and_nothing_bad_is_trained_on(tmp_path: Path) -> None:
    """Record by record, on the real platform: all checks hold, and the report has the figures that it is asked for."""
    project, data, reports = short_project(tmp_path / "project"), tmp_path / "data", tmp_path / "reports"
    sizes = ["--rows", str(ROWS), "--first-rows", str(FIRST_ROWS), "--fault-rows", str(FAULT_ROWS)]
    where = ["--data", str(data), "--report", str(reports)]
    command = [sys.executable, "-c", MILLRACE, "demo-data", str(project), *sizes, *where]
    demo = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads((reports / "demo-data.json").read_text())
    counts = {name: (figures["injected"], figures["caught"]) for name, figures in report["faults"].items()}

    assert 0 == demo.returncode, demo.stdout + demo.stderr
    assert [] == [name for name, (injected, caught) in counts.items() if not injected == caught > 0]
    assert ["unit_change", "new_category", "missing_burst", "duplicated_hour", "schema_change"] == list(counts)
    assert (0, 0) == (report["bad_rows_in_training"], report["good_rows_held_up"])
    assert report["false_rejection_share"] < 0.001
    assert {"OPERATOR", "FIRST_DATA"} <= {run["trigger"] for run in report["runs"]}
    assert {"demo-data.json", "demo-data.html", "demo-data.svg"} == {path.name for path in reports.iterdir()}
    assert not data.exists()
