"""The demo's model project: the electricity example with a canary, and without drift alarms (another demo's)."""

from pathlib import Path
from typing import Any

import yaml

from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project, load_project

ROLLOUT: dict[str, Any] = {
    "strategy": "canary",
    "unit": "event",  # there is one region only
    "steps": [0.02, 0.1],  # a share need not be large: both versions are compared on all events
    "step_rows": 100,
    "evidence_rows": 20,
    "guardrails": {"loss_margin": 0.03, "rows_min": 50},
}
QUIET: dict[str, Any] = {"cool_down_rows": 10_000_000, "warm_up_rows": 10_000_000}


def derive(example: Path, folder: Path) -> Project:
    """Write the demo's project into ``folder`` and check it.

    Raises:
        ProjectError: the example is no project, or has no data set or no classes.
    """
    known = load_project(example)
    if known.dataset is None or len(known.label.classes) != 2:
        raise ProjectError(f"{example} needs a dataset and two classes for this demo; examples/electricity has them")
    folder.mkdir(parents=True)
    config: dict[str, Any] = yaml.safe_load((known.folder / "model.yaml").read_text(encoding="utf-8"))
    config["dataset"]["file"] = str(known.folder / known.dataset.file)
    config["rollout"] = ROLLOUT
    config["monitors"] = {**config.get("monitors", {}), **QUIET}
    (folder / "model.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    for name in {known.event.schema_file, known.training.pipeline.partition(":")[0]}:
        (folder / name).write_bytes((known.folder / name).read_bytes())
    return load_project(folder)
