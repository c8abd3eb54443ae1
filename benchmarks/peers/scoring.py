"""What every Python peer does with a sample: Avro in, one call of the model, Avro out, all with fastavro.

The schemas come without logical types, so that a time stays an integer: with them fastavro makes a datetime of each,
and a third more of the time goes into decoding, for nothing.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastavro import parse_schema, schemaless_reader, schemaless_writer

HEADER_BYTES = 5  # the magic, and the id of the schema


@dataclass(frozen=True)
class Job:
    """What a peer is told, in a JSON file."""

    bootstrap_servers: str
    group: str
    samples: str
    predictions: str
    partitions: int
    model_file: str
    schema_id: int
    sample_schema: dict[str, Any]
    prediction_schema: dict[str, Any]
    model: str
    classes: list[str]
    folder: str

    @classmethod
    def of_arguments(cls) -> "Job":
        """The job whose file is the last argument."""
        return cls(**json.loads(Path(sys.argv[-1]).read_text("utf-8")))


class Scorer:
    """Decodes, scores and encodes for one job."""

    def __init__(self, job: Job) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the broker needs the other core; more threads only wait for each other
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(job.model_file, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._job = job
        self._sample = parse_schema(job.sample_schema)
        self._prediction = parse_schema(job.prediction_schema)
        self._header = b"\0" + job.schema_id.to_bytes(4, "big")

    def decode(self, value: bytes) -> dict[str, Any]:
        """The sample in these bytes."""
        stream = BytesIO(value)
        stream.seek(HEADER_BYTES)
        return schemaless_reader(stream, self._sample, None)

    def score(self, rows: Sequence[Sequence[float]]) -> tuple[list[int], list[list[float]]]:
        """The class and the scores of each row."""
        labels, scores = self._session.run(None, {self._input: np.array(rows, dtype=np.float32)})
        return labels.tolist(), scores.tolist()

    def encode(
        self, sample: dict[str, Any], partition: int, offset: int, value: int, scores: Sequence[float], now_ms: int
    ) -> bytes:
        """The prediction for a sample, as bytes."""
        out = BytesIO()
        out.write(self._header)
        record = {
            "prediction_id": f"{self._job.model}/{self._job.samples}/{partition}/{offset}",
            "event_id": sample["event_id"],
            "entity": sample["entity"],
            "model": self._job.model,
            "version": 1,
            "variant": "champion",
            "epoch": 1,
            "value": float(value),
            "label": self._job.classes[value],
            "scores": scores,
            "event_time_ms": sample["time_ms"],
            "predicted_at_ms": now_ms,
            "sample_partition": partition,
            "sample_offset": offset,
        }
        schemaless_writer(out, self._prediction, record)
        return out.getvalue()

    def batch(self, partition: int, records: Sequence[tuple[int, bytes]]) -> list[bytes | None]:
        """The prediction for each (offset, value) of one partition; None for what is no event. Scored in one call."""
        samples = [self.decode(value) for _, value in records]
        events = [index for index, sample in enumerate(samples) if sample["kind"] == "EVENT"]
        made: list[bytes | None] = [None] * len(records)
        if events:
            values, scores = self.score([samples[index]["features"] for index in events])
            now = now_ms()
            for index, value, row in zip(events, values, scores, strict=True):
                made[index] = self.encode(samples[index], partition, records[index][0], value, row, now)
        return made


def now_ms() -> int:
    """The time."""
    return time.time_ns() // 1_000_000
