"""The record of a run: what is in it, that it is the same each time, and that it has bounds."""

import csv
import hashlib
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from millrace.runs.record import files_of
from services.trainer.gpu import cards
from services.trainer.train import record
from services.trainer.train.checks import Candidate, check
from services.trainer.train.export import export
from services.trainer.train.judge import measure
from services.trainer.train.record import make_record, with_resources
from services.trainer.train.record_initial import first_stage
from services.trainer.train.record_plots import rolling, said_and_true
from services.trainer.train.record_svg import Axes, Series, bars, chart
from services.trainer.train.score import Scores, score
from services.trainer.train.search import Found, baselines, search
from services.trainer.train.task import Choice
from tests.trainer.search.made import BUILDS, line, quiet, searching, signs

SVG = "{http://www.w3.org/2000/svg}"


def boosted(seed, depth=3):
    """A classifier that is a sum of trees."""
    return HistGradientBoostingClassifier(max_iter=10, max_depth=depth, random_state=seed)


def made(task, builds=BUILDS, champion=None):
    """A candidate, what its search found, and its checks, as the trainer has them at its end."""
    found = search(task, builds, quiet)
    artifact = export(found.estimator, task)
    scores = score(artifact, task.holdout.x, len(task.label.classes))
    candidate = Candidate(
        estimator=found.estimator,
        artifact=artifact,
        scores=scores,
        champion_scores=champion,
        metrics=measure(scores, task.holdout.y),
        champion_metrics={} if champion is None else measure(champion, task.holdout.y),
        baselines=baselines(task),
        history=found.history,
    )
    return candidate, found, check(task, candidate)


def rows_of(files, name):
    """A table's rows."""
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def test_a_classification_has_all_of_it():
    """Tables, pictures, both models, and a run.json that names what went in and how good it is."""
    task = replace(signs(), run_id="run-1")
    champion = Scores(np.zeros(100), np.tile([0.6, 0.4], (100, 1)))
    candidate, found, checks = made(task, {"pipeline": boosted}, champion)

    files = files_of(make_record(task, candidate, found, checks))

    assert {
        "README.txt", "run.json", "history.csv", "importances.csv", "holdout.csv", "estimator-initial.json",
        "model-initial.onnx", "model.onnx", "loss.svg", "reliability.svg", "importances.svg", "holdout.svg",
    } == set(files)  # fmt: skip
    run = json.loads(files["run.json"])
    assert ("run-1", "made", "accuracy", 7) == tuple(run[name] for name in ("run_id", "model", "metric", "seed"))
    assert {"train": 600, "holdout": 100, "gap": 0, "since_drift": None} == run["rows"]
    assert dict(candidate.metrics) == run["metrics"]
    assert candidate.baselines == run["baselines"]
    assert [one.name for one in checks] == [one["name"] for one in run["checks"]]
    assert hashlib.sha256(candidate.artifact).hexdigest() == run["hashes"]["artifact"]
    assert ("10", "3") == tuple(run["estimator"]["params"][name] for name in ("max_iter", "max_depth"))
    assert candidate.artifact == files["model.onnx"]
    assert all(name in files["README.txt"].decode() for name in files if name != "README.txt")


def test_the_tables_say_what_the_candidate_was_judged_on():
    """Each hold-out row with label, answer and probabilities of both; the history step by step; the importances."""
    task = signs()
    champion = Scores(np.zeros(100), np.tile([0.6, 0.4], (100, 1)))
    candidate, found, checks = made(task, {"pipeline": boosted}, champion)
    files = files_of(make_record(task, candidate, found, checks))

    rows = rows_of(files, "holdout.csv")
    assert 100 == len(rows)
    assert ["row", "label", "value", "score_c0", "score_c1", "champion_value", "champion_score_c0",
            "champion_score_c1"] == list(rows[0])  # fmt: skip
    assert candidate.metrics["accuracy"] == np.mean([row["label"] == row["value"] for row in rows])
    assert {"c0"} == {row["champion_value"] for row in rows}
    assert [step.step for step in found.history] == [int(row["step"]) for row in rows_of(files, "history.csv")]
    assert ["f0", "f1", "f2"] == [row["feature"] for row in rows_of(files, "importances.csv")]


def test_a_regression_has_residuals_in_place_of_reliability():
    """And values as numbers, without scores; a model that is no sum of stages has no first one."""
    task = line()
    candidate, found, checks = made(task, {"pipeline": BUILDS["ridge"]})

    files = files_of(make_record(task, candidate, found, checks))

    assert "residuals.svg" in files
    assert not {"reliability.svg", "model-initial.onnx", "trials.csv"} & set(files)
    assert ["row", "label", "value"] == list(rows_of(files, "holdout.csv")[0])


def test_a_search_leaves_its_trials():
    """Every trial with its parameters and how it ended; their seconds are with the resources."""
    task = signs(search=searching("logistic", "tree", trials=4))
    candidate, found, checks = made(task)

    files = files_of(make_record(task, candidate, found, checks, timed=True))

    rows = rows_of(files, "trials.csv")
    assert [str(one.number) for one in found.trials] == [row["number"] for row in rows]
    assert [dict(one.params) for one in found.trials] == [json.loads(row["params"]) for row in rows]
    assert "seconds" not in rows[0]
    assert set(json.loads(files["resources.json"])["trial_seconds"]) == {row["number"] for row in rows}
    assert "trials.svg" in files


def test_an_imported_model_has_a_record_too():
    """Without an estimator, a search or a history."""
    task = signs()
    candidate, _, checks = made(task)
    bare = replace(candidate, estimator=None, history=())

    files = files_of(make_record(replace(task, imported=candidate.artifact), bare, None, checks))

    assert "imported" == json.loads(files["run.json"])["source"]
    assert not {"history.csv", "trials.csv", "estimator-initial.json", "loss.svg"} & set(files)
    assert "holdout.svg" in files


def test_the_same_run_gives_the_same_bytes():
    """Done again from the beginning; and what the machine says changes one file alone."""
    first, again = (make_record(task, *one) for task, one in ((task, made(task)) for task in (signs(), signs())))
    slow, quick = (files_of(with_resources(first, {"cpu_s": seconds, "gpu": cards()})) for seconds in (9.0, 1.0))

    assert first == again
    assert {"resources.json"} == {name for name in slow if slow[name] != quick[name]}
    assert 9.0 == json.loads(slow["resources.json"])["cpu_s"]
    assert b"" == with_resources(b"", {"cpu_s": 1.0})


def test_what_a_check_measures_by_the_clock_is_with_the_resources():
    """So that run.json is the same on a slower machine."""
    task = signs()
    candidate, found, _ = made(task)
    ticks = iter(range(100))
    checks = check(task, candidate, lambda: next(ticks))

    files = files_of(make_record(task, candidate, found, checks, timed=True))

    named = {one["name"] for one in json.loads(files["run.json"])["checks"]}
    assert ["scoring-time"] == [one["name"] for one in json.loads(files["resources.json"])["checks"]]
    assert "scoring-time" not in named


def test_what_is_too_large_is_left_out_and_named(monkeypatch):
    """The model first of all: it is in the artefact store anyway. Old hold-out rows next."""
    task = signs()
    candidate, found, checks = made(task)
    monkeypatch.setattr(record, "BYTES_MAX", 30_000)
    monkeypatch.setattr("services.trainer.train.record_files.CELLS_MAX", 100)

    big = replace(candidate, artifact=candidate.artifact + bytes(40_000))
    files = files_of(make_record(task, big, found, checks))

    left_out = json.loads(files["run.json"])["left_out"]
    assert "model.onnx" not in files
    assert 20 == len(rows_of(files, "holdout.csv"))
    assert ["the oldest 80 rows of holdout.csv"] == left_out[:1]
    assert any(one.startswith("model.onnx, ") for one in left_out)


def test_answers_that_are_no_numbers_do_not_stop_the_record():
    """The run that made them is judged by its checks; its record shows what there was."""
    task = signs()
    candidate, found, checks = made(task)
    spoilt = replace(candidate, scores=Scores(np.full(100, np.nan), np.full((100, 2), np.nan)),
                     metrics={"accuracy": float("nan")})  # fmt: skip

    files = files_of(make_record(task, spoilt, found, checks))

    assert json.loads(files["run.json"])["metrics"] == {"accuracy": None}
    assert {"nan"} == {row["value"] for row in rows_of(files, "holdout.csv")}


@pytest.mark.parametrize("task", [signs(classes=3), line()])
def test_the_pictures_are_whole(task):
    """Each is XML with a title, and draws within its frame."""
    candidate, found, checks = made(task, BUILDS if task.label.classes else {"pipeline": BUILDS["ridge"]})
    files = files_of(make_record(task, candidate, found, checks))
    pictures = {name: ET.fromstring(text) for name, text in files.items() if name.endswith(".svg")}

    assert 4 == len(pictures)
    for picture in pictures.values():
        assert picture.get("aria-label")
        _, _, width, height = map(float, picture.get("viewBox").split())
        for line_drawn in picture.iter(f"{SVG}polyline"):
            places = [tuple(map(float, place.split(","))) for place in line_drawn.get("points").split()]
            assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_a_picture_of_nothing_and_one_with_markup_in_its_names_are_pictures():
    """A name from the owner's code may hold anything."""
    nothing = chart(Axes("empty", "x", "y"), [Series("a", [(0.0, float("nan"))])])
    marked = bars("<b>", [("a<b&c", 1.0), ("negative", -2.0), ("unknown", float("nan"))])

    assert "nothing to draw" in "".join(ET.fromstring(nothing).itertext())
    assert "a<b&c" in "".join(ET.fromstring(marked).itertext())


def test_rolling_metrics_and_bins_are_right():
    """Against what can be counted by hand."""
    y = np.array([0.0, 0.0, 1.0, 1.0])
    scores = Scores(np.array([0.0, 0.0, 1.0, 0.0]), np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]))

    assert [1.0, 1.0, 0.5] == rolling(scores, y, "accuracy", 2).tolist()
    assert [(0.2, 0.0), (0.6, 1.0)] == [tuple(np.round(pair, 9)) for pair in said_and_true(scores, y, 2)]
    numbers = Scores(np.array([1.0, 3.0, 5.0]), np.empty((3, 0)))
    assert [1.0, 3.0] == rolling(numbers, np.ones(3), "mae", 2).tolist()
    assert pytest.approx([2**0.5, 10**0.5]) == rolling(numbers, np.ones(3), "rmse", 2)


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (HistGradientBoostingClassifier(max_iter=5), signs()),
        (HistGradientBoostingClassifier(max_iter=5), signs(classes=3)),
        (HistGradientBoostingRegressor(max_iter=5), line()),
        (make_pipeline(SimpleImputer(), HistGradientBoostingClassifier(max_iter=5)), signs()),
        (make_pipeline(SimpleImputer(), GradientBoostingRegressor(n_estimators=5)), line()),
        (make_pipeline(SimpleImputer(), AdaBoostClassifier(n_estimators=5)), signs()),
    ],
)
def test_the_initial_model_is_the_first_stage(estimator, task):
    """Its file answers as the estimator's own first stage does, and the estimator is as it was."""
    y = task.train.y.astype(np.int64) if task.label.classes else task.train.y
    estimator.fit(task.train.x, y)
    before = estimator.predict(task.holdout.x)

    content = first_stage(estimator, task)

    assert content is not None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    said = np.asarray(session.run(None, {"features": task.holdout.x})[0], dtype=np.float64).reshape(-1)
    staged = next(iter(estimator.staged_predict(task.holdout.x))) if not hasattr(estimator, "steps") else next(
        iter(estimator[-1].staged_predict(estimator[:-1].transform(task.holdout.x)))
    )  # fmt: skip
    assert pytest.approx(staged, abs=1e-3) == said
    assert np.array_equal(before, estimator.predict(task.holdout.x))


def test_a_parameter_is_told_without_its_place_in_memory():
    """It would differ each time."""

    class Odd:
        """An estimator of somebody's."""

        def get_params(self, deep):
            """A function, and a text with line breaks."""
            return {"call": quiet, "text": object()}

    task = signs()
    candidate, _, checks = made(task)
    found = Found(Choice("odd", {}, "last"), Odd(), (), ())

    files = files_of(make_record(task, replace(candidate, estimator=Odd()), found, checks))

    assert {"call": "<function quiet>", "text": "<object object>"} == json.loads(files["run.json"])["estimator"][
        "params"
    ]
    assert "odd" == json.loads(files["run.json"])["choice"]["family"]


def test_an_estimator_that_cannot_tell_its_parameters_has_a_record():
    """The owner's class may raise anything."""

    class Shy:
        """An estimator of somebody's."""

        def get_params(self, deep):
            """No."""
            raise RuntimeError(f"not {deep}")

    task = signs()
    candidate, found, checks = made(task)

    files = files_of(make_record(task, replace(candidate, estimator=Shy()), found, checks))

    assert {"(unreadable)": "RuntimeError: not True"} == json.loads(files["estimator-initial.json"])["params"]


def test_without_the_tool_there_is_no_card(tmp_path):
    """Nor with one that fails; what it says is read as it writes it."""
    assert [] == cards("no-such-tool-of-millrace")
    tool = tmp_path / "smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A, B, 100, 7'\necho nonsense\n")
    tool.chmod(0o755)
    assert [{"name": "NVIDIA A, B", "memory_bytes": 100 << 20, "memory_bytes_used": 7 << 20}] == cards(str(tool))
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert [] == cards(str(tool))
