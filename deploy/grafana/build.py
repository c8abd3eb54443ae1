"""Writes the Grafana dashboards: ``python -m deploy.grafana.build``.

They are committed as Grafana reads them, so that nobody needs this to run them; a test holds the files to what this
writes, and each query to the metrics that are declared in ``millrace/telemetry/metrics.py``.
"""

import json
from pathlib import Path

from deploy.grafana import data_quality, model, overview, service

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {"overview.json": overview, "service.json": service, "model.json": model, "data-quality.json": data_quality}


def contents() -> dict[str, str]:
    """Every file by its name."""
    return {name: json.dumps(board.build(), indent=1, ensure_ascii=False) + "\n" for name, board in BOARDS.items()}


if __name__ == "__main__":
    for name, text in contents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
