"""Writes what the demo found: ``demo-data.json``, ``demo-data.html`` and ``demo-data.svg``."""

from pathlib import Path

from millrace.demo_data.chart import WIDE, draw
from millrace.demo_data.page import render
from millrace.demo_data.run import Outcome
from millrace.demo_data.show import picture


def write_reports(outcome: Outcome, folder: Path) -> list[Path]:
    """Replace the three files, each whole, and return where they are."""
    shown = picture(outcome.report, outcome.fates, outcome.plan)
    content = {
        "demo-data.json": outcome.report.model_dump_json(indent=2) + "\n",
        "demo-data.html": render(shown, outcome.report, outcome.name),
        "demo-data.svg": draw(shown, WIDE) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        temporary = folder / f".{name}.partial"  # readable by all, as the umask says: reports are shared
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
    return [folder / name for name in content]
