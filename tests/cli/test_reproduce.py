"""``millrace reproduce``: a run done again gives the same bytes, or the answer says what differs."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from millrace.bus.clock import SystemClock
from millrace.bus.context import Context
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import TopicPartition
from millrace.cli.data_source import LakeSource
from millrace.cli.main import cli
from millrace.cli.prepare import command as prepare
from millrace.cli.reproduce_again import Repeated, ahead, child_fitter, repeated
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.sim.virtual_time import run as run_virtually
from millrace.sim.world import Simulation
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.lake import LakeError
from services.registry.commands import Log
from services.trainer.fitter import fit_inline
from services.trainer.train.task import FitError
from tests.cli.lineage_world import tell
from tests.cli.test_data import fill, lake_at
from tests.conftest import Broker
from tests.support import World, tiny_project
from tests.trainer.mill import BOOSTING, Mill, project_with

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
SEARCH = {
    "families": [
        {"name": "few", "build": "pipeline.py:few", "space": {"leaf": [5, 20], "rate": {"low": 0.05, "high": 0.3}}},
        {"name": "many", "build": "pipeline.py:many"},
    ],
    "trials": 3,
    "folds": 2,
    "seconds": 30,
}
FAMILIES = """
from sklearn.ensemble import HistGradientBoostingClassifier


def build(seed):
    return HistGradientBoostingClassifier(max_iter=15, random_state=seed)


def few(seed, leaf, rate):
    return HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=leaf, learning_rate=rate, random_state=seed)


def many(seed):
    return HistGradientBoostingClassifier(max_iter=30, max_depth=3, random_state=seed)
"""
FORGETFUL = """
import os
from sklearn.ensemble import HistGradientBoostingClassifier


def build(seed):
    seed = int.from_bytes(os.urandom(4), "big")
    return HistGradientBoostingClassifier(random_state=seed, early_stopping=True, max_iter=20)
"""


async def mill_of(folder: Path, pipeline: str = BOOSTING) -> tuple[Mill, TrainingRunChanged]:
    """A stream of 120 rows, and a run that succeeded."""
    mill = await Mill.create(project_with(folder / "project", pipeline), folder)
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer():
        ended = (await mill.until_runs(2))[1]
    assert "SUCCEEDED" == ended["status"], ended["error"]
    return mill, TrainingRunChanged.model_validate(ended)


def log_of(world: World) -> Log:
    """A connection to the world's log."""
    return Log(world.transport(), Codec(world.schemas), world.clock)


async def again(mill: Mill, ended: TrainingRunChanged, fit: Any = fit_inline, **options: Any) -> Repeated:
    """The run done again, with the project as it is on disk now."""
    project = load_project(mill.world.project.folder)
    return await repeated(project, log_of(mill.world), mill.artifacts, ended, fit, **options)


async def test_a_run_is_equal_in_a_child_process_though_the_log_has_grown(tmp_path: Path) -> None:
    """The same bytes as the trainer's own, which fitted in this process; one line says so."""
    mill, ended = await mill_of(tmp_path)
    await mill.grow(50)

    said = await again(mill, ended, child_fitter(mill.world.project, tmp_path))

    assert (True, {}, ended.artifact_sha256) == (said.equal, said.differences, said.repeated_sha256)
    assert [f"equal: {ended.run_id} gives the same model again, {ended.artifact_sha256} (rows from the log)"] == list(
        said.lines()
    )
    assert [] == list(ahead(mill.world.project, ended))


async def test_another_pipeline_is_told_before_and_not_trained(tmp_path: Path) -> None:
    """The code hash was another one; nothing is compared, and the answer names both."""
    mill, ended = await mill_of(tmp_path)
    folder = mill.world.project.folder
    (folder / "pipeline.py").write_text(BOOSTING.replace("max_iter=20", "max_iter=21"))
    now = load_project(folder)

    said = await again(mill, ended)

    assert any(line.startswith(f"code_hash was {ended.code_hash}, is {now.code_hash}") for line in ahead(now, ended))
    assert (False, None) == (said.equal, said.repeated_sha256)
    assert (ended.code_hash, now.code_hash) == said.differences["code_hash"]
    assert "pipeline or configuration changed" in (said.why or "")


async def test_other_packages_are_told_and_the_bytes_decide(tmp_path: Path) -> None:
    """They may or may not matter; where the model is the same all the same, it is equal."""
    mill, ended = await mill_of(tmp_path)
    elsewhere = ended.model_copy(update={"lock_hash": "0" * 16})

    assert ["lock_hash"] == [line.partition(" ")[0] for line in ahead(mill.world.project, elsewhere)]
    assert (await again(mill, elsewhere)).equal
    other = await again(mill, elsewhere.model_copy(update={"artifact_sha256": "0" * 64}))
    assert ["lock_hash"] == list(other.differences)


async def test_a_pipeline_that_forgets_its_seed_is_found_out(tmp_path: Path) -> None:
    """All inputs are the same and the model is not: the answer names the cause, and the metrics that moved."""
    mill, ended = await mill_of(tmp_path, FORGETFUL)

    said = await again(mill, ended)

    assert not said.equal
    assert ended.artifact_sha256 != said.repeated_sha256
    assert all(name.startswith("metrics.") for name in said.differences)
    same = Repeated(**{name: getattr(said, name) for name in Repeated.__slots__} | {"differences": {}})
    assert "takes randomness from elsewhere than its seed" in list(same.lines())[-1]


async def test_rows_that_are_others_now_are_refused(tmp_path: Path) -> None:
    """Their hash is compared before anything is trained."""
    mill, ended = await mill_of(tmp_path)

    said = await again(mill, ended.model_copy(update={"rows_sha256": "0" * 64}))

    assert f"the run began with {'0' * 64}" in (said.why or "")
    assert not said.equal


async def test_rows_that_retention_has_removed_come_from_the_lake(tmp_path: Path) -> None:
    """The same bytes again; without a lake the answer says that they are gone."""
    mill, ended = await mill_of(tmp_path)
    lake = lake_at(tmp_path, mill.world)
    await fill(mill.world, lake)
    mill.world.log.delete_before(TopicPartition("tiny-samples", 0), ended.ranges[0].from_offset + 9)

    said = await again(mill, ended, lake=lambda: LakeSource(lake))
    without = await again(mill, ended)

    assert said.equal
    assert "rows from the lake" in said.how
    assert (False, None) == (without.equal, without.repeated_sha256)
    assert "is not in the log" in (without.why or "")

    def no_lake() -> LakeSource:
        raise LakeError("there is no lake")

    with pytest.raises(LakeError, match="there is no lake"):
        await again(mill, ended, lake=no_lake)


async def test_an_imported_model_is_compared_by_its_digest(tmp_path: Path) -> None:
    """It was not made here, so there is nothing to train; a lost file is told."""
    mill, ended = await mill_of(tmp_path)
    imported = ended.model_copy(update={"source": "imported"})

    async def never(task: Any) -> Any:
        raise AssertionError(f"{task} was fitted")

    said = await again(mill, imported, never)
    lost = await again(mill, imported.model_copy(update={"artifact_sha256": "0" * 64}), never)

    assert (True, "an imported file, compared by its digest") == (said.equal, said.how)
    assert not lost.equal
    assert "0" * 64 in (lost.why or "")


async def test_a_run_without_a_model_and_one_of_another_project_are_refused(tmp_path: Path) -> None:
    """There is nothing to compare with."""
    mill, ended = await mill_of(tmp_path)

    with pytest.raises(FitError, match="is FAILED, so it has no model"):
        await again(mill, ended.model_copy(update={"status": "FAILED"}))
    with pytest.raises(FitError, match="is of 'other', the project at"):
        await again(mill, ended.model_copy(update={"model": "other"}))


@pytest.fixture(scope="module")
def small_loop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Simulation]:
    """The electricity example with a search, trained anew every so many rows."""
    folder = tmp_path_factory.mktemp("reproduced") / "electricity"
    shutil.copytree(EXAMPLE, folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["training"] |= {"first_rows": 300, "window_rows": 300, "holdout_rows": 80, "snapshot_every_rows": 100,
                           "search": SEARCH, "triggers": {"new_rows": 100}}  # fmt: skip
    config["gates"] |= {"first": 0.5}
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    (folder / "pipeline.py").write_text(FAMILIES)
    project = load_project(folder)
    simulation = Simulation(project, folder, seed=4, rows=600, rate=200.0, training_s=0.2)
    run_virtually(simulation.run())
    return project, simulation


def test_every_run_of_a_loop_comes_out_again(small_loop: tuple[Project, Simulation]) -> None:
    """All of them, whatever caused them: 100 % equal."""
    project, simulation = small_loop
    runs = [run for run in simulation.control.of(TrainingRunChanged) if run.status == "SUCCEEDED"]
    assert {"FIRST_DATA", "SCHEDULE"} == {run.trigger for run in runs}
    assert 3 <= len(runs)

    async def all_again() -> list[Repeated]:
        log = Log(simulation._transport("reproduce"), Codec(simulation.schemas), simulation._clock)
        return [await repeated(project, log, simulation._store, run, fit_inline) for run in runs]

    said = run_virtually(all_again())

    assert [True] * len(runs) == [one.equal for one in said], [list(one.lines()) for one in said]


@pytest.mark.broker
def test_the_command_on_a_real_broker(broker: Broker, tmp_path: Path) -> None:
    """It finds run, project and store, and its exit says whether they are equal."""
    project = tiny_project(tmp_path / "tiny", stream="against", model="against")
    addresses = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()
    assert 0 == runner.invoke(prepare, [str(project.folder), *addresses]).exit_code
    digest = ArtifactStore(tmp_path / "data" / "artifacts").put(b"a model from elsewhere")

    def imported(run_id: str, artifact: str) -> TrainingRunChanged:
        return TrainingRunChanged(
            run_id=run_id, model="against", status="SUCCEEDED", trigger="OPERATOR", caused_by="r", ranges=(),
            feature_set="f", code_hash="c", seed=7, train_rows=0, holdout_rows=0, artifact_sha256=artifact,
            duration_s=1.0, changed_at_ms=1, source="imported",
        )  # fmt: skip

    async def say() -> None:
        transport = KafkaTransport(broker.bootstrap_servers, "test-reproduce")
        try:
            async with SchemaRegistry(broker.schema_registry_url) as schemas:
                context = Context(project, transport, Codec(schemas), SystemClock(), "test")
                await tell(context, topics.TRAINING_RUNS, imported("run-here", digest), imported("run-lost", "0" * 64))
        finally:
            await transport.close()

    asyncio.run(say())

    def ask(run_id: str, *words: str) -> Any:
        options = ["--project", str(project.folder), "--data", str(tmp_path / "data"), *addresses, *words]
        return runner.invoke(cli, ["reproduce", run_id, *options])

    equal, lost = ask("run-here", "--json"), ask("run-lost")
    assert (0, True) == (equal.exit_code, json.loads(equal.output)["equal"])
    assert (1, True) == (lost.exit_code, "not equal: run-lost" in lost.output)
    unknown = runner.invoke(cli, ["reproduce", "run-here", "--data", str(tmp_path / "data"), *addresses])
    assert (1, True) == (unknown.exit_code, "give --project" in unknown.output)
