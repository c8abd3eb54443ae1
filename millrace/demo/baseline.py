"""What the loop is measured against: its own first model left alone, and repeating the last label known. Pure."""

import numpy as np
import onnxruntime

from millrace.demo.ledger import MISSING, Columns, Floats

BATCH_ROWS = 5000


def frozen(content: bytes, features: Floats) -> Floats:
    """What the model in this ONNX file says about each row of features."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the services need the other cores
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    said = [
        np.asarray(session.run(None, {name: features[at : at + BATCH_ROWS].astype(np.float32)})[0]).reshape(-1)
        for at in range(0, len(features), BATCH_ROWS)
    ]
    return np.concatenate(said, dtype=np.float64) if said else np.empty(0)


def repeat_last(columns: Columns) -> Floats:
    """For each row the newest label of its entity that was known by the time of the event; NaN before the first."""
    said = np.full(len(columns), MISSING)
    for entity in np.unique(columns.entity):
        rows = np.flatnonzero(columns.entity == entity)
        known = rows[~np.isnan(columns.label[rows])]
        known = known[np.argsort(columns.label_time_ms[known], kind="stable")]
        newest = np.searchsorted(columns.label_time_ms[known], columns.time_ms[rows], side="right") - 1
        has_one = newest >= 0
        said[rows[has_one]] = columns.label[known[newest[has_one]]]
    return said
