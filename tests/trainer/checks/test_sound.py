"""Checks of file and rows: schema, parity, finite scores, enough rows, both classes, vetoes, size, scoring time."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from services.trainer.train.checks import check, schema
from services.trainer.train.score import Scores
from services.trainer.train.task import Rows
from tests.trainer.checks.made import NUMBERS, candidate, names, result, right_but, task


def changed(artifact, **metadata):
    """The file with other words about itself; None takes one away."""
    model = onnx.load_model_from_string(artifact)
    said = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    kept = {key: value for key, value in {**said, **metadata}.items() if value is not None}
    onnx.helper.set_model_props(model, kept)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"features": json.dumps(["b", "a", "c"])},
            'its features are ["b", "a", "c"], the project\'s are ["a", "b", "c"]',
        ),
        ({"feature_set": "other"}, "its feature_set are other"),
        ({"classes": json.dumps(["yes", "no"])}, "its classes are"),
        ({"features": None}, "it does not say its features"),
    ],
)
def test_a_file_for_something_else_is_refused(metadata, said):
    """Order of features, feature set and classes are the project's; the message has both."""
    one = task()
    made = candidate(one)
    assert result(one, made, "schema").passed
    found = result(one, replace(made, artifact=changed(made.artifact, **metadata)), "schema")
    assert (False, 1.0) == (found.passed, found.value)
    assert said in found.message


def test_an_imported_file_need_not_say_what_it_is():
    """But what it says must be right."""
    one = task(changes={"imported": b"file"})
    made = candidate(one)
    silent = changed(made.artifact, features=None, feature_set=None, classes=None, task=None)
    wrong = changed(made.artifact, feature_set="other")
    passed = [result(one, replace(made, artifact=file), "schema").passed for file in (silent, wrong)]
    assert [True, False] == passed


def test_the_input_must_fit():
    """Width and type are looked at, whatever the file says about itself."""
    one = task()
    made = candidate(one)
    for change, said in ((set_width, "[None, 3] is needed"), (set_double, "DOUBLE, FLOAT is needed")):
        model = onnx.load_model_from_string(made.artifact)
        change(model.graph.input[0].type.tensor_type)
        found = next(schema.check(one, replace(made, artifact=model.SerializeToString())))
        assert not found.passed
        assert said in found.message


def set_width(kind):
    """Four features."""
    kind.shape.dim[1].dim_value = 4


def set_double(kind):
    """Double precision."""
    kind.elem_type = onnx.TensorProto.DOUBLE


def test_parity_has_its_limit_and_no_meaning_for_an_imported_file():
    """Scores that are not the estimator's on one row of 400."""
    one, loose = task(), task(parity_share=0.01)
    made = candidate(one)
    values = made.scores.values.copy()
    values[5] = 1 - values[5]
    apart = replace(made, scores=made.scores._replace(values=values))
    assert [False, True] == [result(each, apart, "onnx-parity").passed for each in (one, loose)]
    assert "raise gates.parity_share" in result(one, apart, "onnx-parity").message
    assert "onnx-parity" not in names(one, replace(made, estimator=None))


def test_scores_that_are_no_numbers_end_the_judgement():
    """Nothing else is measured on them than whether they beat a constant, and nothing passes by accident."""
    one = task()
    good = right_but(one, [])
    broken = Scores(good.values, np.where(np.arange(400)[:, None] == 3, np.nan, good.probabilities))
    made = candidate(one, scores=broken)
    found = result(one, made, "finite-scores")
    assert (False, 1.0) == (found.passed, found.value)
    assert not {"calibration", "robust-noise", "explanation-moved"} & names(one, made)
    assert "beats-majority" in names(one, made)


def test_rows_and_classes_are_counted():
    """Fewer than the project asks for, and a hold-out of one class; a regression has no classes."""
    one = task(changes={"rows_min": 1001})
    assert not result(one, candidate(one), "enough-rows").passed
    flat = replace(task(), holdout=Rows(one.holdout.x, np.zeros(400)))
    assert not result(flat, candidate(flat), "both-classes").passed
    numbers = task(NUMBERS)
    assert "both-classes" not in names(numbers, candidate(numbers))


def test_a_veto_stops_it_in_ingests_words():
    """Absent where nobody asked; passed where nothing was found."""
    one = task()
    made = candidate(one)
    assert "no-veto" not in names(one, made)
    assert result(one, replace(made, vetoes=()), "no-veto").passed
    found = result(one, replace(made, vetoes=("schema-skew: field 'x' is not written any more",)), "no-veto")
    assert (False, 1.0) == (found.passed, found.value)
    assert "is not written any more; retrain when" in found.message


def test_size_has_a_limit():
    """In bytes; null turns it off."""
    one = task(size_bytes_max=100)
    made = candidate(one)
    found = result(one, made, "size")
    assert (False, float(len(made.artifact))) == (found.passed, found.value)
    assert result(task(), made, "size").passed
    assert "size" not in names(task(size_bytes_max=None), made)


@pytest.mark.parametrize(("seconds", "passed", "value"), [(0.01234, True, 31.0), (0.9, False, 2200.0)])
def test_scoring_time_is_the_clocks(seconds, passed, value):
    """Each run takes so many of the clock's seconds for 400 rows; two digits are told."""
    one = task()
    ticks = iter(range(100))
    found = {each.name: each for each in check(one, candidate(one), lambda: next(ticks) * seconds)}["scoring-time"]
    assert (passed, value) == (found.passed, found.value)
    assert f"about {value:g} us per row in a batch of 400" in found.message


def test_without_a_clock_no_time_is_measured():
    """Nor with a limit of null."""
    one, off = task(), task(scoring_us_max=None)
    assert "scoring-time" not in names(one, candidate(one))
    assert "scoring-time" not in {each.name for each in check(off, candidate(off), lambda: 0.0)}
