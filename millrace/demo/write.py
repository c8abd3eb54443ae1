"""Writes what a demo found: ``demo.json``, ``demo.html`` and ``demo.svg``."""

from pathlib import Path

from millrace.demo.chart import WIDE, draw
from millrace.demo.page import picture, render
from millrace.demo.run import Outcome
from millrace.demo.stage import write_whole


def write_reports(outcome: Outcome, folder: Path) -> list[Path]:
    """Replace the three files, each whole, and return where they are."""
    shown = picture(outcome.curves, outcome.control, outcome.report)
    content = {
        "demo.json": outcome.report.model_dump_json(indent=2) + "\n",
        "demo.html": render(shown, outcome.report, outcome.project.model),
        "demo.svg": draw(shown, WIDE) + "\n",
    }
    return write_whole(folder, content)
