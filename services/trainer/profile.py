"""The profile of a run: a sample of its rows and of what its model says, for the monitor to compare with. Pure."""

import numpy as np

from millrace.contracts.events import TrainingProfileRecorded, TrainingRunChanged
from millrace.contracts.profile import Floats, decode_rows, encode_rows, spread
from services.trainer.train.window import Window


def profile_of_run(
    started: TrainingRunChanged, window: Window, answers: bytes, names: tuple[str, ...], now_ms: int
) -> TrainingProfileRecorded | None:
    """The event; None for a run without rows of the log, as of a file that was judged on its own sample.

    Args:
        started: the run, which says how many of the newest rows were held out.
        window: its rows, oldest first.
        answers: what the model says of the hold-out rows, as ``FitResult.answers``.
        names: of the features.
        now_ms: wall time.
    """
    held, kept = started.holdout_rows, len(window.rows) - started.holdout_rows
    if not held or kept < 1 or not answers:
        return None
    said = decode_rows(answers)
    at = spread(held, len(names) + 1 + len(said))
    holdout = _columns(window, names, kept + at) | {name: values[at] for name, values in said.items()}
    return TrainingProfileRecorded(
        profile_id=f"profile/{started.run_id}",
        model=started.model,
        run_id=started.run_id,
        feature_set=started.feature_set,
        rows=kept,
        holdout_rows=held,
        from_time_ms=min(row.time_ms for row in window.rows),
        until_time_ms=max(row.time_ms for row in window.rows),
        frame=encode_rows(_columns(window, names, spread(kept, len(names) + 1))),
        holdout_frame=encode_rows(holdout),
        recorded_at_ms=now_ms,
    )


def _columns(
    window: Window, names: tuple[str, ...], at: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> dict[str, Floats]:
    rows = [window.rows[place] for place in at.tolist()]
    features = np.array([row.features for row in rows], np.float64).reshape(len(rows), len(names))
    return {name: features[:, index] for index, name in enumerate(names)} | {
        "label": np.array([row.label for row in rows])
    }
