"""Runs side by side."""

from millrace.runs.compare import compare
from millrace.runs.fold import Runs
from tests.runs.made import began, decided, event, succeeded


def test_what_differs_is_marked() -> None:
    """Parameters, metrics, checks and the decision; what one run has not is None there."""
    runs = Runs(
        [
            succeeded("run-a"), decided("run-a"), began("run-b"),
            succeeded("run-b", params={"depth": "5"}, metrics={"accuracy": 0.9, "rows": 20.0}, checks=()),
        ]
    )  # fmt: skip
    lines = {line.name: line for line in compare([runs.find("run-a"), runs.find("run-b")])}

    assert ("3", "5") == lines["params.depth"].values
    assert ('"gini"', None) == lines["params.kind"].values
    assert (0.875, 0.9) == lines["metrics.accuracy"].values
    assert ("failed 0.3", None) == lines["checks.slice"].values
    assert ("version 2 REGISTERED", "waits for the registry") == lines["decision"].values
    differing = {name for name, line in lines.items() if line.differs}
    assert {"params.depth", "params.kind", "metrics.accuracy", "checks.size", "checks.slice", "decision"} == differing


def test_what_no_run_has_is_left_out() -> None:
    """A failed run has neither metrics nor a choice."""
    names = {line.name for line in compare([Runs([event(status="FAILED", error="no")]).find("run-a")] * 2)}

    assert {"model", "error", "duration_s"} <= names
    assert not {"family", "config_hash", "artifact_sha256", "decision"} & names
