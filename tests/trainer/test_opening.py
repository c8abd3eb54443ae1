"""How a run is opened where a search, a drift or a file from elsewhere is in it."""

from dataclasses import replace

import pytest

from millrace.contracts.training_policy import Search
from services.trainer import core, opening
from services.trainer.train.window import Row, Window
from tests.trainer.test_core import POLICY, folded, judged, request, run, snapshot, window

SINCE = replace(POLICY, training=POLICY.training.model_copy(update={"search": Search(windows=("last", "since_drift"))}))


def importing(sample=None, file="f" * 64):
    """A request to judge a file, as a decision."""
    asked = request("i").model_copy(update={"import_sha256": file, "sample_sha256": sample, "reason": "OPERATOR"})
    return core.decide(folded(asked), POLICY, 0)


@pytest.mark.parametrize(("since_ms", "expected"), [(None, None), (0, 0), (30, 30), (79, 79), (80, None), (999, None)])
def test_the_first_row_since_the_drift(since_ms, expected):
    """A place among the training rows; none if all of them are older. Held-out rows are the last 20."""
    assert expected == opening.since_drift(SINCE, window(100), since_ms)


def test_the_drift_is_part_of_the_run_only_where_the_search_looks_at_it():
    """Another window since the drift may be another model, so it is another run."""
    begins = [core.Begin("DRIFT", "a", {}, 80, since_time_ms=since) for since in (None, 30, 40, 999)]
    ids = [opening.open_or_refuse(folded(), SINCE, begin, window(100), 1).run_id for begin in begins]
    assert ids[0] == ids[3]
    assert 3 == len(set(ids))
    assert 1 == len({opening.open_or_refuse(folded(), POLICY, begin, window(100), 1).run_id for begin in begins})


def rows_at(times):
    """A window of rows at these times."""
    return Window((), tuple(Row(time, 0, at, (0.0,), 0.0) for at, time in enumerate(times)))


@pytest.mark.parametrize(
    ("times", "delay_s", "asked", "expected"),
    [
        (range(0, 100_000, 1000), 0.0, None, 0),
        (range(0, 100_000, 1000), 1.0, None, 1),
        (range(0, 100_000, 1000), 2.5, None, 3),
        (range(0, 100_000, 1000), 999.0, None, 20),
        (range(0, 100_000, 1000), 999.0, 7, 7),
        ([5] * 100, 1.0, None, 20),
        ([], 1.0, None, 0),
    ],
)
def test_how_many_rows_a_label_is_late(times, delay_s, asked, expected):
    """At the median distance, a quarter of the training rows at most; the search's own word comes first."""
    policy = SINCE if asked is None else replace(
        POLICY, training=POLICY.training.model_copy(update={"search": Search(gap_rows=asked)})
    )  # fmt: skip
    assert expected == opening.gap_rows(policy, rows_at(times), delay_s)


def test_a_file_with_enough_rows_is_judged_on_them():
    """It is a run like any other, with the file in its id and no training."""
    opened = opening.open_or_refuse(folded(), POLICY, importing(), window(25), 1)
    assert ("STARTED", "imported", 5, 20) == (opened.status, opened.source, opened.train_rows, opened.holdout_rows)
    other = opening.open_or_refuse(folded(), POLICY, importing(file="e" * 64), window(25), 1)
    sampled = opening.open_or_refuse(folded(), POLICY, importing(sample="s"), window(25), 1)
    plain = opening.run_id_of(POLICY, window(25).ranges)
    assert 4 == len({opened.run_id, other.run_id, sampled.run_id, plain})


def test_a_file_without_rows_is_judged_on_its_sample_or_refused():
    """What little there is in the log is left alone."""
    opened = opening.open_or_refuse(folded(), POLICY, importing(sample="s"), window(19), 1)
    assert ("STARTED", (), 0, None) == (opened.status, opened.ranges, opened.holdout_rows, opened.rows_sha256)
    refused = opening.open_or_refuse(folded(), POLICY, importing(), window(19), 1)
    assert ("FAILED", "only 19 labelled rows and no sample of records; 20 rows or a sample are needed") == (
        refused.status,
        refused.error,
    )


def test_the_same_file_on_the_same_rows_is_judged_once():
    """A second request is answered, and there is no second version."""
    opened = opening.open_or_refuse(folded(), POLICY, importing(sample="s"), window(0), 1)
    done = folded(opened, opened.model_copy(update={"status": "SUCCEEDED"}))
    again = opening.open_or_refuse(done, POLICY, importing(sample="s"), window(0), 2)
    assert "FAILED" == again.status
    assert f"{opened.run_id} has already judged this file" in again.error


def test_an_import_covers_no_request_and_is_covered_by_none():
    """Each file is judged, and a drift is trained on although a file was judged meanwhile."""
    opened = opening.open_or_refuse(folded(), POLICY, importing(sample="s"), window(30), 100)
    done = [opened, opened.model_copy(update={"status": "SUCCEEDED"})]
    assert "d" == core.decide(folded(request("d", mark=10), *done), POLICY, 0).caused_by
    file = request("j", at_ms=1).model_copy(update={"import_sha256": "e" * 64})
    trained = [run("STARTED", at_ms=50), run("SUCCEEDED")]
    assert "j" == core.decide(folded(file, *trained), POLICY, 0).caused_by


def test_a_veto_on_the_newest_rows_forbids_the_run():
    """What it was started for is bad; a veto further back has only cost some rows."""
    started = run("STARTED", until=200)
    assert () == opening.forbidden(folded(judged(10, 50)), started)
    assert () == opening.forbidden(folded(judged(200, 250)), started)
    (why,) = opening.forbidden(folded(judged(150, 250)), started)
    assert "the newest rows of partition 0, offsets 150 to 200, are vetoed" == why


def test_a_veto_that_comes_while_the_run_is_open_ends_it():
    """One that was known at the start is in the event, and none of its rows is among those of the fit."""
    before = folded(snapshot(100), judged(10, 50))
    started = opening.open_or_refuse(before, POLICY, core.Begin("DRIFT", "a", {}, 80), window(100), 1)
    assert opening.vetoed_since(before, started) is None
    after = core.evolve(before, judged(60, 70))
    assert "offsets 60 to 70, were found bad while" in opening.vetoed_since(after, started)
