"""A run in MLflow's words."""

from millrace.runs.fold import Runs
from millrace.runs.mlflow import ID_TAG, VALUE_MAX, exported
from tests.runs.made import BEGAN_MS, began, decided, event, progressed, succeeded

FILES = {
    "history.csv": b"step,train_loss,validation_loss\n10,0.5,0.6\n20,0.25,0.5\n",
    "importances.csv": b"feature,loss_increase,share\nx,0.5,1\n",
}


def test_a_run_has_its_tags_parameters_and_metrics() -> None:
    """By what it was caused, what it had, what was chosen and how good it is beside the champion."""
    run = Runs([began(), succeeded(), decided()]).find("run-a")
    said = exported(run, FILES)

    assert ("tiny", "run-a", "FINISHED", BEGAN_MS, BEGAN_MS + 10_000) == (
        said.experiment, said.name, said.status, said.start_ms, said.end_ms,
    )  # fmt: skip
    assert ("run-a", "2", "DRIFT", "retrain-1", "f", "b" * 64) == tuple(
        said.tags[name] for name in (
            ID_TAG, "millrace.version", "millrace.trigger", "millrace.caused_by", "millrace.feature_set",
            "millrace.rows_sha256",
        )
    )  # fmt: skip
    assert "tiny-samples/0/3-90" == said.tags["millrace.ranges"]
    assert "slice" == said.tags["millrace.checks_failed"]
    assert {"family": "tree", "window": "last:60", "seed": "7", "depth": "3", "kind": "gini"} == said.params
    final = {one.key: one.value for one in said.metrics}
    assert (0.875, 0.75, 0.5, 1.0, 0.3) == tuple(
        final[key] for key in ("accuracy", "champion_accuracy", "baseline_majority", "importance/x", "check/slice")
    )
    assert FILES == said.files


def test_the_history_has_a_point_for_each_step() -> None:
    """In order of time as well as of steps, all before the end; what was told while it worked by its own time."""
    run = Runs([began(), progressed(1, loss=3.0), progressed(2, loss=1.0), succeeded()]).find("run-a")
    metrics = exported(run, FILES).metrics

    losses = [(one.step, one.value) for one in metrics if one.key == "train_loss"]
    assert [(10, 0.5), (20, 0.25)] == losses
    times = [one.timestamp for one in metrics if one.key == "train_loss"]
    assert times == sorted(set(times))
    assert BEGAN_MS + 10_000 >= max(one.timestamp for one in metrics)
    told = [(one.timestamp, one.step, one.value) for one in metrics if one.key == "progress/fitting/loss"]
    assert [(BEGAN_MS + 1000, 0, 3.0), (BEGAN_MS + 2000, 1, 1.0)] == told


def test_a_run_under_way_or_failed_says_so() -> None:
    """The first has no end, the second its reason."""
    running = exported(Runs([began()]).find("run-a"), {})
    failed = exported(Runs([event(status="FAILED", error="out of memory")]).find("run-a"), {})

    assert ("RUNNING", None) == (running.status, running.end_ms)
    assert ("FAILED", "out of memory") == (failed.status, failed.tags["millrace.error"])
    assert "out of memory" in failed.tags["mlflow.note.content"]


def test_what_mlflow_would_refuse_is_put_right() -> None:
    """Names with other letters, values that are too long, and what is no number."""
    metrics = {"slice x<3": 0.5, "log_loss": float("inf"), "mae": float("nan")}
    run = Runs([succeeded(params={"a[b]=c": "1" * 9000}, metrics=metrics)]).find("run-a")
    said = exported(run, {})

    assert VALUE_MAX == len(said.params["a_b__c"])
    keys = {one.key for one in said.metrics}
    assert "slice x_3" in keys
    assert not {"log_loss", "mae"} & keys
