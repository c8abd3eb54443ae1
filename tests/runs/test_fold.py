"""Runs are put together from their events."""

import pytest

from millrace.runs.fold import Runs, RunUnknownError, sparkline
from tests.runs.made import BEGAN_MS, began, decided, event, progressed, succeeded


def test_a_run_has_its_progress_its_end_and_what_the_registry_made_of_it() -> None:
    """Whatever the order of the topics: versions may be read before runs."""
    events = [began(), progressed(1, loss=3.0), progressed(2, loss=1.0), succeeded()]
    for order in ([*events, decided()], [decided(), *events]):
        run = Runs(order).find("run-a")

        assert ("SUCCEEDED", True, BEGAN_MS, 1, 2) == (
            run.last.status, run.ended, run.began_ms, run.attempts, run.version,
        )  # fmt: skip
        assert [3.0, 1.0] == run.series()["loss"]
        assert ("version 2 REGISTERED", ("it is better",)) == (run.decision, run.reasons)
        assert run.last.progress is None


def test_a_run_under_way_says_how_far_it_is() -> None:
    """It has no decision, and its newest event besides progress is its beginning."""
    run = Runs([began(), progressed(1, loss=3.0)]).find("run-a")

    assert ("STARTED", False, "", None) == (run.last.status, run.ended, run.decision, run.version)
    assert "waits for the registry" == Runs([began(), succeeded()]).find("run-a").decision
    promoted = decided(status="PROMOTED").model_copy(update={"space": "test"})
    assert "version 2 PROMOTED in test" == Runs([succeeded(), decided(), promoted]).find("run-a").decision
    assert "REJECTED" == Runs([succeeded(), decided(version=None, status="REJECTED")]).find("run-a").decision


def test_a_run_that_is_begun_again_shows_its_newest_attempt() -> None:
    """A failed run keeps its id when the same inputs are tried once more."""
    failed = event(status="FAILED", error="out of memory")
    later_ms = BEGAN_MS + 60_000
    run = Runs([began(), progressed(1, loss=3.0), failed, began(at_ms=later_ms)]).find("run-a")

    assert (2, later_ms, []) == (run.attempts, run.began_ms, run.progress)
    assert "STARTED" == run.last.status


def test_progress_without_a_beginning_is_a_run() -> None:
    """Another process may have cut the log; the beginning follows from how long it took."""
    run = Runs([progressed(4, loss=1.0)]).find("run-a")

    assert (BEGAN_MS, False, 1) == (run.began_ms, run.ended, len(run.progress))


def test_runs_are_listed_newest_first_and_by_model() -> None:
    """And another model's are left out."""
    runs = Runs([began("run-a"), began("run-b", BEGAN_MS + 5), began("run-c", BEGAN_MS + 9, model="other")])

    assert ["run-c", "run-b", "run-a"] == [run.run_id for run in runs.of()]
    assert ["run-b", "run-a"] == [run.run_id for run in runs.of("tiny")]


def test_a_run_is_found_by_the_beginning_of_its_id() -> None:
    """If only one begins so; else the message names what there is."""
    runs = Runs([began("run-ab"), began("run-ac"), began("run-a")])

    assert "run-ab" == runs.find("run-ab").run_id
    assert "run-a" == runs.find("run-a").run_id
    with pytest.raises(RunUnknownError, match="begins the ids of 3 runs: run-a, run-ab, run-ac"):
        runs.find("run-")
    with pytest.raises(RunUnknownError, match="no run 'nonsense' among 3"):
        runs.find("nonsense")


def test_a_sparkline_is_as_wide_as_it_may_be() -> None:
    """Its first and last value are drawn; equal values are a flat line, none an empty one."""
    drawn = sparkline([float(value) for value in range(1000)], width=20)

    assert (20, "▁", "█") == (len(drawn), drawn[0], drawn[-1])
    assert "▁▁▁" == sparkline([2.0, 2.0, 2.0])
    assert "" == sparkline([])
