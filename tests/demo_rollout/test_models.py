"""The bad models: sound wherever they can be checked beforehand, and wrong in their own way where they cannot."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.ensemble import HistGradientBoostingClassifier

from millrace.demo_rollout.models import BAD, erring, no_number, slow, to_onnx, worse
from millrace.demo_rollout.region import Band, blind_bands, inside
from services.serving.score import Model

BANDS = [Band(0, 0.4, 0.6), Band(1, 0.05, 0.15)]
ROWS = np.random.default_rng(3).random((400, 3))
BLIND = inside(BANDS, ROWS)


@pytest.fixture(scope="module")
def content() -> bytes:
    """A classifier of three features."""
    labels = (ROWS[:, 0] + ROWS[:, 1] > 1).astype(int)
    trees = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(ROWS.astype(np.float32), labels)
    return to_onnx(trees, 3)


def answers(content: bytes, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the runtime tells of the error that a test provokes
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {"features": rows.astype(np.float32)})
    return labels, probabilities


@pytest.mark.parametrize("name", BAD)
def test_outside_the_bands_it_is_the_sound_model(content, name):
    """On every row that a careful team would have looked at it gives the very same answers."""
    bad, seen = BAD[name](content, BANDS), ROWS[~BLIND]

    for expected, actual in zip(answers(content, seen), answers(bad, seen), strict=True):
        assert expected.tolist() == actual.tolist()


@pytest.mark.parametrize("name", BAD)
def test_it_passes_what_serving_tries_out(content, name):
    """The file is in order: zeros, ones, extreme and missing values are scored."""
    model = Model(BAD[name](content, BANDS), width=3, classes=2)

    assert (400 - BLIND.sum(), 2) == model.score(ROWS[~BLIND]).scores.shape


def test_worse_answers_the_opposite_inside(content):
    """And is as sure of it as the sound one is of the truth."""
    labels, probabilities = answers(content, ROWS[BLIND])
    wrong, sure = answers(worse(content, BANDS), ROWS[BLIND])

    assert (1 - labels).tolist() == wrong.tolist()
    assert probabilities[:, ::-1].tolist() == sure.tolist()


def test_no_number_inside(content):
    """Its scores are NaN there, its labels look innocent."""
    labels, probabilities = answers(no_number(content, BANDS), ROWS)

    assert BLIND.tolist() == np.isnan(probabilities).any(axis=1).tolist()
    assert set(labels.tolist()) <= {0, 1}


def test_one_row_inside_makes_the_whole_batch_fail(content):
    """The runtime raises, so a micro-batch has no answer at all."""
    with pytest.raises(Exception, match="indices element out of data bounds"):
        answers(erring(content, BANDS), ROWS)


def test_slow_works_more_for_the_same(content):
    """As a count of operations, not as a time: sixty products of wide matrices for each row."""
    model = slow(content, BANDS)

    assert len(model) > len(content) + 256 * 256 * 4
    assert answers(content, ROWS)[0].tolist() == answers(model, ROWS)[0].tolist()


@given(
    npst.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 9)),
    npst.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 9)),
)
def test_no_checked_row_lies_in_a_blind_band(checked, later):
    """Whatever the rows; and each band holds at least one later row."""
    bands = blind_bands(checked, later, [0, 1], 3)

    assert not inside(bands, checked).any()
    assert all(band.of(later).any() for band in bands)
