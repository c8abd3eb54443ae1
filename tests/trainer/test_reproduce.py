"""A run done again gives the same bytes, and says so when it cannot."""

import asyncio

import pytest

from millrace.contracts.codec import Codec
from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.golden import Golden
from services.trainer.child import run_task
from services.trainer.fitter import fit_inline
from services.trainer.reproduce import choice_of, repeat
from services.trainer.train.score import score
from services.trainer.train.task import Choice, FitError
from tests.support import EPOCH_MS, MINUTE_MS
from tests.trainer.mill import BOOSTING, Mill, project_with, until
from tests.trainer.test_core import run
from tests.trainer.test_imports import elsewhere, lines

FAMILIES = """
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def boosting(seed, depth, rate, name):
    return HistGradientBoostingClassifier(max_depth=depth, learning_rate=rate, random_state=seed, max_iter=10)


def linear(seed, c):
    return make_pipeline(SimpleImputer(), LogisticRegression(C=c, random_state=seed))
"""
SEARCH = {
    "families": [
        {
            "name": "trees",
            "build": "families.py:boosting",
            "space": {"depth": {"low": 2, "high": 4}, "rate": {"low": 0.05, "high": 0.3}, "name": ["a", None]},
        },
        {"name": "linear", "build": "families.py:linear", "space": {"c": {"low": 0.01, "high": 10, "log": True}}},
    ],
    "windows": ["last", "since_drift", "decay"],
    "trials": 4,
    "folds": 2,
}


async def run_of(mill, **changes):
    """One run that succeeded, as its event."""
    await mill.ask("one", **changes)
    async with mill.trainer(studies=mill.studies):
        ended = (await mill.until_runs(2))[1]
        await until(lambda: mill.studies is None or not any(mill.studies.iterdir()))
    assert "SUCCEEDED" == ended["status"], ended["error"]
    return TrainingRunChanged.model_validate(ended)


async def again(mill, ended):
    """The same run, repeated."""
    world = mill.world
    return await repeat(world.project, world.transport(), Codec(world.schemas), mill.artifacts, ended, fit_inline)


async def searching(tmp_path, **training):
    """A stream of 300 rows and a project that searches."""
    folder = tmp_path / "project"
    project_with(folder)
    (folder / "families.py").write_text(FAMILIES)
    project = project_with(folder, training={"window_rows": 250, "search": SEARCH, **training})
    mill = await Mill.create(project, tmp_path)
    mill.studies = tmp_path / "studies"
    await mill.grow(300)
    return mill


async def test_a_plain_run_comes_out_again(tmp_path):
    """The same bytes, golden records, metrics and choice, though the log has grown."""
    mill = await Mill.create(project_with(tmp_path / "project", BOOSTING), tmp_path)
    mill.studies = None
    await mill.grow(120)
    ended = await run_of(mill)
    await mill.grow(100)
    result = await again(mill, ended)
    assert mill.artifacts.get(ended.artifact_sha256) == result.artifact
    assert mill.artifacts.get(ended.golden_sha256) == result.golden
    assert mill.artifacts.get(ended.record_sha256)
    assert ("pipeline", "last:80", {}) == (ended.family, ended.window, ended.params)
    assert ended.metrics == result.metrics


@pytest.mark.parametrize("seed", range(3))
async def test_a_run_with_a_search_comes_out_again_without_it(tmp_path, seed):
    """What it settled on is in the event: family, parameters with their types, window; nothing is left behind."""
    mill = await searching(tmp_path, seed=seed)
    ended = await run_of(mill, since_time_ms=EPOCH_MS + 200 * MINUTE_MS)
    assert ended.family in {"trees", "linear"}
    assert ended.window.partition(":")[0] in {"last", "since_drift", "decay"}
    assert {"majority", "last-label", "linear"} == ended.baselines.keys()
    result = await again(mill, ended)
    assert mill.artifacts.get(ended.artifact_sha256) == result.artifact


async def test_an_imported_run_is_judged_again(tmp_path):
    """The file is found by the request; metrics are the same."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    mill.studies = None
    file, sample = (mill.artifacts.put(content) for content in (elsewhere(), lines(60)))
    ended = await run_of(mill, reason="OPERATOR", import_sha256=file, sample_sha256=sample)
    result = await again(mill, ended)
    assert (ended.artifact_sha256, ended.metrics) == (mill.artifacts.put(result.artifact), result.metrics)


async def test_what_cannot_be_repeated_is_said(tmp_path):
    """A run without a model, rows that are others now, a project that has changed."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    mill.studies = None
    await mill.grow(120)
    ended = await run_of(mill)
    cases = {
        "is FAILED, so it has no model": ended.model_copy(update={"status": "FAILED"}),
        "the rows hash to": ended.model_copy(update={"rows_sha256": "0" * 64}),
        "pipeline or configuration changed": ended.model_copy(update={"code_hash": "other"}),
        "the ranges hold 100 rows now": ended.model_copy(update={"train_rows": 81}),
    }
    for error, other in cases.items():
        with pytest.raises(FitError, match=error):
            await again(mill, other)


def test_parameters_survive_the_event():
    """Numbers, texts, truth values and nothing keep their types; an event from before searches is the pipeline."""
    params = {"a": "1", "b": "0.1", "c": '"1"', "d": "true", "e": "null"}
    said = run("SUCCEEDED").model_copy(update={"family": "f", "params": params, "window": "decay:8"})
    assert Choice("f", {"a": 1, "b": 0.1, "c": "1", "d": True, "e": None}, "decay:8") == choice_of(said)
    assert Choice("pipeline", {}, "last") == choice_of(run("SUCCEEDED"))
    with pytest.raises(FitError, match="parameters of r1 cannot be read"):
        choice_of(run("SUCCEEDED").model_copy(update={"params": {"a": "x"}}))


async def test_golden_records_are_the_answers_of_the_file(tmp_path):
    """They are in the store before the event names them, and a file that answers otherwise is found out."""
    mill = await Mill.create(project_with(tmp_path / "project", BOOSTING), tmp_path)
    mill.studies = None
    await mill.grow(120)
    ended = await run_of(mill)
    golden = Golden.from_bytes(mill.artifacts.get(ended.golden_sha256))
    scores = score(mill.artifacts.get(ended.artifact_sha256), golden.features, 2)
    assert 20 == len(golden.values)
    assert golden.fault(scores.values, scores.probabilities) is None
    assert "golden records are answered differently" in golden.fault(1 - scores.values, scores.probabilities)


async def test_a_search_cut_short_goes_on_where_it_was(tmp_path):
    """Killed after its second trial: the same run, and the trials that were done are not done again."""
    mill = await searching(tmp_path)
    fits, reached = [], asyncio.Event()

    async def cut_short(task):
        def stop(progress):
            if progress.stage == "searching" and progress.step >= 2:
                raise KeyboardInterrupt

        fits.append(task)
        with pytest.raises(KeyboardInterrupt):
            run_task(task, report=stop)
        reached.set()
        await asyncio.Event().wait()

    await mill.ask("one")
    async with mill.trainer(cut_short, studies=mill.studies):
        await asyncio.wait_for(reached.wait(), 30)
    kept = [file for file in mill.studies.rglob("*") if file.is_file()]
    assert kept
    steps = []

    async def resumed(task):
        fits.append(task)
        return run_task(task, report=lambda progress: steps.append((progress.stage, progress.step)))

    async with mill.trainer(resumed, studies=mill.studies):
        assert "SUCCEEDED" == (await mill.until_runs(2))[1]["status"]
    assert fits[0].run_id == fits[1].run_id
    assert min(step for stage, step in steps if stage == "searching") >= 2
