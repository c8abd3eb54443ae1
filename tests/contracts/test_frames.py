"""Frames: what is written is read back, and what is no frame is refused."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.contracts.errors import UndecodableError
from millrace.contracts.frames import decode_frame, encode_frame, feature_names, is_reserved, score_names


def columns(rows: int = 3, **changes: Any) -> dict[str, Any]:
    """Columns of a valid frame, some of them replaced."""
    plain: dict[str, Any] = {
        "price": np.linspace(0.0, 1.0, rows),
        "offset": np.arange(10, 10 + rows),
        "is_label": np.arange(rows) % 2 == 1,
        "event_id": [f"nsw-{row}" for row in range(rows)],
        "time_ms": np.arange(rows) * 1000,
        "version": np.ones(rows, np.int32),
        "value": np.ones(rows),
        "label": np.full(rows, np.nan),
        "score_0": np.zeros(rows),
        "score_1": np.ones(rows),
    }
    return plain | changes


def test_a_frame_reads_back_as_it_was_written() -> None:
    """Every value survives, NaN included, whatever order the columns were given in."""
    written = columns(price=np.array([0.5, np.nan, 1.0]))

    read = decode_frame(encode_frame(written))

    assert set(written) == set(read)
    for name, values in written.items():
        np.testing.assert_array_equal(values, read[name])


def test_columns_come_in_the_documented_order() -> None:
    """Fixed columns, scores by class index (10 after 9), then features in the order given."""
    scores = {f"score_{index}": [0.0] for index in (10, 2, 0, 1)}

    read = decode_frame(encode_frame(columns(1, **scores, day=[1.0])))

    assert score_names(read) == ["score_0", "score_1", "score_2", "score_10"]
    assert feature_names(read) == ["price", "day"]
    assert list(read)[:7] == ["offset", "is_label", "event_id", "time_ms", "version", "value", "label"]


def test_none_in_a_float_column_reads_as_nan() -> None:
    """Null and NaN are the same to a reader."""
    assert np.isnan(decode_frame(encode_frame(columns(1, label=[None])))["label"]).all()


def test_the_same_columns_give_the_same_bytes() -> None:
    """A repeated micro-batch is the same record."""
    assert encode_frame(columns()) == encode_frame(columns())


def test_an_empty_frame_is_a_frame() -> None:
    """No rows are allowed: a batch may hold nothing that concerns this model."""
    assert decode_frame(encode_frame(columns(0)))["event_id"] == []


def test_what_is_read_cannot_be_changed() -> None:
    """Arrays are views of the record's bytes, so writing to them is refused."""
    with pytest.raises(ValueError, match="read-only"):
        decode_frame(encode_frame(columns()))["value"][0] = 2.0  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["offset", "is_label", "event_id", "time_ms", "version", "value", "label"])
def test_a_missing_fixed_column_is_refused_at_writing(name: str) -> None:
    """The error names the column."""
    without = {key: value for key, value in columns().items() if key != name}

    with pytest.raises(ValueError, match=name):
        encode_frame(without)


@pytest.mark.parametrize(
    "wrong", [{"offset": [1]}, {"event_id": ["a", None, "c"]}, {"version": ["one", "2", "3"]}, {"price": ["x"] * 3}]
)
def test_columns_that_do_not_fit_are_refused_at_writing(wrong: dict[str, Any]) -> None:
    """Another length, a null where none may be, another type."""
    with pytest.raises(ValueError, match=r"frame|null"):
        encode_frame(columns(**wrong))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _bad_frames() -> dict[str, bytes]:
    good = encode_frame(columns())
    with pa.ipc.open_stream(good) as reader:
        table = reader.read_all()
    return {
        "empty": b"",
        "garbage": b"\x00" * 50,
        "cut in the header": good[:100],
        "cut in the data": good[: len(good) - 200],
        "a column less": _stream(table.drop_columns(["version"])),
        "another type": _stream(table.set_column(4, "version", pa.array([1, 2, 3], pa.int64()))),
        "text feature": _stream(table.append_column("word", pa.array(["a", "b", "c"]))),
        "null id": _stream(table.set_column(2, "event_id", pa.array(["a", None, "c"]))),
        "a column twice": _stream(table.append_column("price", pa.array([1.0, 2.0, 3.0]))),
        "two batches": _stream(pa.concat_tables([table, table])),
    }


@pytest.mark.parametrize("case", _bad_frames())
def test_what_is_no_frame_is_refused_at_reading(case: str) -> None:
    """Every kind of damage is a contract error, never an exception of the library."""
    with pytest.raises(UndecodableError):
        decode_frame(_bad_frames()[case])


def test_reserved_names_are_known() -> None:
    """A feature called like a column of the frame would overwrite it, so a project can ask beforehand."""
    assert [is_reserved("label"), is_reserved("score_12"), is_reserved("score_x")] == [True, True, False]
