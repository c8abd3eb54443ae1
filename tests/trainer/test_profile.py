"""The profile of a run: which rows, with which answers."""

import numpy as np

from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.profile import encode_rows, profile_of
from services.trainer.profile import profile_of_run
from services.trainer.train.window import Row, Window

NAMES = ("price", "demand")
ANSWERS = encode_rows({"value": [0.0, 1.0, 1.0], "score_0": [0.8, 0.3, 0.1], "score_1": [0.2, 0.7, 0.9]})


def run(holdout_rows=3, train_rows=7):
    """A run that held back the newest rows."""
    return TrainingRunChanged(
        run_id="run-1", model="m", status="STARTED", trigger="FIRST_DATA", caused_by="s", ranges=(), feature_set="f",
        code_hash="c", seed=1, train_rows=train_rows, holdout_rows=holdout_rows, duration_s=0.0, changed_at_ms=5,
    )  # fmt: skip


def window(rows=10):
    """Rows numbered from 0, each with its number in both features."""
    return Window((), tuple(Row(1000 + n, 0, n, (n + 0.1, n + 0.2), float(n % 2)) for n in range(rows)))


def test_training_and_hold_out_rows_are_apart():
    """The oldest rows are the training rows, the newest those that the answers are about, as the log has them."""
    profile = profile_of(profile_of_run(run(), window(), ANSWERS, NAMES, 99))

    assert (profile.rows, profile.holdout_rows) == (7, 3)
    assert (profile.from_time_ms, profile.until_time_ms) == (1000, 1009)
    assert profile.features["price"].tolist() == [n + 0.1 for n in range(7)]
    assert profile.holdout_features["demand"].tolist() == [n + 0.2 for n in (7, 8, 9)]
    assert profile.holdout_labels.tolist() == [1.0, 0.0, 1.0]
    assert profile.holdout_values.tolist() == [0.0, 1.0, 1.0]
    assert profile.holdout_scores[:, 1].tolist() == [0.2, 0.7, 0.9]


def test_many_rows_are_sampled_in_step_with_their_answers():
    """Value n is the answer to row n, also where not every row is kept."""
    answers = encode_rows({"value": np.arange(5000.0)})
    profile = profile_of(profile_of_run(run(5000, 4000), window(9000), answers, NAMES, 99))

    assert len(profile.labels) == len(profile.holdout_values) == 2000
    assert np.allclose(profile.holdout_features["price"], 4000 + profile.holdout_values + 0.1)


def test_without_rows_of_the_log_there_is_none():
    """As of a file that was judged on the sample that came with it."""
    assert profile_of_run(run(0, 0), Window((), ()), ANSWERS, NAMES, 99) is None
