"""The pictures of a field: distribution, texts, trend, and the bar of its drift. SVG by hand. Pure.

Each is a function of a ``FieldReport``; classes give colours and dashes, see ``style.py``. New rows are filled bars,
training a solid line, the previous ones a dashed one.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from millrace.data_report.psi import MOVED, MOVED_FAR
from millrace.data_report.report import FieldReport, WindowName
from millrace.data_report.wasserstein import ROUNDING
from millrace.data_report.words import number, share

WIDTH, HEIGHT, TOP, FLOOR = 320, 132, 14, 112
BAR_MAX = 46
CUT = 2.5  # times as high as the others may training be drawn
LINES: tuple[tuple[WindowName, str], ...] = (("training", "e2"), ("previous", "e1"))
NAMES: tuple[WindowName, ...] = ("new", "previous", "training")
ROW_HEIGHT = 21
LABEL_WIDTH = 104
LABEL_LETTERS = 16
PSI_SHOWN_MAX = 10.0
PSI_LEFT, PSI_WIDTH = 42, 170


def distribution(field: FieldReport) -> str:
    """The shares of all windows over the field's bars."""
    bars = field.bars
    if bars.texts:
        return _texts(field)
    count = len(bars.values) or len(bars.edges) - 1
    if count < 1:
        return ""
    tallest = _tallest(field)
    step = WIDTH / count
    parts = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{FLOOR}" y2="{FLOOR}"/>']
    parts += [_bar(field, place, step, tallest) for place in range(count)]
    for name, css in LINES:
        shares = field.windows[name].shares if name in field.windows else ()
        if shares:
            parts.append(f'<path class="{css}" d="{_steps(shares, step, tallest, apart=bool(bars.values))}"/>')
    parts += _x_labels(field, step)
    parts.append(f'<text x="{WIDTH}" y="9" text-anchor="end">{_at_most(field, tallest)}</text>')
    return _svg(WIDTH, HEIGHT, _aria(field), parts)


def _at_most(field: FieldReport, tallest: float) -> str:
    training = field.windows.get("training")
    most = max(training.shares, default=0.0) if training else 0.0
    cut = f", training {share(most)}" if most > tallest else ""
    return f"{share(tallest)} at most{cut}" if not cut else f"cut at {share(tallest)}{cut}"


def _tallest(field: FieldReport) -> float:
    """The share at the top. Training may run out of the picture, lest a constant makes everything else invisible."""
    most = {name: max(one.shares, default=0.0) for name, one in field.windows.items()}
    others = max((share for name, share in most.items() if name != "training"), default=0.0)
    return min(max(most.values()), CUT * others) or 1.0


def _bar(field: FieldReport, place: int, step: float, tallest: float) -> str:
    shares = field.windows["new"].shares
    height = (FLOOR - TOP) * (shares[place] if shares else 0) / tallest
    told = f"{_bar_name(field, place)}: " + ", ".join(
        f"{name} {share(field.windows[name].shares[place])}"
        for name in NAMES
        if name in field.windows and field.windows[name].shares
    )
    x, width = _place(place, step)
    return (
        f'<g><title>{escape(told)}</title><rect class="n0" x="{x:.1f}" y="{FLOOR - height:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"/><rect x="{x:.1f}" y="0" width="{width:.1f}" height="{FLOOR}" fill="transparent"/></g>'
    )


def _bar_name(field: FieldReport, place: int) -> str:
    bars = field.bars
    if bars.values:
        return number(bars.values[place])
    low, high = (number(_tidy(edge, bars.edges)) for edge in bars.edges[place : place + 2])
    return f"{low} to {high}"


def _steps(shares: Sequence[float], step: float, tallest: float, *, apart: bool) -> str:
    """The outline of a histogram; ``apart`` gives each bar an outline of its own."""
    moves = [] if apart else [f"M0 {FLOOR}"]
    for place, one in enumerate(shares):
        y = FLOOR - (FLOOR - TOP) * min(one / tallest, 1.04)
        if apart:
            x, width = _place(place, step)
            moves.append(f"M{x:.1f} {FLOOR}V{y:.1f}H{x + width:.1f}V{FLOOR}")
        else:
            moves.append(f"V{y:.1f}H{(place + 1) * step:.1f}")
    return "".join(moves) if apart else "".join([*moves, f"V{FLOOR}"])


def _place(place: int, step: float) -> tuple[float, float]:
    """Where a bar begins, and its width; a few values get bars, not blocks."""
    width = min(step - min(2.0, step / 6), BAR_MAX)
    return place * step + (step - width) / 2, width


def _x_labels(field: FieldReport, step: float) -> Iterator[str]:
    bars, y = field.bars, HEIGHT - 4
    if bars.values:
        every = max(1, math.ceil(len(bars.values) * 40 / WIDTH))
        for place, value in enumerate(bars.values):
            if place % every == 0:
                yield f'<text x="{(place + 0.5) * step:.1f}" y="{y}" text-anchor="middle">{number(value)}</text>'
        return
    middle = (bars.edges[0] + bars.edges[-1]) / 2
    low, high = (number(_tidy(edge, bars.edges)) for edge in (bars.edges[0], bars.edges[-1]))
    yield f'<text x="0" y="{y}">{low}</text>'
    yield f'<text x="{WIDTH / 2}" y="{y}" text-anchor="middle">{number(_tidy(middle, bars.edges))}</text>'
    yield f'<text x="{WIDTH}" y="{y}" text-anchor="end">{high}</text>'


def _tidy(value: float, edges: Sequence[float]) -> float:
    """The value with as many decimals as the width of the picture calls for; -1e-17 between -1 and 1 is 0."""
    width = edges[-1] - edges[0]
    if not 0 < width < math.inf:
        return value
    return round(value, 3 - math.floor(math.log10(width)))


def _texts(field: FieldReport) -> str:
    names = [*field.bars.texts]
    if field.bars.others:
        names.append(f"{field.bars.others} others")
    tallest = max((max(one.shares, default=0.0) for one in field.windows.values()), default=0.0) or 1.0
    inner = WIDTH - LABEL_WIDTH - 50
    parts: list[str] = []
    for place, name in enumerate(names):
        y = place * ROW_HEIGHT
        shares = {key: one.shares[place] for key, one in field.windows.items() if one.shares}
        told = f"{name}: " + ", ".join(f"{key} {share(shares[key])}" for key in NAMES if key in shares)
        is_unseen = place in field.bars.unseen
        css = "unseen" if is_unseen else "strong"
        short = name if len(name) <= LABEL_LETTERS else name[: LABEL_LETTERS - 1] + "…"
        new = shares.get("new", 0.0)
        parts.append(f"<g><title>{escape(told)}</title>")
        parts.append(f'<text class="{css}" x="0" y="{y + 14}">{escape(short)}</text>')
        parts.append(
            f'<rect class="n0" x="{LABEL_WIDTH}" y="{y + 3}" width="{inner * new / tallest:.1f}" height="14"/>'
        )
        for key, line in LINES:
            if key in shares:
                x = LABEL_WIDTH + inner * shares[key] / tallest
                parts.append(f'<line class="{line}" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 1}" y2="{y + 19}"/>')
        words = "unseen " if is_unseen else ""
        parts.append(f'<text class="{css}" x="{WIDTH}" y="{y + 14}" text-anchor="end">{words}{share(new)}</text></g>')
    return _svg(WIDTH, len(names) * ROW_HEIGHT + 2, _aria(field), parts)


def trend(field: FieldReport) -> str:
    """The mean over the previous and the new rows, beside that of training."""
    seen = [value for value in field.trend if value is not None]
    if len(seen) < 2:
        return ""
    training = field.windows["training"].numbers if "training" in field.windows else None
    level = training.mean if training else None
    low, high = min(seen), max(seen)
    if level is not None and high > low and abs(level - (low + high) / 2) < 4 * (high - low):
        low, high = min(low, level), max(high, level)
    if high - low <= ROUNDING * max(abs(low), abs(high)):
        low, high = low - 1, high + 1
    spread = high - low
    height, steps = 44, max(len(field.trend) - 1, 1)

    def at(place: int, value: float) -> str:
        return f"{WIDTH * place / steps:.1f},{4 + (height - 8) * (high - value) / spread:.1f}"

    border = WIDTH * max(field.trend_new - 0.5, 0) / steps
    parts = [f'<rect class="wash" x="{border:.1f}" y="0" width="{WIDTH - border:.1f}" height="{height}"/>']
    if level is not None and low <= level <= high:
        y = at(0, level).split(",")[1]
        parts.append(f'<line class="e2" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>')
    cut = max(field.trend_new, 1)
    for first, last, css in ((0, cut, "t1"), (cut - 1, len(field.trend), "e0")):
        if field.trend_new == 0 and css == "t1":
            continue
        places = range(0 if field.trend_new == 0 else first, last)
        points = " ".join(at(place, value) for place in places if (value := field.trend[place]) is not None)
        parts.append(f'<polyline class="{css}" points="{points}"/>')
    words = f"Mean of {field.name} over time: from {number(min(seen))} to {number(max(seen))}"
    if level is not None:
        words += f"; in training {number(level)}"
    return _svg(WIDTH, height, words, [f"<title>{escape(words)}</title>", *parts])


def drift_bar(field: FieldReport, against: WindowName) -> str:
    """The stability index on a scale that is linear to the first limit and logarithmic above it."""
    drift = field.drift(against)
    if drift is None:
        return '<span class="soft">-</span>'
    css = {"stable": "n0", "moved": "warning", "moved far": "alarm"}[drift.verdict]
    limits = "".join(
        f'<line class="limit" x1="{PSI_LEFT + _psi_x(limit):.1f}" x2="{PSI_LEFT + _psi_x(limit):.1f}" y1="0" y2="14"/>'
        for limit in (MOVED, MOVED_FAR)
    )
    words = f"PSI {drift.psi:.2f}, {drift.verdict}"
    return _svg(
        PSI_LEFT + PSI_WIDTH, 14, words,
        [
            f'<text class="strong" x="34" y="11" text-anchor="end">{drift.psi:.2f}</text>',
            f'<rect class="{css}" x="{PSI_LEFT}" y="2" width="{max(1.0, _psi_x(drift.psi)):.1f}" height="10" rx="2"/>',
            limits,
        ],
    )  # fmt: skip


def _psi_x(psi: float) -> float:
    """Pixels; the first limit at a fifth of the width."""
    fifth = PSI_WIDTH / 5
    if psi <= MOVED:
        return fifth * max(psi, 0.0) / MOVED
    return fifth + 4 * fifth * min(1.0, math.log(psi / MOVED) / math.log(PSI_SHOWN_MAX / MOVED))


def key(name: WindowName) -> str:
    """The sample of a window's line, for the key."""
    inner = {
        "new": '<rect class="n0" width="26" height="12"/>',
        "previous": '<line class="e1" x1="0" x2="26" y1="6" y2="6"/>',
        "training": '<line class="e2" x1="0" x2="26" y1="6" y2="6"/>',
    }[name]
    return f'<svg viewBox="0 0 26 12" aria-hidden="true">{inner}</svg>'


def _aria(field: FieldReport) -> str:
    said = [f"Distribution of {field.name}"]
    for name in NAMES:
        numbers = field.windows[name].numbers if name in field.windows else None
        if numbers:
            middle = numbers.quantiles[len(numbers.quantiles) // 2]
            said.append(f"{name} rows: median {number(middle)}, mean {number(numbers.mean)}")
    return ". ".join(said) + ". The table below it has the figures."


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">' + "".join(parts) + "</svg>"
    )
