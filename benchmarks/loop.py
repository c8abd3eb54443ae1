"""How right the loop is on a project's own data set, beside what one would do without it, in one run.

``python -m benchmarks.loop [PROJECT] [--seed 1]``

The loop is the real one, all five services, on the memory bus and a virtual clock: the same project and seed give the
same bytes on every topic, so the figure is a function of data, code and seed. What it is compared with sees the same
rows in the same order, and each label no earlier than the loop does:

- ``frozen``: the loop's own first model, left alone.
- ``repeat_last``: the newest label known.
- ``arf``: river's adaptive random forest, on the fields of the event, learning on every label as it becomes known.
- ``arf_same_features``: the same on the features that Millrace computed, label feedback among them.

All are judged on the rows that all have answered, from ``training.first_rows`` on. Writes
``reports/bench-loop.json`` and ``.svg``; exits with 1 if the loop is below what README promises of electricity.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from river import forest

from benchmarks.loop_picture import draw
from millrace.contracts.events import DeploymentDecided
from millrace.contracts.project import Project, load_project
from millrace.demo.baseline import frozen
from millrace.demo.dataset import DatasetFile, Row
from millrace.demo.figures import Curves, curves, right_of, rolling
from millrace.demo.ledger import MISSING, Floats
from millrace.demo.stage import write_whole
from millrace.sim.virtual_time import run
from millrace.sim.world import Outcome, Simulation
from millrace.telemetry import log

ROOT = Path(__file__).parents[1]
RATE = 500.0  # rows a virtual second; a fit takes one, so that a new version is 500 rows late
WINDOW_ROWS = 1000
PROMISED = {"accuracy": 0.89, "retrains_max": 10, "over_arf": 0.03}  # for the electricity example


@dataclass(frozen=True)
class Stream:
    """The forest's data: for each row of the data set its inputs, its label, and from which row on that is known."""

    inputs: list[dict[str, Any]]
    labels: list[float | None]
    known_at: list[int]


def stream_of(project: Project) -> Stream:
    """The fields of the event, without those that only name it or say when it was."""
    fields = project.event
    left_out = {fields.id, fields.entity, fields.time}
    file = DatasetFile(project)
    rows: list[Row] = list(file.slice(0, file.rows))
    times = np.array([row.event[fields.time] * project.time_to_ms for row in rows])
    known_at = np.searchsorted(times, [row.label_time_ms for row in rows], side="left").tolist()
    return Stream(
        [{name: value for name, value in row.event.items() if name not in left_out} for row in rows],
        [None if row.label is None else project.label.to_number(row.label) for row in rows],
        known_at,
    )


def with_features(stream: Stream, features: Floats, names: tuple[str, ...]) -> Stream:
    """The same labels, with these features for inputs; what is missing is left out of its row."""
    inputs = [
        {name: value for name, value in zip(names, row, strict=True) if value == value}  # noqa: PLR0124  # not NaN
        for row in features.tolist()
    ]
    return Stream(inputs, stream.labels, stream.known_at)


def forest_answers(stream: Stream, task: str, seed: int, progress: Iterator[None]) -> Floats:
    """What the adaptive random forest says about each row; it has learnt each label that was known by then."""
    model: Any = (forest.ARFClassifier if task == "classification" else forest.ARFRegressor)(seed=seed)
    waiting: dict[int, list[int]] = {}
    answers = np.full(len(stream.inputs), MISSING)
    for row, inputs in enumerate(stream.inputs):
        for known in waiting.pop(row, ()):
            label = stream.labels[known]
            if label is not None:
                model.learn_one(stream.inputs[known], int(label) if task == "classification" else label)
        said = model.predict_one(inputs)
        answers[row] = MISSING if said is None else said
        waiting.setdefault(max(stream.known_at[row], row + 1), []).append(row)
        next(progress, None)
    return answers


def simulate(project: Project, seed: int) -> tuple[Simulation, Outcome, bytes, tuple[int, int]]:
    """The loop over the whole data set; its first model's file; how many runs there were, and came out equal again."""
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(project, Path(folder), seed=seed, rows=sys.maxsize, rate=RATE)
        outcome = run(simulation.run())
        first = min(simulation.control.of(DeploymentDecided), key=lambda deployment: deployment.epoch)
        reproduced = run(simulation.reproduce())
        return simulation, outcome, simulation.artifact(first.traffic[0].artifact_sha256), reproduced


def judged(project: Project, found: Curves, answers: Mapping[str, Floats]) -> dict[str, float]:
    """The share of right answers of each over the rows that all have answered."""
    label = found.columns.label
    said = {name: right_of(values, label) for name, values in answers.items()}
    said |= {"loop": found.loop, "frozen": found.frozen, "repeat_last": found.repeat_last}
    stacked = np.stack(list(said.values()))[:, project.training.first_rows :]
    answered = stacked[:, ~np.isnan(stacked).any(axis=0)]
    shares = answered.mean(axis=1).tolist() if answered.shape[1] else [MISSING] * len(said)
    return {**dict(zip(said, (round(share, 5) for share in shares), strict=True)), "rows": answered.shape[1]}


def measure(project: Project, seed: int) -> tuple[dict[str, Any], dict[str, Floats]]:
    """The report, and the rolling accuracies by name for the picture."""
    if project.label.task != "classification":
        raise SystemExit(f"{project.model} is a {project.label.task}; bench-loop compares shares of right answers")
    began = time.monotonic()
    with Progress(disable=not sys.stderr.isatty()) as progress:
        step = progress.add_task("the loop, on a virtual clock", total=1)
        simulation, outcome, first, reproduced = simulate(project, seed)
        progress.advance(step)
        columns = simulation.ledger.columns()
        found = curves(simulation.ledger, frozen(first, columns.features))
        raw = stream_of(project)
        answers = {}
        for name, stream in (
            ("arf", raw),
            ("arf_same_features", with_features(raw, columns.features, project.feature_names)),
        ):
            step = progress.add_task(name, total=len(stream.inputs))
            ticks = iter(lambda step=step: progress.advance(step), 0)  # type: ignore[misc]  # an endless tick
            answers[name] = forest_answers(stream, project.label.task, seed, ticks)
    shares = judged(project, found, answers)
    report = {
        "project": project.model,
        "seed": seed,
        "rows": outcome.rows,
        "judged_rows": shares["rows"],
        "first_rows": project.training.first_rows,
        "accuracy": shares["loop"],
        "frozen_accuracy": shares["frozen"],
        "repeat_last_accuracy": shares["repeat_last"],
        "arf_accuracy": shares["arf"],
        "arf_same_features_accuracy": shares["arf_same_features"],
        "retrains": outcome.requests,
        "deployments": len(outcome.versions),
        "reproduced": {"runs": reproduced[0], "equal": reproduced[1]},
        "missing": outcome.missing - project.training.first_rows,
        "duplicates": outcome.duplicates,
        "versions": outcome.versions,
        "digest": outcome.digest,
        "virtual_s": round(outcome.virtual_s, 1),
        "run_s": round(time.monotonic() - began, 1),
    }
    lines = {"loop": found.loop, "frozen": found.frozen, "repeat_last": found.repeat_last}
    lines |= {name: right_of(values, found.columns.label) for name, values in answers.items()}
    return report, {name: rolling(line, WINDOW_ROWS) for name, line in lines.items()}


def faults(report: Mapping[str, Any]) -> list[str]:
    """What of the promise about the electricity example does not hold."""
    found = []
    if report["accuracy"] < PROMISED["accuracy"]:
        found.append(f"accuracy {report['accuracy']:.4f} is below {PROMISED['accuracy']}")
    if report["retrains"] > PROMISED["retrains_max"]:
        found.append(f"{report['retrains']} retrains are more than {PROMISED['retrains_max']}")
    if report["accuracy"] - report["arf_accuracy"] < PROMISED["over_arf"]:
        found.append(
            f"accuracy {report['accuracy']:.4f} is not 3 points above the forest's {report['arf_accuracy']:.4f}"
        )
    if report["reproduced"]["equal"] < report["reproduced"]["runs"]:
        found.append(
            f"only {report['reproduced']['equal']} of {report['reproduced']['runs']} models came out equal again"
        )
    return found


def main() -> int:
    """Measure, write the reports, and say whether the promise holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("project", nargs="?", type=Path, default=ROOT / "examples" / "electricity")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    options = parser.parse_args()
    log.configure("benchmark", level="WARNING")
    project = load_project(options.project)
    report, lines = measure(project, options.seed)
    text = json.dumps(report, indent=2) + "\n"
    write_whole(options.reports, {"bench-loop.json": text, "bench-loop.svg": draw(report, lines)})
    for name in ("accuracy", "frozen_accuracy", "repeat_last_accuracy", "arf_accuracy", "arf_same_features_accuracy"):
        print(f"{name:28} {100 * report[name]:6.2f} %")  # it is a command
    print(f"{report['retrains']} retrains, {report['deployments']} deployments, {report['judged_rows']} rows judged")
    print(f"{report['reproduced']['equal']} of {report['reproduced']['runs']} models came out equal when trained again")
    wrong = faults(report) if project.model == "electricity" else []
    for fault in wrong:
        print(f"NOT AS PROMISED: {fault}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
