"""The five services in one process: the loop closes for every seed, through kills, and repeats byte for byte."""

import asyncio
import csv
import gzip
import shutil
from pathlib import Path

import pytest
import yaml

from millrace.contracts.project import Project, load_project
from millrace.sim.virtual_time import DeadlockError, run
from millrace.sim.world import Outcome, Simulation

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
ROWS = 2400
FLIP_AT = 1300
FIRST_ROWS = 500
CHANGES = {
    "training": {"first_rows": FIRST_ROWS, "window_rows": 700, "holdout_rows": 100, "snapshot_every_rows": 100},
    "monitors": {"cool_down_rows": 200, "warm_up_rows": 50, "metrics_window_rows": 200},
    "gates": {"first": 0.6, "confidence": None},  # a hold-out of 100 rows proves little
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """The electricity example, smaller, with a planted change: from row 1,300 on, up means down."""
    folder = tmp_path_factory.mktemp("flipped") / "electricity"
    shutil.copytree(EXAMPLE, folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    for section, values in CHANGES.items():
        config[section] |= values
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    with gzip.open(EXAMPLE / "electricity.csv.gz", "rt") as source:
        rows = [row for row, _ in zip(csv.DictReader(source), range(ROWS), strict=False)]
    for row in rows[FLIP_AT:]:
        row["class"] = str(1 - int(row["class"]))
    with gzip.open(folder / "electricity.csv.gz", "wt") as target:
        writer = csv.DictWriter(target, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return load_project(folder)


def simulate(project: Project, folder: Path, seed: int, kills: dict[float, str] | None = None) -> Outcome:
    """One run; ``kills`` names the service to kill at each virtual second."""
    simulation = Simulation(project, folder, seed=seed, rows=ROWS, rate=400.0)

    async def with_kills() -> Outcome:
        async def kill() -> None:
            for second, name in sorted((kills or {}).items()):
                await asyncio.sleep(second - asyncio.get_running_loop().time())
                await simulation.kill(name)

        killer = asyncio.create_task(kill())
        outcome = await simulation.run()
        await killer
        return outcome

    return run(with_kills())


def check_closed(outcome: Outcome) -> None:
    """Every row since the first model has one prediction, and drift led to a deployment."""
    assert (outcome.rows, outcome.first_row) == (ROWS, FIRST_ROWS)
    assert (outcome.predictions, outcome.duplicates) == (ROWS - FIRST_ROWS, 0)
    assert outcome.missing == FIRST_ROWS
    assert outcome.drift_caused >= 1
    assert len(outcome.versions) >= 2


def test_the_same_seed_gives_the_same_bytes_and_the_loop_closes(project, tmp_path):
    """Two runs of one seed agree on every byte of every topic; another seed interleaves differently."""
    first, again, other = (simulate(project, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))

    for outcome in (first, other):
        check_closed(outcome)
    assert first.digest == again.digest
    assert first.digest != other.digest


@pytest.mark.parametrize("name", ["ingest", "serving", "monitor", "trainer", "registry"])
def test_the_loop_closes_though_a_service_is_killed_again_and_again(project, tmp_path, name):
    """Kill -9 before, during and after the first training and the drift: nothing is lost or doubled."""
    seconds = (0.7, 1.6, 3.1, 8.9, 10.2, 11.4)
    outcome = simulate(project, tmp_path, seed=3, kills=dict.fromkeys(seconds, name))

    check_closed(outcome)


def test_changed_features_get_a_model_of_their_own_and_nothing_is_lost(project, tmp_path):
    """All services restart with other features: samples wait until a model of these is trained, then all are scored."""
    folder = tmp_path / "changed"
    shutil.copytree(project.folder, folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["features"].append({"name": "demand_mean", "kind": "rolling_mean", "field": "nswdemand", "rows": 8})
    (folder / "model.yaml").write_text(yaml.safe_dump(config))

    async def both() -> tuple[Outcome, Outcome]:
        before = Simulation(project, tmp_path, seed=5, rows=1000, rate=400.0)
        first = await before.run()
        after = Simulation(load_project(folder), tmp_path, seed=6, rows=ROWS, rate=400.0, after=before)
        return first, await after.run()

    first, second = run(both())

    assert (first.predictions, len(first.versions)) == (1000 - FIRST_ROWS, 1)
    assert (second.predictions, second.duplicates, second.missing) == (ROWS - FIRST_ROWS, 0, FIRST_ROWS)
    assert "judged like a first model" in second.versions[1]


def test_the_virtual_loop_says_when_nothing_can_happen_any_more():
    """A wait for something that nobody will do is an error, not a hang."""

    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        run(wait_for_ever())
