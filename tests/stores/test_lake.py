"""The lake: exactly once, one writer a partition, every version readable; in a folder and on a real S3 server."""

import contextlib
import threading
from datetime import UTC, datetime

import pytest

from millrace.contracts.errors import MillraceError
from millrace.stores.lake import (
    COLUMNS,
    Lake,
    LakeError,
    LakeFencedError,
    LakeGapError,
    LakeUnavailableError,
    s3_options,
)
from tests.stores.lake_rows import DAILY, EPOCH_MS, places, raised, row, rows, span


def test_what_was_appended_is_read(make):
    """Field for field, in the order of partition and offset, wherever the batches were cut."""
    lake = make()
    lake.append(rows(1, range(3)), 1, 0, 3)
    lake.append(rows(0, range(10, 40)), 0, 10, 40)
    version = lake.append(rows(1, [3, 5, 8]), 1, 3, 9)
    found = lake.read([span(0, 10, 40), span(1, 1, 9)])
    wanted = [(0, offset) for offset in range(10, 40)] + [(1, offset) for offset in (1, 2, 3, 5, 8)]

    def at(time_ms: int) -> datetime:
        return datetime.fromtimestamp(time_ms / 1000, UTC)

    times = {"time", "recorded", "source_time"}
    expected = [
        {name: at(value) if name in times else value for name, value in row(*place).items()} for place in wanted
    ]
    assert expected == found.select(COLUMNS.names).to_pylist()
    assert (9, 40, None) == (lake.position(1), lake.position(0), lake.position(2))
    assert (0, 10, None) == (lake.begin(1), lake.begin(0), lake.begin(2))
    assert version == lake.version()
    assert {"2020-09-13", "2020-09-14", "2020-09-15"} == set(found.column("period").to_pylist())


def test_a_lake_without_a_table_has_nothing(make):
    """And says so without making one."""
    lake = make()

    assert (None, None, []) == (lake.position(0), lake.version(), lake.history())
    assert 0 == lake.read_until(EPOCH_MS).num_rows == lake.read([]).num_rows == lake.delete_entity("w")
    assert "has nothing of partition 0" in str(raised(LakeGapError, lake.read, [span(0, 0, 1)]))
    assert lake.version() is None


def test_an_append_begins_where_the_table_ends(make):
    """Neither what is there already nor what would leave a gap is taken."""
    lake = make()
    lake.append(rows(0, range(5)), 0, 0, 5)

    assert "up to offset 5" in str(raised(LakeFencedError, lake.append, rows(0, range(5)), 0, 0, 5))
    assert "up to offset 5" in str(raised(LakeFencedError, lake.append, rows(0, range(3, 9)), 0, 3, 9))
    assert "leave rows out" in str(raised(LakeGapError, lake.append, rows(0, [6]), 0, 6, 7))
    assert [(0, offset) for offset in range(5)] == places(lake.read_until(EPOCH_MS * 2))


@pytest.mark.parametrize(("until", "fenced"), [(8, True), (11, False)])
def test_a_zombie_that_wakes_before_its_commit_is_fenced(make, until, fenced):
    """Its successor has appended meanwhile. If those were the very same rows, it may as well believe it was itself."""
    lake, slept = make(), []

    def reached(place: str) -> None:
        if place == "lake.between-write-and-commit":
            slept.append(lake.append(rows(0, range(5, until)), 0, 5, until))

    lake.append(rows(0, range(5)), 0, 0, 5)
    zombie = make(reached=reached)
    if fenced:
        raised(LakeFencedError, zombie.append, rows(0, range(5, 11)), 0, 5, 11)
    else:
        assert zombie.append(rows(0, range(5, 11)), 0, 5, 11) == lake.version()

    assert 1 == len(slept)
    assert [(0, offset) for offset in range(until)] == places(lake.read([span(0, 0, until)]))


def test_of_two_zombies_one_wins(make):
    """Both looked at the same state, wrote their files, and only then commit: one is in, the other is fenced."""
    both, results = threading.Barrier(2), []

    def reached(place: str) -> None:
        if place == "lake.between-write-and-commit":
            both.wait()

    def work(until: int) -> None:
        try:
            results.append(make(reached=reached).append(rows(0, range(5, until)), 0, 5, until))
        except LakeFencedError as error:
            results.append(error)

    make().append(rows(0, range(5)), 0, 0, 5)
    threads = [threading.Thread(target=work, args=[until]) for until in (8, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lake = make()
    until = lake.position(0)

    assert ["LakeFencedError", "int"] == sorted(type(result).__name__ for result in results)
    assert until in {8, 11}
    assert [(0, offset) for offset in range(until)] == places(lake.read([span(0, 0, until)]))


def test_many_writers_of_one_range_have_it_once(make):
    """Round after round, none of them twice and none of them not at all."""
    lake = make()
    for number in range(4):
        rivals, go = [make() for _ in range(4)], threading.Barrier(4)

        def work(rival: Lake, number: int = number, go: threading.Barrier = go) -> None:
            go.wait()
            with contextlib.suppress(LakeFencedError):
                rival.append(rows(0, range(number * 2, number * 2 + 2)), 0, number * 2, number * 2 + 2)

        threads = [threading.Thread(target=work, args=[rival]) for rival in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [(0, offset) for offset in range(8)] == places(lake.read([span(0, 0, 8)]))


def test_writers_of_different_partitions_do_not_fence_one_another(make):
    """Each commits although the others have since it looked; a first table is made by one of them."""
    go, errors = threading.Barrier(3), []

    def reached(place: str) -> None:
        if place == "lake.between-write-and-commit":
            go.wait()

    def work(partition: int) -> None:
        lake = make(reached=reached)
        try:
            for from_offset in (0, 4, 8):
                lake.append(
                    rows(partition, range(from_offset, from_offset + 4)), partition, from_offset, from_offset + 4
                )
        except MillraceError as error:
            errors.append(error)
            go.abort()

    threads = [threading.Thread(target=work, args=[partition]) for partition in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    everything = [(partition, offset) for partition in range(3) for offset in range(12)]
    assert everything == places(make().read([span(partition, 0, 12) for partition in range(3)]))


def test_a_range_that_the_table_lacks_is_refused(make):
    """Before its begin, beyond its end, or beyond the end that it had then."""
    lake = make()
    first = lake.append(rows(0, range(10, 20)), 0, 10, 20)
    lake.append(rows(0, range(20, 30)), 0, 20, 30)

    assert "offsets 10 to 30" in str(raised(LakeGapError, lake.read, [span(0, 9, 20)]))
    assert "offsets 10 to 30" in str(raised(LakeGapError, lake.read, [span(0, 10, 31)]))
    assert f"offsets 10 to 20 of partition 0 in version {first}" in str(
        raised(LakeGapError, lake.read, [span(0, 10, 21)], first)
    )
    assert "has the versions 0 to 2; 3 was asked for" in str(raised(LakeGapError, lake.read, [span(0, 10, 20)], 3))
    assert "0 to 2; -1 was asked for" in str(raised(LakeGapError, lake.read, [span(0, 10, 20)], -1))
    assert 10 == lake.read([span(0, 10, 20)], first).num_rows


def test_rows_that_are_not_of_the_range_are_refused(make):
    """Whoever appends has made a mistake, and the table stays as it is."""
    lake = make()
    for partition, offsets, bounds in ((1, [0], (0, 1)), (0, [1, 0], (0, 2)), (0, [3], (0, 3)), (0, [], (3, 3))):
        with pytest.raises(ValueError, match="rows are not of partition 0"):
            lake.append(rows(partition, offsets), 0, *bounds)
    assert "'raw_x'" not in str(raised(LakeError, lake.append, rows(0, [0]).drop_columns(["label"]), 0, 0, 1))
    assert 0 == lake.read_until(EPOCH_MS * 2).num_rows


def test_a_range_without_rows_moves_the_position_on(make):
    """Offsets that only markers of transactions have: nothing is missing there."""
    lake = make()
    lake.append(rows(0, range(3)), 0, 0, 3)
    lake.append(COLUMNS.empty_table(), 0, 3, 6)
    lake.append(rows(0, [6]), 0, 6, 7)

    assert [(0, 0), (0, 1), (0, 2), (0, 6)] == places(lake.read([span(0, 0, 7)]))
    assert 0 == lake.read([span(0, 3, 6)]).num_rows


def test_a_store_that_does_not_answer_may_answer_later():
    """The error says so by its type, and names the table."""
    options = {**s3_options(endpoint="http://127.0.0.1:9", key="k", secret="s"), "max_retries": "0"}
    lake = Lake("s3://bucket/lake", "tiny", DAILY, options)
    error = raised(LakeUnavailableError, lake.position, 0)

    assert error.retryable
    assert "s3://bucket/lake/tiny" in str(error)


def test_wrong_keys_are_not_taken_for_an_empty_lake(s3):
    """A lake that may not be looked at is not one that has nothing."""
    lake = Lake(s3.folder(), "tiny", DAILY, s3_options(endpoint=s3.endpoint, key="millrace-test", secret="wrong"))

    raised(LakeUnavailableError, lake.position, 0)
    raised(LakeUnavailableError, lake.append, rows(0, [0]), 0, 0, 1)
