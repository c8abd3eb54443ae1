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
    other_version: int = 0
    other_value: float = np.nan
    other_scores: tuple[float, ...] = ()


def observed(lines: Sequence[Line], first_offset: int = 0, **about: Any) -> ObservationsRecorded:
    """The lines as one frame of partition 0; event time is the offset in seconds unless said.

    ``about`` is what the event says besides: ``champion_version``, ``rollout_id`` and so on.
    """
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
    columns |= scores_of("score_", [line.scores for line in lines])
    if any(line.other_version for line in lines):
        columns["other_version"] = [line.other_version for line in lines]
        columns["other_value"] = [line.other_value for line in lines]
        columns |= scores_of("other_score_", [line.other_scores for line in lines])
    event = ObservationsRecorded(
        model="m",
        partition=0,
        from_offset=first_offset,
        until_offset=first_offset + rows,
        epoch=1,
        rows=rows,
        frame=encode_frame(columns),
        recorded_at_ms=0,
    )
    return event.model_copy(update=about)


def scores_of(prefix: str, scores: Sequence[tuple[float, ...]]) -> dict[str, list[float]]:
    """A column for each class, if any row has scores."""
    classes = max(map(len, scores), default=0)
    return {f"{prefix}{index}": [row[index] if row else np.nan for row in scores] for index in range(classes)}


def lines_of(errors: Sequence[bool], versions: Sequence[int] | int = 1, price: float | None = None) -> list[Line]:
    """An event and its label, one after the other, for each error."""
    prices = np.random.default_rng(1).random(len(errors)) if price is None else np.full(len(errors), price)
    lines = []
    for number, wrong in enumerate(errors):
        version = versions if isinstance(versions, int) else versions[number]
        lines.append(Line(f"e{number}", version=version, price=float(prices[number])))
        lines.append(Line(f"e{number}", label=0.0 if wrong else 1.0))
    return lines


def cut(lines: Sequence[Line], cuts: Sequence[int], **about: Any) -> list[ObservationsRecorded]:
    """The lines as frames that end at these places."""
    places = sorted({0, len(lines), *(place for place in cuts if 0 < place < len(lines))})
    return [observed(lines[begin:end], begin, **about) for begin, end in itertools.pairwise(places)]


@dataclass(frozen=True)
class Make:
    """What tests build observations with."""

    line: type[Line] = Line
    observed: Callable[..., ObservationsRecorded] = observed
    lines_of: Callable[..., list[Line]] = lines_of
    cut: Callable[..., list[ObservationsRecorded]] = cut

    def rows(self, lines: Sequence[Line], first_offset: int = 0, **about: Any) -> Rows:
        """The lines as the monitor works on them."""
        return read_rows(observed(lines, first_offset, **about))


@pytest.fixture(scope="session")
def make() -> Make:
    """Builders of observations."""
    return Make()
