"""The lake under ``kill -9``: before the write, between write and commit, after the commit, and anywhere."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from millrace.stores.lake import Lake
from tests.stores.lake_rows import DAILY, HOUR_MS, places, span

DRIVER = Path(__file__).with_name("lake_driver.py")
ROOT = Path(__file__).parents[2]
PLACES = ("lake.before-write", "lake.between-write-and-commit", "lake.after-commit")
KILLED = -9


def start(folder: Path, rows: int, batch: int = 7, die: str = "") -> subprocess.Popen[str]:
    """A driver at work."""
    return subprocess.Popen(
        [sys.executable, DRIVER, folder, str(rows), str(batch), die], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and what it said."""
    said, _ = process.communicate(timeout=90)
    return process.returncode, said


def check(folder: Path, rows: int) -> None:
    """Every row is there, once, in the newest version and in the range that each commit says it brought."""
    lake = Lake(folder, "tiny", DAILY)
    history = lake.history()
    appends = sorted((each.from_offset, each.until_offset) for each in history if each.from_offset is not None)

    assert [(0, offset) for offset in range(rows)] == places(lake.read([span(0, 0, rows)]))
    assert (0, rows) == (appends[0][0], appends[-1][1])
    assert [end for _, end in appends[:-1]] == [begin for begin, _ in appends[1:]]


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_a_place_loses_nothing_and_doubles_nothing(tmp_path, place):
    """The first append of a table, and a later one. What was between write and commit is swept, nothing else is."""
    for die in (f"{place}@1", f"{place}@3"):
        assert (KILLED, f"dies at {place}\n") == ended(start(tmp_path, 40, die=die))
    assert (0, "done\n") == ended(start(tmp_path, 40))
    check(tmp_path, 40)
    now_ms = time.time_ns() // 1_000_000
    orphans = Lake(tmp_path, "tiny", DAILY).vacuum(now_ms + HOUR_MS)

    assert (place == "lake.between-write-and-commit") == bool(orphans)
    check(tmp_path, 40)


def test_a_kill_in_a_compaction_changes_nothing(tmp_path):
    """The merged files are written, the commit that puts them in the place of others is not: they are orphans."""
    assert KILLED == ended(start(tmp_path, 120, die="lake.between-merge-and-commit@1"))[0]
    assert (0, "done\n") == ended(start(tmp_path, 120))
    check(tmp_path, 120)
    orphans = Lake(tmp_path, "tiny", DAILY).vacuum(time.time_ns() // 1_000_000 + HOUR_MS)

    assert {"merged"} == {path.split("/")[-1].partition("-")[0] for path in orphans}
    check(tmp_path, 120)


def test_two_drivers_at_once_append_everything_once(tmp_path):
    """Zombies of one another, with batches that never end at the same place."""
    drivers = [start(tmp_path, 150, batch) for batch in (5, 7)]

    assert [(0, "done\n")] * 2 == [ended(driver) for driver in drivers]
    check(tmp_path, 150)


def kill_anywhere(folder: Path, seed: int, kills: int, rows: int) -> None:
    """Kill drivers at random moments, often two at a time; then let one end its work."""
    chance = random.Random(seed)
    deaths = 0
    print(f"seed {seed}")  # noqa: T201  # it replays the case
    while deaths < kills:
        drivers = [start(folder, rows, chance.randint(1, 9)) for _ in range(chance.randint(1, 2))]
        lake = Lake(folder, "tiny", DAILY)
        version = lake.version() or 0
        deadline_s = time.monotonic() + 60
        while (lake.version() or 0) <= version and time.monotonic() < deadline_s:
            if all(driver.poll() is not None for driver in drivers):
                break
        time.sleep(chance.random() * 0.15)  # the moment is the fault: somewhere in the middle of its work
        for driver in drivers:
            driver.kill()
            deaths += ended(driver)[0] == KILLED
        assert (lake.position(0) or 0) < rows, f"seed {seed}: the work was done after {deaths} kills"
    assert (0, "done\n") == ended(start(folder, rows, 20))


def test_kills_at_random_moments(tmp_path):
    """A few of them, with a seed that is printed."""
    kill_anywhere(tmp_path, random.SystemRandom().randrange(10**6), kills=2, rows=900)
    check(tmp_path, 900)


@pytest.mark.matrix
@pytest.mark.parametrize("round_number", range(5))
def test_many_kills_at_random_moments(tmp_path, round_number):
    """The same, longer."""
    kill_anywhere(tmp_path, random.SystemRandom().randrange(10**6), kills=25, rows=8000)
    check(tmp_path, 8000)
