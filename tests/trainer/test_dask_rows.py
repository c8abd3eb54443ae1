"""What a Dask worker reads from the lake is what the trainer has read from the log, byte for byte, or an error."""

import time

import pytest

from millrace.contracts.events import OffsetRange
from services.trainer.dask_reference import bare, digest
from services.trainer.dask_rows import BEHIND_S, read_rows
from services.trainer.train.task import FitError
from tests.trainer.dask_processes import Log
from tests.trainer.mill import project_with, task_of


@pytest.fixture
def log(tmp_path) -> Log:
    """Two hundred labelled events; nothing is in the lake yet."""
    return Log(tmp_path / "lake", "f" * 12, 200, 3, 50)


def read(log: Log, wait=lambda _seconds: pytest.fail("there is nothing to wait for"), clock=time.monotonic, **changes):
    """What a worker reads that is told of the log's training rows."""
    left_out = [(part.from_offset, part.until_offset) for part in changes.get("excluded", ())]
    wanted = log.rows(left_out)[0]
    rows = read_rows(log.reference(**changes), digest(wanted), log.lake, clock=clock, wait=wait)
    assert wanted.x.tobytes() == rows.x.tobytes()
    assert wanted.y.tobytes() == rows.y.tobytes()
    return rows


def part(low: int, high: int) -> OffsetRange:
    """Offsets that are left out."""
    return OffsetRange(topic="tiny-samples", partition=0, from_offset=low, until_offset=high)


def test_the_rows_are_those_of_the_log(log):
    """The same values in the same order, without the hold-out rows."""
    log.append(0, log.end)
    assert 150 == len(read(log).y)


def test_what_was_vetoed_is_left_out(log):
    """Events of excluded ranges are no rows here either."""
    log.append(0, log.end)
    assert 150 > len(read(log, excluded=(part(20, 40),)).y)


def test_the_runs_version_has_what_was_erased_since(log):
    """Rows removed from the newest version are still in that of the run."""
    version = log.append(0, log.end)
    assert log.end == log.lake.delete_entity("w")
    read(log, table_version=version)


def test_a_version_that_was_not_complete_is_passed_over(log):
    """A run may name a version that lacks its last rows; the newest has them."""
    version = log.append(0, 100)
    log.append(100, log.end)
    read(log, table_version=version)


def test_a_range_that_ends_after_the_last_record(log):
    """The marker of a transaction counts in the log, and is no row of the lake."""
    log.append(0, log.end)
    log.end += 1
    read(log)


def test_a_lake_that_is_behind_is_waited_for(log):
    """A run that was asked for just now: the rest of its rows is on the way."""
    log.append(0, 300)
    waits = []

    def wait(seconds):
        waits.append(seconds)
        log.append(300, log.end)

    read(log, wait)
    assert 1 == len(waits)


def test_other_rows_are_refused(log):
    """What is in the lake in place of the rows is said, once there is no use in waiting."""
    log.append(0, log.end)
    log.lake.delete_entity("w")
    now_s = [0.0]
    with pytest.raises(FitError, match=r"has not the rows that the run began with: 0 training rows in version the new"):
        read(log, lambda seconds: now_s.append(now_s.pop() + seconds), lambda: now_s[-1])
    assert BEHIND_S <= now_s[-1]


def test_a_bare_task_has_no_rows_and_no_files(tmp_path):
    """Neither training nor hold-out rows, nor the champion's file, are in what a worker is sent."""
    task = bare(task_of(project_with(tmp_path), champion=b"onnx", study="file"))
    assert (0, 0) == (len(task.train.y), len(task.holdout.y))
    assert (None, None) == (task.champion, task.study)
