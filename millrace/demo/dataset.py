"""A file with history as rows of events and labels, checked as a whole before anything is sent.

Columns named like fields of the event are taken as they are; what the file lacks is made as ``dataset`` in model.yaml
says. A CSV is read as text and every column converted once to what its field needs, so that the first value that does
not fit is found, with its row, before the first event leaves. Rows are counted from 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project
from millrace.contracts.sections import Dataset
from millrace.demo.columns import convert, is_nullable

SLICE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file: the event as a record of its schema, and its label if the truth is known."""

    number: int
    entity: str
    event_id: str
    event: Mapping[str, Any]
    label: float | str | None
    label_time_ms: int


class DatasetFile:
    """A CSV (plain or .gz) or Parquet file, read and checked against the project.

    Raises:
        ProjectError: what is wrong, with the row, the column and the value seen.
    """

    def __init__(self, project: Project, path: Path | None = None) -> None:
        if project.dataset is None:
            raise ProjectError(
                f"{project.folder / 'model.yaml'} has no section dataset; it must name file and label_column at least"
            )
        self._project = project
        self._made = project.dataset
        self.path = path or project.folder / project.dataset.file
        table = _read(self.path)
        self.rows = table.num_rows
        self._events = {field["name"]: self._event_column(table, field) for field in project.event_schema["fields"]}
        self._labels = self._label_column(table)

    def slice(self, start: int, stop: int) -> Iterator[Row]:
        """The rows from ``start`` up to ``stop`` (exclusive), in order."""
        for begin in range(start, min(stop, self.rows), SLICE_ROWS):
            yield from self._rows(begin, min(begin + SLICE_ROWS, stop, self.rows))

    def _rows(self, begin: int, end: int) -> Iterator[Row]:
        fields = self._project.event
        columns = {name: column[begin:end].to_pylist() for name, column in self._events.items() if column is not None}
        delay_ms = self._project.label.delay_s * 1000
        for at, number in enumerate(range(begin, end)):
            event = {name: values[at] for name, values in columns.items()}
            time_ms = event[fields.time] * self._project.time_to_ms
            yield Row(
                number,
                str(event[fields.entity]),
                str(event[fields.id]),
                event,
                self._labels[number],
                round(time_ms + delay_ms),
            )

    def _event_column(self, table: pa.Table, field: Mapping[str, Any]) -> pa.Array | None:
        """The values of one field, None where its default in the schema shall do."""
        name = field["name"]
        if name in table.column_names:
            column = convert(table[name].combine_chunks(), field, self.path)
        else:
            column = self._make(name, field, table)
        if column is None:
            return None
        identifies = name in (self._project.event.id, self._project.event.entity, self._project.event.time)
        if column.null_count and (identifies or not is_nullable(field)):
            row = pc.index(pc.is_null(column), value=True).as_py()
            raise ProjectError(f"{self.path}, row {row}, column {name!r}: it is empty, but every event needs it")
        return column

    def _make(self, name: str, field: Mapping[str, Any], table: pa.Table) -> pa.Array | None:
        fields, made = self._project.event, self._made
        if name == fields.id:
            return pa.array([f"{made.id_prefix}{row}" for row in range(self.rows)], pa.string())
        if name == fields.entity and made.entity is not None:
            return pa.repeat(pa.scalar(made.entity), self.rows)
        if name == fields.time and made.start is not None and made.every_s is not None:
            return self._times(made)
        if "default" in field and name not in (fields.entity, fields.time):
            return None
        ways = {
            fields.entity: "; or set dataset.entity in model.yaml",
            fields.time: "; or set dataset.start and dataset.every_s in model.yaml",
        }
        raise ProjectError(
            f"{self.path} lacks the column {name!r}, it has {table.column_names}; every event needs it"
            + ways.get(name, ", or a default in the event's schema")
        )

    def _times(self, made: Dataset) -> pa.Array:
        assert made.start is not None and made.every_s is not None, "the caller has looked"  # noqa: PT018 - one fact
        start = made.start if made.start.tzinfo else made.start.replace(tzinfo=UTC)
        start_ms, every_ms, to_ms = start.timestamp() * 1000, made.every_s * 1000, self._project.time_to_ms
        return pa.array([round((start_ms + row * every_ms) / to_ms) for row in range(self.rows)], pa.int64())

    def _label_column(self, table: pa.Table) -> list[float | str | None]:
        """The truths as they are sent: the name of a class, or a number."""
        name = self._made.label_column
        if name not in table.column_names:
            raise ProjectError(
                f"{self.path} lacks the column {name!r}, it has {table.column_names}; "
                "dataset.label_column in model.yaml names the one that holds the truth"
            )
        known: dict[Any, float | str | None] = {None: None}
        labels: list[float | str | None] = []
        for row, value in enumerate(table[name].to_pylist()):
            if value not in known:
                known[value] = self._label(value, f"{self.path}, row {row}, column {name!r}")
            labels.append(known[value])
        return labels

    def _label(self, value: Any, where: str) -> float | str:
        label = self._project.label
        if isinstance(value, str) and value in label.classes:
            return value
        try:
            number = float(value)
            label.to_number(number)
        except (TypeError, ValueError):
            wanted = f"one of {list(label.classes)} or an index of them" if label.classes else "a number"
            raise ProjectError(f"{where}: the label is {value!r}, {wanted} is needed") from None
        return number


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix in {".parquet", ".pq"}:
            return parquet.read_table(path)
        with csv.open_csv(path) as reader:
            names = reader.schema.names
        as_text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
        return csv.read_csv(path, convert_options=as_text)
    except OSError as error:
        raise ProjectError(f"{path} cannot be read: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is no CSV (plain or .gz) and no .parquet file: {error}") from error
