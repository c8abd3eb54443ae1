"""What changes a lake's files or columns: compaction, deletion, new fields, checkpoints, vacuum. None of it a row."""

import math
import time

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from millrace.contracts.errors import MillraceError
from millrace.stores.lake import COLUMNS, Lake
from tests.stores.lake_rows import DAILY, EPOCH_MS, HOUR_MS, places, raised, rows, span


def test_compaction_changes_files_and_no_rows(make):
    """An append that began before it goes through after it."""
    lake, slow = make(), make(reached=lambda place: compacted.append(lake.compact()) if "between" in place else None)
    compacted: list[bool] = []
    for number in range(6):
        version = lake.append(rows(0, [number]), 0, number, number + 1)
    slow.append(rows(0, [6]), 0, 6, 7)
    files = DeltaTable(lake.uri, storage_options=lake._store.options).file_uris()

    assert [True] == compacted
    assert 2 == len(files)
    assert [(0, offset) for offset in range(7)] == places(lake.read([span(0, 0, 7)]))
    assert [(0, offset) for offset in range(6)] == places(lake.read([span(0, 0, 6)], version))
    assert 7 == lake.position(0)


def test_there_may_be_nothing_to_compact(make):
    """No table, no rows, one file for each day, or files that were merged before."""
    lake = make()
    done = [lake.compact()]
    lake.append(COLUMNS.empty_table(), 0, 0, 1)
    done.append(lake.compact())
    lake.append(rows(0, range(1, 50)), 0, 1, 50)
    done.append(lake.compact())
    version = lake.append(rows(0, range(50, 58)), 0, 50, 58)
    done += [lake.compact(), lake.compact()]

    assert [False, False, False, True, False] == done
    assert (version + 1, "COMPACT") == (lake.version(), lake.history()[0].operation)


@pytest.mark.parametrize("first", ["compact", "delete"])
@pytest.mark.parametrize("second", ["compact", "delete"])
def test_two_changes_of_the_same_files_do_not_both_count(make, first, second):
    """Each began before the other was done: no row is there twice, and none that was deleted is back."""
    lake, begun = make(), []

    def change(lake: Lake, what: str) -> None:
        lake.compact() if what == "compact" else lake.delete_entity("who'1")

    def reached(place: str) -> None:
        if place.startswith("lake.before-") and not begun:
            begun.append(place)
            change(lake, first)

    for number in range(8):
        lake.append(rows(0, [number]), 0, number, number + 1)
    change(make(reached=reached), second)
    left = [offset for offset in range(8) if offset % 4 != 1 or "delete" not in {first, second}]

    assert 1 == len(begun)
    assert [(0, offset) for offset in left] == places(lake.read([span(0, 0, 8)]))


def test_an_entity_is_deleted_from_the_newest_version_on(make):
    """Its rows are counted; where they had come from is known before; older versions still have them."""
    lake = make()
    first = lake.append(rows(0, range(8)), 0, 0, 8)
    lake.append(rows(1, [1, 2]), 1, 0, 3)
    third = lake.append(rows(0, range(8, 16)), 0, 8, 16)
    brought = lake.versions("who'3")
    deleted = lake.delete_entity("who'3")
    left = lake.read([span(0, 0, 16)], columns=["entity"]).column("entity").to_pylist()

    assert ((first, third), 4) == (brought, deleted)
    assert ["who'0", "who'1", "who'2"] * 4 == left
    assert 16 == lake.read([span(0, 0, 16)], third).num_rows
    assert ((), 0) == (lake.versions("who'3"), lake.delete_entity("who'3"))
    assert 16 == lake.position(0)


def test_a_deletion_holds_although_rows_are_being_appended(make):
    """The append in hand was made from a state that still had the rows; neither undoes the other."""
    lake = make()
    lake.append(rows(0, range(8)), 0, 0, 8)
    slow = make(reached=lambda place: lake.delete_entity("who'1") if "between" in place else None)
    slow.append(rows(0, range(8, 10)), 0, 8, 10)

    assert [(0, offset) for offset in (0, 2, 3, 4, 6, 7, 8, 9)] == places(lake.read([span(0, 0, 10)]))


def test_new_columns_appear_and_none_changes_its_type(make):
    """Rows from before have null there; another type, or a name in another case, has a column of its own."""
    lake = make()
    lake.append(rows(0, [0], size=[1]), 0, 0, 1)
    lake.append(rows(0, [1], size=[2.5], Size=["big"]), 0, 1, 2)
    lake.append(rows(0, [2], size=[7], tags=[["a", "b"]]), 0, 2, 3)
    found = lake.read([span(0, 0, 3)])

    assert [1, None, 7] == found.column("raw_size").to_pylist()
    assert [None, 2.5, None] == found.column("raw_size__double").to_pylist()
    assert [None, "big", None] == found.column("raw_Size__string").to_pylist()
    assert [None, None, ["a", "b"]] == found.column("raw_tags").to_pylist()


def test_other_readers_find_rows_by_any_column(make):
    """Whatever the statistics say or leave out: long texts, NaN, bytes, columns of nulls."""
    lake = make()
    long = "x" * 40
    values = {
        "text": [long + "a", None, long + "z", "\U0001f600" * 50], "number": [1.5, 1e300, -2.0, None],
        "nan": [math.nan, 7.0, None, -1.0], "count": [2**62, None, -(2**62), 0], "flag": [True, None, False, True],
        "bytes": [b"\xff", None, b"", b"a"], "list": [[1], None, [], [2]], "none": pa.nulls(4, pa.string()),
    }  # fmt: skip
    lake.append(rows(0, range(4), **values), 0, 0, 4)
    lake.append(rows(0, range(4, 8)), 0, 4, 8)
    table = DeltaTable(lake.uri, storage_options=lake._store.options)
    everything = table.to_pyarrow_table()
    sought = 0
    for name in set(everything.column_names) - {"features", "raw_list"}:
        for value in set(everything.column(name).to_pylist()) - {None}:
            if value == value:  # noqa: PLR0124  # not NaN, which equals nothing
                wanted = sum(one == value for one in everything.column(name).to_pylist())
                assert (name, value, wanted) == (
                    name,
                    value,
                    table.to_pyarrow_table(filters=[(name, "=", value)]).num_rows,
                )
                sought += 1

    assert sought > 60


def test_a_long_history_is_read_from_a_checkpoint(tmp_path):
    """Positions are in it, and versions from before it stay readable."""
    lake = Lake(tmp_path, "tiny", DAILY)
    for number in range(102):
        lake.append(rows(0, [number]), 0, number, number + 1)
    fresh = Lake(tmp_path, "tiny", DAILY)

    assert 1 == len(list(tmp_path.glob("tiny/_delta_log/*.checkpoint.parquet")))
    assert (0, 102) == (fresh.begin(0), fresh.position(0))
    assert 50 == fresh.read([span(0, 0, 50)], 50).num_rows
    assert 102 == len([commit for commit in fresh.history() if commit.rows == 1])


def test_history_tells_what_each_version_brought(make):
    """The newest first."""
    lake = make()
    lake.append(rows(0, range(4)), 0, 0, 5)
    lake.append(rows(1, range(3)), 1, 0, 3)
    newest, before, made = lake.history()

    assert (2, 1, 0, 3, 3) == (newest.version, newest.partition, newest.from_offset, newest.until_offset, newest.rows)
    assert (1, 0, 0, 5, 4) == (before.version, before.partition, before.from_offset, before.until_offset, before.rows)
    assert (0, None, None) == (made.version, made.partition, made.rows)
    assert newest.at_ms >= before.at_ms >= made.at_ms > EPOCH_MS


def test_vacuum_takes_orphans_only(make):
    """What a writer left that died before its commit; nothing that any version names, and nothing that is new."""

    class DiedError(MillraceError):
        """The process is gone."""

    def die(place: str) -> None:
        if place == "lake.between-write-and-commit":
            raise DiedError

    lake = make()
    lake.append(rows(0, range(3)), 0, 0, 3)
    raised(DiedError, make(reached=die).append, rows(0, range(3, 40)), 0, 3, 40)
    lake.append(rows(0, range(3, 6)), 0, 3, 6)
    lake.compact()
    now_ms = time.time_ns() // 1_000_000
    kept = lake.vacuum(now_ms - HOUR_MS)
    taken = lake.vacuum(now_ms + HOUR_MS)

    assert [] == kept
    assert 3 == len({path.split("/")[0] for path in taken})  # one for each of the days
    assert {"0-3-40"} == {path.split("/")[1].rpartition("-")[0] for path in taken}
    assert [] == lake.vacuum(now_ms + HOUR_MS)
    for version in range(lake.version() + 1):
        until = lake._position(lake._store.open(version), 0)
        assert until is None or until == lake.read([span(0, 0, until)], version).num_rows
