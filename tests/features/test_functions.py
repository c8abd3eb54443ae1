"""The owner's own functions: found, called, and held to be pure."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from millrace.contracts.errors import ProjectError
from millrace.contracts.feature_spec import FeatureSpec, Function, feature_set_id
from millrace.features.functions import call, check_pure, load_functions

SOURCE = """
import numpy as np

def spread(bid, ask):
    return ask - bid

def ranked(bid, ask):
    return np.argsort(np.argsort(bid)).astype(float)

calls = []

def counting(bid, ask):
    calls.append(1)
    return bid + len(calls)

def one_number(bid, ask):
    return 1.0

def broken(bid, ask):
    raise KeyError("mid")

def writes(bid, ask):
    bid += 1
    return bid

NUMBER = 3
"""
COLUMNS = {"bid": np.array([3.0, 1.0, float("nan"), 2.0]), "ask": np.array([4.0, 1.5, 2.0, 9.0])}


@pytest.fixture
def folder(tmp_path):
    """A model project with functions."""
    (tmp_path / "features.py").write_text(SOURCE)
    return tmp_path


def spec(name):
    """A feature f of this function."""
    return Function(name="f", kind="function", function=f"features.py:{name}", inputs=("bid", "ask"))


def load(folder, name):
    """The feature and its function."""
    return spec(name), load_functions(folder, [spec(name)])


def test_a_function_is_called_with_columns_by_keyword(folder):
    """Its result is the feature."""
    one, functions = load(folder, "spread")

    assert np.array_equal([1.0, 0.5, np.nan, 7.0], call(one, functions, COLUMNS), equal_nan=True)
    check_pure(one, functions, COLUMNS)


def test_writing_to_its_inputs_harms_nobody(folder):
    """Each call has columns of its own."""
    one, functions = load(folder, "writes")

    check_pure(one, functions, COLUMNS)

    assert 3.0 == COLUMNS["bid"][0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ranked", "for row 0.*'bid': 3.0.*gave 2.0 among 4 rows and 0.0 called with 1 rows at once"),
        ("counting", "for row 0.*called again"),
        ("one_number", r"returned shape \(\); it must return one number for each row"),
        ("broken", "features: f: features.py:broken raised KeyError: 'mid'"),
    ],
)
def test_a_function_that_is_not_elementwise_is_refused(folder, name, said):
    """The message names the feature, the function and the first row."""
    one, functions = load(folder, name)

    with pytest.raises(ProjectError, match=said):
        check_pure(one, functions, COLUMNS)


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("mid", SOURCE, r"defines \['broken', 'counting', 'one_number', 'ranked', 'spread', 'writes'\], no mid"),
        ("NUMBER", SOURCE, "no NUMBER"),
        ("spread", "def spread(:", "features.py cannot be run: SyntaxError"),
        ("spread", "import nothing_like_it", "features.py cannot be run: ModuleNotFoundError"),
        ("spread", None, "features.py cannot be read"),
    ],
)
def test_a_function_that_is_not_there_is_named(tmp_path, name, source, said):
    """The message names the file and what it has."""
    if source is not None:
        (tmp_path / "features.py").write_text(source)

    with pytest.raises(ProjectError, match=said):
        load_functions(tmp_path, [spec(name)])


def test_a_function_that_was_not_loaded_is_named():
    """Rather than a column of nothing."""
    with pytest.raises(ProjectError, match=r"f needs features\.py:spread, which was not loaded"):
        call(spec("spread"), {}, COLUMNS)


def test_the_id_of_a_feature_set_holds_the_source_of_its_functions():
    """Another source is another set; without functions the source does not matter."""
    lag = TypeAdapter(FeatureSpec).validate_python({"name": "f", "kind": "lag", "field": "x", "rows": 2})

    assert feature_set_id([spec("spread")], b"one") != feature_set_id([spec("spread")], b"two")
    assert feature_set_id([lag], b"one") == feature_set_id([lag], b"two") == feature_set_id([lag])
