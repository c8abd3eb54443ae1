"""Observations to watch: made from a seed, as rows, as frames, or cut into frames at any place."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from millrace.contracts.events import ObservationsRecorded
from millrace.contracts.frames import encode_frame
from services.monitor.frames import Rows, read_rows


@dataclass(frozen=True)
class Line:
    """One row: an event if ``label`` is None, else a label."""

    event_id: str
    label: float | None = None
    value: float = 1.0
    version: int = 1
    price: float = 0.5
    scores: tuple[float, ...] = ()
    time_ms: int | None = None


def observed(lines: Sequence[Line], first_offset: int = 0) -> ObservationsRecorded:
    """The lines as one frame of partition 0; event time is the offset in seconds unless said."""
    rows = len(lines)
    columns: dict[str, Any] = {
        "offset": np.arange(first_offset, first_offset + rows),
        "is_label": [line.label is not None for line in lines],
        "event_id": [line.event_id for line in lines],
        "time_ms": [
            1000 * (first_offset + row) if line.time_ms is None else line.time_ms for row, line in enumerate(lines)
        ],
        "version": [0 if line.label is not None else line.version for line in lines],
        "value": [np.nan if line.label is not None else line.value for line in lines],
        "label": [np.nan if line.label is None else line.label for line in lines],
        "price": [np.nan if line.label is not None else line.price for line in lines],
    }
    classes = max((len(line.scores) for line in lines), default=0)
    for index in range(classes):
        columns[f"score_{index}"] = [line.scores[index] if line.scores else np.nan for line in lines]
    return ObservationsRecorded(
        model="m",
        partition=0,
        from_offset=first_offset,
        until_offset=first_offset + rows,
        epoch=1,
        rows=rows,
        frame=encode_frame(columns),
        recorded_at_ms=0,
    )


def lines_of(errors: Sequence[bool], versions: Sequence[int] | int = 1, price: float | None = None) -> list[Line]:
    """An event and its label, one after the other, for each error."""
    prices = np.random.default_rng(1).random(len(errors)) if price is None else np.full(len(errors), price)
    lines = []
    for number, wrong in enumerate(errors):
        version = versions if isinstance(versions, int) else versions[number]
        lines.append(Line(f"e{number}", version=version, price=float(prices[number])))
        lines.append(Line(f"e{number}", label=0.0 if wrong else 1.0))
    return lines


def cut(lines: Sequence[Line], cuts: Sequence[int]) -> list[ObservationsRecorded]:
    """The lines as frames that end at these places."""
    places = sorted({0, len(lines), *(place for place in cuts if 0 < place < len(lines))})
    return [observed(lines[begin:end], begin) for begin, end in itertools.pairwise(places)]


@dataclass(frozen=True)
class Make:
    """What tests build observations with."""

    line: type[Line] = Line
    observed: Callable[..., ObservationsRecorded] = observed
    lines_of: Callable[..., list[Line]] = lines_of
    cut: Callable[..., list[ObservationsRecorded]] = cut

    def rows(self, lines: Sequence[Line], first_offset: int = 0) -> Rows:
        """The lines as the monitor works on them."""
        return read_rows(observed(lines, first_offset))


@pytest.fixture(scope="session")
def make() -> Make:
    """Builders of observations."""
    return Make()
