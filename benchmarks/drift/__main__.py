"""``make bench-drift``: how soon the monitor sees drifts that are known, and how often it cries wolf.

The streams are in ``streams.py``, the default policy and river's bare detectors in ``policies.py``; what counts as a
delay, a miss and a false alarm, who is the best bare detector, and what is promised, in ``judge.py``. The same seeds
give the same figures. It ends with 1 if the promise is broken.
"""

import json
import os
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.drift import judge, measure, picture
from benchmarks.drift.policies import OUR_WARNINGS, OURS

REPORT_WIDTH = 150
QUICK_SEEDS, QUICK_SHARE = 3, 0.02


@click.command(help=__doc__)
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(min=1), help="Streams of each drift.")
@click.option("--share", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True),
              help="How much of the 4,750,000 stable events.")  # fmt: skip
@click.option("--quick", is_flag=True, help=f"{QUICK_SEEDS} seeds and a share of {QUICK_SHARE:g}, to try it out.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default="one for each core", help="Processes.")
@click.option("--report", "folder", default=Path("reports"), show_default=True, type=click.Path(path_type=Path))
def main(*, seeds: int, share: float, quick: bool, jobs: int, folder: Path) -> None:
    """Measure, print the table, write bench-drift.json and bench-drift.svg."""
    console = Console(width=None if sys.stdout.isatty() else REPORT_WIDTH)
    if quick:
        seeds, share = min(seeds, QUICK_SEEDS), min(share, QUICK_SHARE)
    began = time.monotonic()
    rows = measure.measure(seeds, share, jobs, console)
    report = {
        **judge.verdict(rows),
        "seeds": seeds,
        "first_seed": measure.FIRST_SEED,
        "rows": rows,
        "seconds": round(time.monotonic() - began, 1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench-drift.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (folder / "bench-drift.svg").write_text(picture.draw(report), "utf-8")
    for table in (_delays(report), _false(report)):
        console.print(table)
    console.print(_summary(report))
    for fault in report["faults"]:
        console.print(f"[red]{fault}[/red]")
    console.print(f"{folder / 'bench-drift.json'} and .svg are written, after {report['seconds']:.0f} s")
    sys.exit(0 if report["passed"] else 1)


def _delays(report: judge.Figures) -> Table:
    table = Table(title=f"Median delay in events, and drifts missed; {report['seeds']} seeds of each stream")
    rows = [row for row in report["rows"] if row["drifts"]]
    policies = [policy for policy in dict.fromkeys(row["policy"] for row in rows) if policy != OUR_WARNINGS]
    for name in ("stream", *policies, "ratio to the best bare"):
        table.add_column(name)
    known = {(row["stream"], row["policy"]): row for row in rows}
    for stream, each in report["streams"].items():
        ratio = "" if each["delay_ratio"] is None else f"{each['delay_ratio']:.2f} ({each['best_bare']})"
        table.add_row(stream, *(_delay(known.get((stream, policy))) for policy in policies), ratio)
    return table


def _delay(row: judge.Figures | None) -> str:
    """A median, and how many were missed.

    >>> (
    ...     _delay({"delay_events": 310.0, "missed": 2, "drifts": 20}),
    ...     _delay({"delay_events": None, "missed": 3, "drifts": 3}),
    ... )
    ('310 (2 missed)', 'all missed')
    """
    if row is None or not row["drifts"]:
        return ""
    if row["delay_events"] is None:
        return "all missed"
    return f"{row['delay_events']:.0f}" + (f" ({row['missed']} missed)" if row["missed"] else "")


def _false(report: judge.Figures) -> Table:
    table = Table(title="False alarms")
    columns = ("policy", "stable events", "false alarms", "for 100,000", "for 1,000,000", "correlated, for 100,000")
    for name in columns:
        table.add_column(name, justify="left" if name == "policy" else "right")
    correlated = {row["policy"]: row for row in report["rows"] if row["kind"] == judge.CORRELATED}
    for policy, total in report["over_all"].items():
        if total["stable_events"]:
            beside = correlated[policy]["false_per_100000"]
            table.add_row(
                policy, f"{total['stable_events']:,}", f"{total['false_alarms']:,}",
                f"{total['false_per_100000']:.2f}", f"{total['false_per_million']:.2f}",
                "" if beside is None else f"{beside:.1f}",
            )  # fmt: skip
    return table


def _summary(report: judge.Figures) -> str:
    total = report["over_all"][OURS]
    ratio, mean = report["delay_ratio_to_best_bare"], report["delay_ratio_to_best_bare_mean"]
    delay = "no bare detector to compare with" if ratio is None else f"at most {ratio:.2f} times, on average {mean:.2f}"
    return (
        f"Ours: {total['false_alarms']} false retrains in {total['stable_events']:,} stable events, "
        f"{report['false_retrains_per_million']:.2f} for 1,000,000; delay {delay} that of the best bare detector"
    )


if __name__ == "__main__":
    main()
