"""Each service is killed once while the demo runs; the loop closes all the same, and nothing is lost or doubled."""

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from millrace.local.platform import SERVICES
from millrace.local.runfile import running

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
ROWS, TURN_ROW, FIRST_ROWS, RATE = 13_000, 7_000, 3_000, 250
SETTINGS = {
    "first_rows: 5000": f"first_rows: {FIRST_ROWS}",
    "window_rows: 8500": "window_rows: 3000",
    "warm_up_rows: 500": "warm_up_rows: 200",
}
MILLRACE = "from millrace.cli.main import main; main()"
BACK_S = 30.0
MUST_HOLD = {"each-event-once", "no-duplicates", "nothing-skipped", "closed-by-drift"}
"""The other checks compare accuracies, which say little about so few rows of which a service missed many."""


def short_project(folder: Path) -> Path:
    """The example with its first rows only, and prices turned upside down from ``TURN_ROW`` on: a drift for certain."""
    shutil.copytree(EXAMPLE, folder)
    text = (folder / "model.yaml").read_text()
    for old, new in SETTINGS.items():
        assert old in text, f"model.yaml of the example has no {old!r} any more"
        text = text.replace(old, new)
    (folder / "model.yaml").write_text(text)
    with gzip.open(EXAMPLE / "electricity.csv.gz", "rt") as whole:
        rows = list(csv.DictReader(whole))[:ROWS]
    with gzip.open(folder / "electricity.csv.gz", "wt") as short:
        writer = csv.DictWriter(short, rows[0].keys())
        writer.writeheader()
        for number, row in enumerate(rows):
            turned = {name: 1 - float(row[name]) for name in ("nswprice", "nswdemand")} if number >= TURN_ROW else {}
            writer.writerow({**row, **turned})
    return folder


@pytest.mark.slow
@pytest.mark.broker
def test_the_loop_closes_though_every_service_is_killed_once(tmp_path: Path) -> None:
    """SIGKILL to each of the five in turn, from the first model on: each event predicted once, drift answered."""
    project, data, reports = short_project(tmp_path / "project"), tmp_path / "data", tmp_path / "reports"
    command = [sys.executable, "-c", MILLRACE, "demo", str(project), "--rate", str(RATE)]
    where = ["--data", str(data), "--report", str(reports)]
    with subprocess.Popen([*command, *where], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = []
        for line in demo.stdout:
            said.append(line)
            if line.startswith("the loop runs"):
                killed = kill_each(data)
    report = json.loads((reports / "demo.json").read_text())
    passed = {check["name"] for check in report["checks"] if check["passed"]}

    assert list(SERVICES) == killed
    assert set() == MUST_HOLD - passed, "".join(said)
    assert dict.fromkeys(SERVICES, 1) == {name: min(1, report["restarts"][name]) for name in SERVICES}


def kill_each(data: Path) -> list[str]:
    """Kill each service once, the next as soon as the one before was started again. Returns who died of it."""
    killed = []
    for name in SERVICES:
        pid, restarts = service(data, name)
        assert pid is not None, f"{name} runs"
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + BACK_S
        while service(data, name)[1] == restarts:
            assert time.monotonic() < deadline, f"{name} was not started again within {BACK_S} s"
            time.sleep(0.05)
        killed.append(name)
    return killed


def service(data: Path, name: str) -> tuple[int | None, int]:
    """The service's process id and how often it was started again."""
    info = running(data)
    assert info is not None, "the demo runs"
    return info.services[name].pid, info.services[name].restarts
