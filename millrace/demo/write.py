"""Writes what a demo found: ``demo.json``, ``demo.html`` and ``demo.svg``."""

from pathlib import Path

from millrace.demo.chart import WIDE, draw
from millrace.demo.page import picture, render
from millrace.demo.run import Outcome


def write_reports(outcome: Outcome, folder: Path) -> list[Path]:
    """Replace the three files, each whole, and return where they are."""
    shown = picture(outcome.curves, outcome.control, outcome.report)
    content = {
        "demo.json": outcome.report.model_dump_json(indent=2) + "\n",
        "demo.html": render(shown, outcome.report, outcome.project.model),
        "demo.svg": draw(shown, WIDE) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        temporary = folder / f".{name}.partial"  # readable by all, as the umask says: reports are shared
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
    return [folder / name for name in content]
