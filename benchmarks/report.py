"""The figures of a run: from what was seen to ``reports/bench.json``, and from there to tables."""

import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil

from benchmarks.rows import ROWS, SERVERS, SERVING
from benchmarks.run import Outcome
from benchmarks.watch import Point, Watched, first_reaching, rate

COLD_UNTIL = 1 / 3
WARM_FROM, WARM_UNTIL = 1 / 2, 0.95
"""Parts of the target. The last twentieth is left out: there one partition may be done and the other not."""
NOT_ASKED = "not asked for"
Figures = dict[str, Any]
NAMES = tuple(row.name for row in ROWS)


def cold_and_warm(points: Sequence[Point], target: int) -> tuple[float | None, float | None]:
    """Outputs a second in the first third, from the first visible one on, and between a half and 95 %.

    Start-up (imports, a JVM, joining the group) is in neither; it is told as ``start_s``.
    """
    if not points:
        return None, None
    return rate(points, 1, target * COLD_UNTIL), rate(points, target * WARM_FROM, target * WARM_UNTIL)


def scaled(points: Sequence[Point], outputs: int) -> list[Point]:
    """The points with places of the log turned into records: by the share of records among all places at the end.

    >>> scaled([Point(1, 51), Point(2, 102)], 100)
    [Point(at_s=1, visible=50), Point(at_s=2, visible=100)]
    """
    if not points:
        return []
    share = min(1.0, outputs / points[-1].visible)
    return [Point(point.at_s, round(point.visible * share)) for point in points]


def rates_of(one: Outcome) -> tuple[float | None, float | None]:
    """Cold and warm of one row in one round. For one that is asked both are the rate since it was asked."""
    assert one.count is not None, "its outputs were counted"
    points = scaled(one.watched.points, one.count.outputs)
    if one.row.asked:
        whole = rate([Point(0.0, 0), *points], 0, one.target * WARM_UNTIL)
        return whole, whole
    return cold_and_warm(points, one.target)


def spread(values: Iterable[float | None]) -> dict[str, float] | None:
    """Least, median and greatest of the rounds; None without any.

    >>> spread([3.0, None, 1.0, 2.0])
    {'min': 1.0, 'median': 2.0, 'max': 3.0}
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"min": round(min(known), 1), "median": round(statistics.median(known), 1), "max": round(max(known), 1)}


def cpu_us_per_event(watched: Watched, points: Sequence[Point], target: int) -> float | None:
    """Processor microseconds of the process and its children for each output of the warm part."""
    if not points:
        return None
    begin, end = first_reaching(points, target * WARM_FROM), points[-1]
    samples = [(at, cpu) for at, cpu in watched.cpu if begin.at_s <= at <= end.at_s]
    if len(samples) < 2:
        return None
    (first_s, first_cpu), (last_s, last_cpu) = samples[0], samples[-1]
    done = _visible_at(points, last_s) - _visible_at(points, first_s)
    return round((last_cpu - first_cpu) / done * 1e6, 2) if done else None


def _visible_at(points: Sequence[Point], at_s: float) -> int:
    return max((point.visible for point in points if point.at_s <= at_s), default=0)


def row_of(name: str, guarantee: str, outcomes: Sequence[Outcome]) -> Figures:
    """One row of the report out of its rounds."""
    good = [outcome for outcome in outcomes if outcome.skipped is None and outcome.count is not None]
    curves = [scaled(one.watched.points, one.count.outputs) for one in good if one.count is not None]
    rates = [rates_of(one) for one in good]
    counts = [one.count for one in good if one.count is not None]
    per_event = [cpu_us_per_event(one.watched, curve, one.target) for curve, one in zip(curves, good, strict=True)]
    reasons = [one.skipped for one in outcomes if one.skipped is not None]
    return {
        "name": name,
        "guarantee": guarantee,
        "cold": spread(cold for cold, _ in rates),
        "warm": spread(warm for _, warm in rates),
        "start_s": _median(curve[0].at_s for curve in curves if curve),
        "cpu_s": _median(one.watched.cpu[-1][1] for one in good if one.watched.cpu),
        "broker_cpu_s": _median(one.watched.broker_cpu_s for one in good),
        "cpu_us_per_event": _median(value for value in per_event if value is not None),
        "memory_mib": _median(one.watched.memory_mib for one in good),
        "events": good[0].target if good else 0,
        "outputs": [count.outputs for count in counts],
        "duplicates": _sum(count.duplicates for count in counts),
        "missing": _sum(count.missing for count in counts),
        "skipped": None if good else (reasons[0] if reasons else NOT_ASKED),
        "failed_rounds": reasons if good else [],
    }


def _sum(values: Iterable[int | None]) -> int | None:
    """None where nobody counted."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(statistics.median(known), 2) if known else None


def rows_of(outcomes: Sequence[Outcome]) -> list[Figures]:
    """All rows, those that were not asked for too."""
    return [
        row_of(row.name, row.guarantee, [outcome for outcome in outcomes if outcome.row.name == row.name])
        for row in ROWS
    ]


def ratios_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many times faster serving is than each other row that serves: the medians of warm, ours through theirs.

    >>> ratios_of([{"name": "millrace-serving", "warm": {"median": 60.0}}, {"name": "faust", "warm": {"median": 4.0}}])
    {'faust': 15.0}
    """
    warm = {row["name"]: row["warm"]["median"] for row in rows if row["warm"]}
    ours = warm.get(SERVING.name)
    if not ours:
        return {}
    peers = [row.name for row in SERVERS if row is not SERVING]
    return {name: round(ours / warm[name], 2) for name in peers if warm.get(name)}


def machine(kafka_version: str) -> Figures:
    """What it ran on."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "kafka": kafka_version,
        "system": f"{platform.system()} {platform.machine()}",
    }


def table_cells(report: Mapping[str, Any], *, asked_only: bool = False) -> list[list[str]]:
    """The rows as text, fastest first, those without a figure last with their reason."""
    shown = sorted(report["rows"], key=lambda row: -(row["warm"] or {"median": -1.0})["median"])
    cells = []
    for row in shown:
        if asked_only and row["skipped"] == NOT_ASKED:
            continue
        if not row["warm"]:
            cells.append([row["name"], row["guarantee"], "", "", "", "", "", row["skipped"] or "too short to measure"])
            continue
        cells.append(
            [
                row["name"], row["guarantee"], _rate(row["cold"]), _rate(row["warm"]),
                "" if row["cpu_us_per_event"] is None else f"{row['cpu_us_per_event']:.1f}",
                "" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}",
                _times(report["ratios"].get(row["name"])), _remarks(row),
            ]
        )  # fmt: skip
    return cells


HEADINGS = ("row", "guarantee", "cold events/s", "warm events/s", "CPU µs/event", "MiB", "ours is", "")


def _rate(figures: Mapping[str, float] | None) -> str:
    """Median with least and greatest, where there was more than one round.

    >>> _rate({"min": 9.6, "median": 12345.6, "max": 20000})
    '12,346 (10 to 20,000)'
    """
    if not figures:
        return ""
    if figures["min"] == figures["max"]:
        return f"{figures['median']:,.0f}"
    return f"{figures['median']:,.0f} ({figures['min']:,.0f} to {figures['max']:,.0f})"


def _times(ratio: float | None) -> str:
    """A ratio in words.

    >>> _times(6.04), _times(0.5), _times(150.2)
    ('6.0 x', '0.50 x', '150 x')
    """
    if ratio is None:
        return ""
    return f"{ratio:.0f} x" if ratio >= 20 else f"{ratio:.1f} x" if ratio >= 1 else f"{ratio:.2f} x"


def _remarks(row: Mapping[str, Any]) -> str:
    said = []
    if row["duplicates"]:
        said.append(f"{row['duplicates']} duplicates")
    if row["missing"]:
        said.append(f"{row['missing']} missing")
    if row["failed_rounds"]:
        said.append(f"{len(row['failed_rounds'])} rounds failed: {row['failed_rounds'][0]}")
    return ", ".join(said)


def markdown(report: Mapping[str, Any]) -> str:
    """The table that the README carries."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|" + "---:|" * 5 + "---|"]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in table_cells(report))]) + "\n"
