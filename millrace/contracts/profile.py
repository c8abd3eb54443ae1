"""The profile of a version: a sample of the rows that it was trained and tested on, to compare later rows with.

Two frames in ``TrainingProfileRecorded``, each an Arrow IPC stream of float64 columns: the training rows with their
features and ``label``; the hold-out rows with the same and what the model says of them, ``value`` and ``score_<i>``.
The rows of a sample are spread evenly over all of them, so that it covers the whole time of the training rows, and
nothing is random. Features are as the samples log has them, not rounded to what the model takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.contracts.errors import UndecodableError
from millrace.contracts.frames import feature_names, ipc_of, score_names
from millrace.contracts.monitor_events import TrainingProfileRecorded

Floats = npt.NDArray[np.float64]
ROWS_MAX = 2_000  # a share of 0.1 has a standard error of 0.007 there
FRAME_BYTES_MAX = 400_000  # two of them have to fit into one record of 1 MB


@dataclass(frozen=True, slots=True)
class Profile:
    """``features`` and ``labels`` are of sampled training rows; ``holdout_*`` of sampled hold-out rows.

    ``rows`` and ``holdout_rows`` are how many there were in all. ``holdout_scores`` has the shape (rows, classes), or
    (rows, 0) where the model gives no scores.
    """

    run_id: str
    feature_set: str
    rows: int
    holdout_rows: int
    from_time_ms: int
    until_time_ms: int
    features: Mapping[str, Floats]
    labels: Floats
    holdout_features: Mapping[str, Floats]
    holdout_labels: Floats
    holdout_values: Floats
    holdout_scores: Floats


def spread(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Which of so many rows are kept: as many as fit, spread evenly, the first and the last among them.

    >>> spread(5, 3).tolist()
    [0, 1, 2, 3, 4]
    >>> len(spread(100_000, 20)), len(spread(100_000, 200))
    (2000, 250)
    """
    most = max(1, min(ROWS_MAX, FRAME_BYTES_MAX // (8 * columns)))
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64))


def encode_rows(columns: Mapping[str, npt.ArrayLike]) -> bytes:
    """Columns of equal length as an Arrow IPC stream of one batch.

    >>> decode_rows(encode_rows({"price": [0.5, float("nan")]}))["price"].tolist()
    [0.5, nan]
    """
    arrays = [pa.array(np.asarray(values, dtype=np.float64)) for values in columns.values()]
    return ipc_of(pa.record_batch(arrays, names=list(columns)))


def decode_rows(frame: bytes) -> dict[str, Floats]:
    """The columns. Raises ``UndecodableError`` if it is no such frame."""
    try:
        with pa.ipc.open_stream(frame) as reader:
            table = reader.read_all()
        return {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UndecodableError(f"{len(frame)} bytes are no rows of a training profile: {error}") from error


def profile_of(event: TrainingProfileRecorded) -> Profile:
    """The profile in the event. Raises ``UndecodableError`` if its frames do not hold what they should."""
    train, holdout = decode_rows(event.frame), decode_rows(event.holdout_frame)
    missing = [name for name in ("label", "value") if name not in holdout or (name == "label" and name not in train)]
    names, said = feature_names(train), feature_names(holdout)
    if missing or names != said:
        raise UndecodableError(
            f"profile {event.profile_id} lacks the columns {missing}, or its features differ: {names} and {said}"
        )
    scores = [holdout[name] for name in score_names(holdout)]
    return Profile(
        run_id=event.run_id,
        feature_set=event.feature_set,
        rows=event.rows,
        holdout_rows=event.holdout_rows,
        from_time_ms=event.from_time_ms,
        until_time_ms=event.until_time_ms,
        features={name: train[name] for name in names},
        labels=train["label"],
        holdout_features={name: holdout[name] for name in names},
        holdout_labels=holdout["label"],
        holdout_values=holdout["value"],
        holdout_scores=np.column_stack(scores) if scores else np.empty((len(holdout["label"]), 0)),
    )
