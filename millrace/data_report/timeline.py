"""Judged windows on an axis of event time: what was found, where, and what was kept out of training. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from millrace.data_report.report import Judged, Report
from millrace.data_report.words import number, time

LANES_MAX = 10
LANE, BAR, TOP = 40, 16, 26


@dataclass(frozen=True, slots=True)
class Size:
    """A phone gets a picture of its own: a wide one made small cannot be read."""

    width: int
    ticks: int
    css: str


WIDE, NARROW = Size(1000, 6, "wide"), Size(360, 2, "narrow")


def draw(report: Report, size: Size) -> str:
    """The picture; empty if no judgement can be placed."""
    placed = [one for one in report.judged if one.from_time_ms is not None and one.until_time_ms is not None]
    scale = _Scale.of(report, size)
    if not placed or scale is None:
        return ""
    lanes: dict[tuple[str, str], list[Judged]] = {}
    for one in sorted(placed, key=lambda each: (not each.vetoes, each.severity != "ALARM")):
        lanes.setdefault((one.check, one.subject), []).append(one)
    shown = list(lanes.items())[:LANES_MAX]
    hatch = f"hatch-{size.css}"
    height = TOP + LANE * len(shown) + 30
    parts = [*_ground(report, scale, size, height)]
    for place, ((check, subject), each) in enumerate(shown):
        y = TOP + LANE * place
        parts.append(f'<text class="strong" x="4" y="{y + 13}">{escape(f"{check}: {subject}")}</text>')
        parts += [_bar(one, scale, y + 18, hatch) for one in each]
    vetoed = sum(one.vetoes for one in placed)
    label = f"{len(placed)} judgements about windows of events on a time axis, {vetoed} of them vetoed for training."
    pattern = (
        f'<defs><pattern id="{hatch}" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="hatch-line" x1="0" x2="0" y1="0" y2="7"/></pattern></defs>'
    )
    return (
        f'<svg class="timeline {size.css}" viewBox="0 0 {size.width} {height}" role="img" aria-label="{escape(label)}">'
        f"{pattern}{''.join(parts)}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    low: int
    high: int
    width: int

    @classmethod
    def of(cls, report: Report, size: Size) -> "_Scale | None":
        """From the earliest to the latest event that is shown; None if there is no time between."""
        times = [
            at
            for name in ("previous", "new")
            if name in report.windows
            for at in (report.windows[name].from_time_ms, report.windows[name].until_time_ms)
            if at is not None
        ]
        return cls(min(times), max(times), size.width) if times and min(times) < max(times) else None

    def x(self, time_ms: int) -> float:
        """Pixels from the left."""
        inside = min(max(time_ms, self.low), self.high)
        return round(self.width * (inside - self.low) / (self.high - self.low), 1)


def _ground(report: Report, scale: _Scale, size: Size, height: int) -> Iterator[str]:
    """The new rows' part of the axis, and its times."""
    begin = report.windows["new"].from_time_ms
    floor = height - 24
    if begin is not None:
        x = scale.x(begin)
        yield f'<rect class="wash" x="{x}" y="0" width="{size.width - x:.1f}" height="{floor}"/>'
        yield f'<text x="{x + 4}" y="14">new rows</text>'
        if x > 90:  # the words need so much room
            yield '<text x="4" y="14">previous rows</text>'
    yield f'<line class="axis" x1="0" x2="{size.width}" y1="{floor}" y2="{floor}"/>'
    for tick in range(size.ticks + 1):
        at = scale.low + (scale.high - scale.low) * tick // size.ticks
        anchor = "start" if tick == 0 else "end" if tick == size.ticks else "middle"
        words = time(at)[: 16 if size is WIDE else 10]
        yield f'<text x="{scale.x(at)}" y="{height - 8}" text-anchor="{anchor}">{words}</text>'


def _bar(one: Judged, scale: _Scale, y: int, hatch: str) -> str:
    assert one.from_time_ms is not None, "it is placed"
    assert one.until_time_ms is not None, "it is placed"
    x = scale.x(one.from_time_ms)
    width = max(3.0, scale.x(one.until_time_ms) - x)
    css = "alarm" if one.severity == "ALARM" else "warning"
    rect = f'x="{x}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"'
    veto = f'<rect fill="url(#{hatch})" {rect}/>' if one.vetoes else ""
    return f'<g><title>{escape(told(one))}</title><rect class="{css}" {rect}/>{veto}</g>'


def told(one: Judged) -> str:
    """The judgement in words."""
    span = f"{time(one.from_time_ms)} to {time(one.until_time_ms)}" if one.from_time_ms is not None else "no time known"
    veto = ", kept out of training" if one.vetoes else ""
    return (
        f"{one.severity.lower()}{veto}, {span}: {one.message} ({number(one.observed)}, expected {number(one.expected)})"
    )


def rows(judged: Sequence[Judged]) -> Iterator[list[str]]:
    """The same as cells of a table."""
    for one in judged:
        css = "bad" if one.severity == "ALARM" else "warn"
        yield [
            f"{time(one.from_time_ms)}<br>to {time(one.until_time_ms)}", escape(one.check), escape(one.subject),
            f'<b class="{css}">{one.severity.lower()}</b>', "kept out" if one.vetoes else "",
            escape(one.message),
        ]  # fmt: skip
