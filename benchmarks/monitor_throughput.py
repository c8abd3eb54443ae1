"""``python -m benchmarks.monitor_throughput``: does the monitor keep up with serving?

Both do their arithmetic on the same rows in one process, without a broker: serving from the bytes of samples to those
of predictions and frames, the monitor from those frames to its findings. A row is an event or its label, each half of
them; labels come 1,000 events late. Time is that of the CPU, of all threads of the process, and the best of some rounds
counts, since whatever else the machine does only adds. By parts of the monitor it says where the time goes.

``ratio`` is what the issue asks for: the rows per second of the monitor as ``model.yaml`` has it by default, with
windows against a training profile and the estimated error, over those of serving.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.events import ObservationsRecorded
from millrace.contracts.gates_policy import Slice
from millrace.contracts.monitor_policy import Windows
from millrace.contracts.profile import ROWS_MAX, Profile
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import newest
from services.monitor.frames import read_rows
from services.monitor.join import Join
from services.monitor.measure import Prequential, Task
from services.monitor.policy import Policy
from services.monitor.slices import Slicer
from services.monitor.watch import Watch
from services.serving.batch import Server, Where, answer
from services.serving.samples import Samples
from services.serving.score import Model

FEATURES = tuple(f"f{number}" for number in range(20))
TREES = 50
LATE_EVENTS = 1_000
WHERE = Where("bench-samples", "bench-predictions", "bench-observations", 0)
DEFAULT = "monitor"
TASKS: tuple[Task, ...] = ("classification", "regression")
SLICES = (Slice(feature="f0", bins=(0.0,)), Slice(feature="f1", bins=(-1.0, 1.0)))


def samples_of(task: Task, events: int, seed: int = 1) -> tuple[list[dict[str, Any]], np.ndarray[Any, Any]]:
    """Events, each followed by the label of an earlier one; and what a model can learn of them."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(events, len(FEATURES)))
    truth = features[:, 0] + rng.normal(size=events)
    labels = (truth > 0).astype(float) if task == "classification" else truth
    rows: list[dict[str, Any]] = []
    about = {
        "entity": "e", "feature_set": "ours", "event": b"", "source_topic": "bench-events", "source_partition": 0,
    }  # fmt: skip
    for number in range(events + LATE_EVENTS):
        if number < events:
            rows.append(
                {
                    **about, "kind": "EVENT", "event_id": f"event-{number}", "time_ms": number * 1000,
                    "features": features[number].tolist(), "label": None, "source_offset": number,
                    "source_time_ms": number * 1000,
                }
            )  # fmt: skip
        late = number - LATE_EVENTS
        if late >= 0:
            rows.append(
                {
                    **about, "kind": "LABEL", "event_id": f"event-{late}", "time_ms": number * 1000, "features": [],
                    "label": float(labels[late]), "source_offset": late, "source_time_ms": number * 1000,
                }
            )  # fmt: skip
    return rows, np.column_stack([features, labels])


def model_of(task: Task, rows: np.ndarray[Any, Any]) -> Model:
    """Boosted trees, as most projects have them."""
    x, y = rows[:3_000, :-1].astype(np.float32), rows[:3_000, -1]
    kind = GradientBoostingClassifier if task == "classification" else GradientBoostingRegressor
    fitted = kind(n_estimators=TREES, max_depth=3, random_state=0).fit(x, y)
    options = {"zipmap": False} if task == "classification" else {}
    content = to_onnx(fitted, x[:1], options={id(fitted): options}).SerializeToString()
    return Model(content, width=len(FEATURES), classes=2 if task == "classification" else 0)


def profile_of(task: Task, model: Model) -> Profile:
    """What the trainer records of such rows: as many as a profile has, and as many hold-out rows with their answers."""
    _, rows = samples_of(task, 2 * ROWS_MAX, seed=2)
    training, holdout = (dict(zip(FEATURES, part[:, :-1].T, strict=True)) for part in np.split(rows, 2))
    said = model.score(rows[ROWS_MAX:, :-1].astype(np.float32))
    return Profile(
        run_id="bench",
        feature_set="ours",
        rows=ROWS_MAX,
        holdout_rows=ROWS_MAX,
        from_time_ms=0,
        until_time_ms=1,
        features=training,
        labels=rows[:ROWS_MAX, -1],
        holdout_features=holdout,
        holdout_labels=rows[ROWS_MAX:, -1],
        holdout_values=np.asarray(said.values, np.float64),
        holdout_scores=np.asarray(said.scores, np.float64),
    )


def timed(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Seconds of the best round, and what came of the last."""
    best_s, made = float("inf"), None
    for _ in range(rounds):
        began_s = time.process_time()
        made = work()
        best_s = min(best_s, time.process_time() - began_s)
    return best_s, made


async def serving(task: Task, events: int, frame_rows: int, rounds: int) -> tuple[int, float, list[Any], Profile]:
    """Rows, seconds, the frames that serving makes of them, and the profile of its model."""
    codec = Codec(LocalSchemas())
    for topic, name in (
        (WHERE.samples, "sample-recorded"),
        (WHERE.predictions, "prediction-made"),
        (WHERE.observations, "observations-recorded"),
    ):
        await codec.prepare_topic(topic, schemas.load(name))
    rows, learned = samples_of(task, events)
    classes = ("no", "yes") if task == "classification" else ()
    model = model_of(task, learned)
    server = Server(model, "bench", 1, 1, classes, FEATURES)
    values = [codec.encode_record(WHERE.samples, row) for row in rows]
    columnar = await codec.columnar(values, newest("sample-recorded"))
    assert columnar is not None, "samples are decoded by the column"

    def work() -> list[bytes]:
        frames: list[bytes] = []
        for begin in range(0, len(values), frame_rows):
            batch = columnar.decode(values[begin : begin + frame_rows])
            assert batch is not None, "all of them are readable"
            samples = Samples(batch, range(begin, begin + batch.num_rows))
            frames += answer(samples, server, WHERE, codec, from_offset=begin, now_ms=0).observations
        return frames

    took_s, frames = timed(work, rounds)
    observed = [await codec.decode(ObservationsRecorded, frame) for frame in frames]
    return len(rows), took_s, observed, profile_of(task, model)


def policies(task: Task) -> dict[str, Policy]:
    """What the monitor does in full, and parts of it by themselves."""
    classes = 2 if task == "classification" else 0
    adwin = {"delta": 1e-6, "clock": 32, "min_window_length": 5, "grace_period": 10}
    default = Policy(task=task, classes=classes, windows=Windows())
    bare = replace(default, windows=None, estimate="off")
    return {
        DEFAULT: default,
        "join, metrics, error": bare,
        "and the estimate": replace(bare, estimate="warn"),
        "and windows": replace(bare, windows=Windows()),
        "and ADWIN on features": replace(bare, features=adwin),
    }


def monitor(task: Task, frames: list[Any], profile: Profile, rounds: int) -> dict[str, float]:
    """Seconds of all as it is by default, and of parts."""

    def taken(policy: Policy) -> None:
        watch = Watch(policy, lambda _: profile)
        for frame in frames:
            watch.take(read_rows(frame))

    classes = 2 if task == "classification" else 0
    found = {name: timed(partial(taken, policy), rounds)[0] for name, policy in policies(task).items()}
    rows = [read_rows(frame) for frame in frames]
    found["frames"] = timed(lambda: [read_rows(frame) for frame in frames], rounds)[0]

    def joined() -> list[Any]:
        join = Join(200_000, classes, Slicer())
        return [join.take(each) for each in rows]

    found["join"], pairs = timed(joined, rounds)
    found["metrics"] = timed(lambda: _measured(Prequential(task, 500, classes), pairs), rounds)[0]
    slicer = Slicer(SLICES)

    def sliced() -> None:
        join, prequential = Join(200_000, classes, slicer), Prequential(task, 500, classes, slicer)
        _measured(prequential, [join.take(each) for each in rows])

    found["join and metrics, two slices"] = timed(sliced, rounds)[0]
    return found


def _measured(prequential: Prequential, pairs: list[Any]) -> None:
    for each in pairs:
        prequential.take(each)


@click.command(help=__doc__)
@click.option("--events", default=60_000, show_default=True)
@click.option("--frame-rows", default=(2_000, 10_000), multiple=True, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--report", "folder", default=Path("reports"), show_default=True, type=click.Path(path_type=Path))
def main(*, events: int, frame_rows: tuple[int, ...], rounds: int, folder: Path) -> None:
    """Measure, print, write monitor-throughput.json."""
    made = []
    for task in TASKS:
        for size in frame_rows:
            rows, serving_s, frames, profile = asyncio.run(serving(task, events, size, rounds))
            took_s = monitor(task, frames, profile, rounds)
            row = {
                "task": task,
                "frame_rows": size,
                "ratio": round(serving_s / took_s[DEFAULT], 2),
                "serving_rows_per_s": round(rows / serving_s),
                "monitor_rows_per_s": round(rows / took_s.pop(DEFAULT)),
                "parts_rows_per_s": {name: round(rows / part_s) for name, part_s in took_s.items()},
            }
            made.append(row)
            click.echo(json.dumps(row))
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"events": events, "rounds": rounds, "features": len(FEATURES), "trees": TREES}
    content = json.dumps({"settings": settings, "rows": made}, indent=2) + "\n"
    (folder / "monitor-throughput.json").write_text(content, "utf-8")


if __name__ == "__main__":
    main()
