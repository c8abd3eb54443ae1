"""The stream on which the monitor is measured: each event is followed by its label, and the version has a profile.

Half of the rows are labels, 1,000 events late, so each row that the monitor reads is either judged against the training
rows or joined and measured: all that it does by default. The profile is made of the first rows of the stream itself,
with what the model says of them, since nothing drifts here.
"""

import asyncio
from io import BytesIO
from typing import Any

import numpy as np
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from benchmarks.latency_clients import encode_events, event_id, fields
from benchmarks.latency_stage import Stage, write
from benchmarks.load import load
from benchmarks.readback import read_all
from millrace.contracts import schemas, topics
from millrace.contracts.codec import HEADER_BYTES
from millrace.contracts.events import ModelVersionChanged
from millrace.contracts.frames import decode_frame, feature_names, score_names
from millrace.contracts.monitor_events import TrainingProfileRecorded
from millrace.contracts.profile import encode_rows
from millrace.contracts.schemas import newest

LATE_EVENTS = 1_000
PROFILE_ROWS = 4_000  # half for training, half held out
HALF = 0.5  # of a standard deviation
FRAMES = 8  # of the observations that are looked at for the profile
NOISE = 0.1  # share of the labels that are the other class
RUN_ID = "run/benchmark"
Pair = tuple[bytes, bytes]


def load_labelled(stage: Stage, prefix: str, count: int, at_ms: int, rate: float) -> None:
    """Append so many events, and as many labels to their own topic, each ``LATE_EVENTS`` later in event time."""
    events = encode_events(stage, prefix, count, at_ms, rate)
    load(stage.bootstrap_servers, stage.topic(topics.EVENTS), events)
    schema, header = newest("label-observed").parsed, b"\0" + stage.label_schema_id.to_bytes(4, "big")

    def label(number: int, key: bytes) -> Pair:
        at = at_ms + round((number + LATE_EVENTS) * 1000 / rate)
        out = BytesIO(header)
        out.seek(0, 2)
        record = {"event_id": event_id(prefix, number), "label": float(truth[number]), "label_time_ms": at}
        schemaless_writer(out, schema, record)
        return key, out.getvalue()

    truth = truths(count)
    load(stage.bootstrap_servers, stage.topic(topics.LABELS), (label(n, key) for n, (key, _) in enumerate(events)))


def truths(count: int) -> np.ndarray[Any, Any]:
    """The class of each event: by its first field, as the model has learned it, but for some noise."""
    return (fields(count)[:, 0] > HALF) ^ (np.random.default_rng(3).random(count) < NOISE)


def record_profile(stage: Stage) -> None:
    """Write that version 1 came of a run, and that run's profile, from the first observations of the stream."""
    rows = _first_rows(stage)
    half = len(rows["label"]) // 2
    said = {"value", *score_names(rows)}
    profile = TrainingProfileRecorded(
        profile_id=f"profile/{RUN_ID}",
        model=stage.project.model,
        run_id=RUN_ID,
        feature_set=stage.project.feature_set,
        rows=half,
        holdout_rows=half,
        from_time_ms=0,
        until_time_ms=1,
        frame=encode_rows({name: column[:half] for name, column in rows.items() if name not in said}),
        holdout_frame=encode_rows({name: column[half:] for name, column in rows.items()}),
        recorded_at_ms=0,
    )
    asyncio.run(write(stage, {topics.MODEL_VERSIONS: _version(stage), topics.TRAINING_PROFILES: profile}))


def _first_rows(stage: Stage) -> dict[str, Any]:
    """Features, answers and labels of the first events in one partition of the observations."""
    schema = parse_schema(schemas.without_logical_types(schemas.load("observations-recorded")))
    kept, labels = dict[str, list[Any]](), dict[str, float]()
    for message in read_all(stage.bootstrap_servers, stage.topic(topics.OBSERVATIONS), FRAMES):
        frame = BytesIO(message.value())
        frame.seek(HEADER_BYTES)
        columns = decode_frame(schemaless_reader(frame, schema, None)["frame"])
        is_label = np.asarray(columns["is_label"])
        ids = np.array(columns["event_id"])
        labels |= dict(zip(ids[is_label].tolist(), np.asarray(columns["label"])[is_label].tolist(), strict=True))
        kept.setdefault("event_id", []).extend(ids[~is_label].tolist())
        for name in ("value", *score_names(columns), *feature_names(columns)):
            kept.setdefault(name, []).extend(np.asarray(columns[name])[~is_label].tolist())
    known = [place for place, each in enumerate(kept["event_id"]) if each in labels][:PROFILE_ROWS]
    found = {name: np.array(column)[known] for name, column in kept.items() if name != "event_id"}
    return found | {"label": np.array([labels[kept["event_id"][place]] for place in known])}


def _version(stage: Stage) -> ModelVersionChanged:
    return ModelVersionChanged(
        change_id=f"version/{stage.project.model}/1", model=stage.project.model, version=1, status="PROMOTED",
        run_id=RUN_ID, artifact_sha256=None, feature_set=stage.project.feature_set, metrics={}, reasons=(),
        caused_by="benchmark", changed_at_ms=0,
    )  # fmt: skip
