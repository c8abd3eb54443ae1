"""A model's life on one time axis: how well it did, who answered, and what happened.

Rules:

- A line has at most as many points as were asked for: the axis is cut into as many parts, and what was measured in one
  part is one point, the mean by rows; its interval is the mean of theirs.
- On the axis of event time, what has only a wall time stands at the newest event time that had been measured by then.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from millrace.console.quality import higher_is_better, main_metric
from millrace.console.queries import marks
from millrace.console.summary import traffic
from millrace.console.tables import Deployment, Measured, Point

Axis = Literal["event", "wall"]
POINTS_MAX = 2_000
SHARES_MAX = 500
CLOCK_POINTS = 2_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a timeline is asked for; what is None is chosen."""

    axis: Axis = "event"
    from_ms: int | None = None
    until_ms: int | None = None
    metric: str | None = None
    slice: str = ""
    source: str | None = None
    max_points: int = POINTS_MAX


def timeline(session: Session, model: str, wanted: Wanted) -> dict[str, Any]:
    """The lines, bands and marks of a model."""
    metrics, slices = _offered(session, model)
    metric = wanted.metric or main_metric(metrics)
    clock = Clock.of(session, model, metric) if wanted.axis == "event" else Clock((), ())
    marked = [_placed(mark, wanted.axis, clock) for mark in marks.marks(session, model)]
    bands = list(_shares(session, model, wanted.axis, clock))
    begin, end = _range(session, model, metric, wanted, marked)
    inside = [mark for mark in marked if begin <= mark["at_ms"] <= end]
    inside.sort(key=lambda mark: mark["at_ms"])
    return {
        "model": model,
        "axis": wanted.axis,
        "from_ms": begin,
        "until_ms": end,
        "metric": metric,
        "metrics": metrics,
        "slices": slices,
        "higher_is_better": metric is None or higher_is_better(metric),
        "series": [] if metric is None else list(_series(session, model, metric, wanted, begin, end)),
        "shares": bands,
        "marks": inside[-marks.SHOWN :],
        "marks_total": len(inside),
    }


def _offered(session: Session, model: str) -> tuple[list[str], list[str]]:
    """The metrics and slices that were measured lately."""
    metrics, slices = set(), set()
    found = select(Measured.body).where(Measured.model == model).order_by(Measured.version.desc()).limit(SHARES_MAX)
    for body in session.scalars(found):
        event = json.loads(body)
        metrics |= event["metrics"].keys()
        slices.add(event["slice"])
    return sorted(metrics), sorted(slices)


@dataclass(frozen=True, slots=True)
class Clock:
    """From wall time to event time: the newest event time that had been measured by then."""

    walls: tuple[int, ...]
    events: tuple[int, ...]

    @classmethod
    def of(cls, session: Session, model: str, metric: str | None) -> "Clock":
        """As the measurements of a model tell it."""
        if metric is None:
            return cls((), ())
        of_model = (Point.model == model, Point.metric == metric, Point.slice == "")
        first = session.scalar(select(func.min(Point.wall_ms)).where(*of_model))
        last = session.scalar(select(func.max(Point.wall_ms)).where(*of_model))
        if first is None or last is None:
            return cls((), ())
        width = max(1, (last - first) // CLOCK_POINTS)
        part = cast((Point.wall_ms - first) / width, Integer)
        found = select(func.max(Point.wall_ms), func.max(Point.time_ms)).where(*of_model).group_by(part)
        pairs = sorted((int(wall), int(time)) for wall, time in session.execute(found))
        newest, walls, events = 0, [], []
        for wall, time in pairs:
            newest = max(newest, time)
            walls.append(wall)
            events.append(newest)
        return cls(tuple(walls), tuple(events))

    def event_ms(self, wall_ms: int) -> int | None:
        """The event time; that of the first measurement for what was before it; None where nothing was measured."""
        if not self.walls:
            return None
        return self.events[max(0, bisect_right(self.walls, wall_ms) - 1)]


def _placed(mark: dict[str, Any], axis: Axis, clock: Clock) -> dict[str, Any]:
    """The mark with its place on the axis."""
    if axis == "wall":
        return {**mark, "at_ms": mark["wall_ms"], "time_from": "own"}
    own, until_ms = mark["event_ms"], mark["until_ms"]
    at_ms = clock.event_ms(mark["wall_ms"]) if own is None else own
    return {
        **mark,
        "time_from": "nearest_metric" if own is None else "own",
        "until_ms": None if until_ms is None else clock.event_ms(until_ms),
        "at_ms": mark["wall_ms"] if at_ms is None else at_ms,
    }


def _range(
    session: Session, model: str, metric: str | None, wanted: Wanted, marked: list[dict[str, Any]]
) -> tuple[int, int]:
    column = Point.time_ms if wanted.axis == "event" else Point.wall_ms
    first, last = session.execute(
        select(func.min(column), func.max(column)).where(Point.model == model, Point.metric == (metric or ""))
    ).one()
    times = [time for time in (first, last) if time is not None] + [mark["at_ms"] for mark in marked]
    begin, end = (min(times), max(times)) if times else (0, 0)
    begin = begin if wanted.from_ms is None else wanted.from_ms
    return begin, max(begin, end if wanted.until_ms is None else wanted.until_ms)


def _series(
    session: Session, model: str, metric: str, wanted: Wanted, begin: int, end: int
) -> Iterator[dict[str, Any]]:
    time = Point.time_ms if wanted.axis == "event" else Point.wall_ms
    of = [Point.model == model, Point.metric == metric, Point.slice == wanted.slice, time >= begin, time <= end]
    if wanted.source:
        of.append(Point.source == wanted.source)
    line = (Point.source, Point.version, Point.variant)
    counted = select(*line, func.count(), func.sum(Point.rows)).where(*of).group_by(*line)
    totals = {
        (source, version, variant): (count, rows) for source, version, variant, count, rows in session.execute(counted)
    }
    width = max(1, -(-(end - begin + 1) // wanted.max_points))
    part = cast((time - begin) / width, Integer)
    rows = func.sum(Point.rows)
    found = (
        select(
            *line, func.max(time), func.sum(Point.value * Point.rows) / rows, func.avg(Point.low),
            func.avg(Point.high), rows, func.count(Point.low), func.count(),
        )
        .where(*of, Point.rows > 0)
        .group_by(*line, part)
        .order_by(*line, part)
    )  # fmt: skip
    lines: dict[tuple[str, int, str], dict[str, Any]] = {}
    for source, version, variant, at_ms, value, low, high, weight, with_low, points in session.execute(found):
        key = (source, version, variant)
        if key not in lines:
            lines[key] = _line(*key, metric=metric, slice_=wanted.slice, total=totals[key])
        of_line, whole = lines[key], with_low == points
        cells = {"at_ms": at_ms, "value": value, "low": low if whole else None, "high": high if whole else None,
                 "rows": weight}  # fmt: skip
        for name, cell in cells.items():
            of_line[name].append(cell)
    for of_line in lines.values():
        of_line["downsampled"] = len(of_line["at_ms"]) < of_line["points_total"]
        yield of_line


def _line(
    source: str, version: int, variant: str, *, metric: str, slice_: str, total: tuple[int, int]
) -> dict[str, Any]:
    own = {"version": version, "variant": variant, "slice": slice_, "source": source, "metric": metric}
    empty: dict[str, Any] = {name: [] for name in ("at_ms", "value", "low", "high", "rows")}
    return {**own, "points_total": total[0], "rows_total": total[1], **empty}


def _shares(session: Session, model: str, axis: Axis, clock: Clock) -> Iterator[dict[str, Any]]:
    """Who answered when: the newest deployments, oldest first, each until the next."""
    newest = select(Deployment).where(Deployment.model == model).order_by(Deployment.epoch.desc()).limit(SHARES_MAX)
    rows = session.scalars(newest).all()[::-1]
    for at, row in enumerate(rows):
        until_ms = rows[at + 1].at_ms if at + 1 < len(rows) else None
        times = [row.at_ms, until_ms]
        if axis == "event":
            times = [None if time is None else clock.event_ms(time) for time in times]
        parts = [traffic(part) for part in json.loads(row.body)["traffic"]]
        yield {"from_ms": times[0], "until_ms": times[1], "epoch": row.epoch, "traffic": parts}
