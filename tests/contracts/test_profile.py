"""A training profile: what is sampled, and what its frames must hold."""

import numpy as np
import pytest

from millrace.contracts.errors import UndecodableError
from millrace.contracts.events import TrainingProfileRecorded
from millrace.contracts.profile import FRAME_BYTES_MAX, ROWS_MAX, decode_rows, encode_rows, profile_of, spread

TRAIN = {"price": [0.1, np.nan, 0.3], "label": [0.0, 1.0, 1.0]}
HOLDOUT = {"price": [0.4, 0.5], "label": [0.0, 1.0], "value": [0.0, 0.0], "score_0": [0.9, 0.6], "score_1": [0.1, 0.4]}


def recorded(train=TRAIN, holdout=HOLDOUT):
    """The event with these columns."""
    return TrainingProfileRecorded(
        profile_id="profile/run-1", model="m", run_id="run-1", feature_set="f", rows=3, holdout_rows=2,
        from_time_ms=0, until_time_ms=9, recorded_at_ms=10, frame=encode_rows(train),
        holdout_frame=encode_rows(holdout),
    )  # fmt: skip


def test_a_profile_is_read_as_it_was_written():
    """Features, labels, values and scores come back, missing values as NaN."""
    profile = profile_of(recorded())

    assert profile.run_id == "run-1"
    np.testing.assert_array_equal(profile.features["price"], TRAIN["price"])
    assert profile.labels.tolist() == TRAIN["label"]
    assert profile.holdout_features["price"].tolist() == HOLDOUT["price"]
    assert profile.holdout_values.tolist() == HOLDOUT["value"]
    assert profile.holdout_scores.tolist() == [[0.9, 0.1], [0.6, 0.4]]


def test_without_scores_there_are_no_columns_of_them():
    """Regression, and models that say only a class."""
    holdout = {name: values for name, values in HOLDOUT.items() if not name.startswith("score")}

    assert profile_of(recorded(holdout=holdout)).holdout_scores.shape == (2, 0)


@pytest.mark.parametrize(
    ("train", "holdout", "words"),
    [
        ({"price": [1.0]}, HOLDOUT, "'label'"),
        (TRAIN, {"price": [1.0], "label": [0.0]}, "'value'"),
        ({**TRAIN, "demand": [1.0, 2.0, 3.0]}, HOLDOUT, "demand"),
    ],
)
def test_what_lacks_a_column_is_refused(train, holdout, words):
    """The error names the column."""
    with pytest.raises(UndecodableError, match=words):
        profile_of(recorded(train, holdout))


def test_rubbish_is_refused():
    """Bytes that are no Arrow stream."""
    with pytest.raises(UndecodableError, match="7 bytes"):
        decode_rows(b"rubbish")


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (10, 20), (8_000, 20), (1_000_000, 300), (50, 100_000)])
def test_a_sample_fits_into_a_record(rows, columns):
    """It holds first and last row, no row twice, and never more than fits."""
    at = spread(rows, columns)

    assert at[0] == 0
    assert len(set(at.tolist())) == len(at) <= min(rows, ROWS_MAX)
    assert len(at) == 1 or (at[-1] == rows - 1 and len(at) * columns * 8 <= FRAME_BYTES_MAX)
