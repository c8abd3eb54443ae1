"""Writes what the demo found: ``demo-data.json``, ``demo-data.html`` and ``demo-data.svg``."""

from pathlib import Path

from millrace.demo.stage import write_whole
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
    return write_whole(folder, content)
