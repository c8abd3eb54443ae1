"""Writes what the demo found: ``demo-rollout.json``, ``.html`` and ``.svg``."""

from pathlib import Path

from millrace.demo.stage import write_whole
from millrace.demo_rollout.page import render
from millrace.demo_rollout.picture import draw
from millrace.demo_rollout.run import Outcome


def write_reports(outcome: Outcome, folder: Path) -> list[Path]:
    """Replace the three files, each whole, and return where they are."""
    content = {
        "demo-rollout.json": outcome.report.model_dump_json(indent=2) + "\n",
        "demo-rollout.html": render(outcome.report, outcome.name),
        "demo-rollout.svg": draw(outcome.report) + "\n",
    }
    return write_whole(folder, content)
