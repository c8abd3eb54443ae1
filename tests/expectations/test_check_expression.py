"""Rules over several fields: what may be said, and that it means what Python means by it."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.check_expression import LONGEST_CHECK, Check
from millrace.contracts.expectations import Compare
from millrace.expectations.columns import Columns
from millrace.expectations.judge import breaches

NAMES = ("a", "b", "c")


def numbers(depth: int = 2) -> st.SearchStrategy[str]:
    """A part of a rule that is a number."""
    leaf = st.sampled_from(NAMES) | st.integers(-3, 3).map(str) | st.sampled_from(["0.5", "1e3"])
    if not depth:
        return leaf
    inner = numbers(depth - 1)
    pairs = st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda part: f"({part[0]} {part[1]} {part[2]})")
    calls = st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
        lambda part: f"{part[0]}({part[1]}, {part[2]})"
    )
    return leaf | pairs | calls | inner.map(lambda part: f"abs({part})") | inner.map(lambda part: f"-{part}")


def truths(depth: int = 2) -> st.SearchStrategy[str]:
    """A rule."""
    sign = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    leaf = st.lists(numbers(), min_size=2, max_size=3).flatmap(
        lambda parts: st.lists(sign, min_size=len(parts) - 1, max_size=len(parts) - 1).map(
            lambda signs: " ".join(word for pair in zip(parts, [*signs, ""], strict=True) for word in pair).strip()
        )
    )
    if not depth:
        return leaf
    inner = truths(depth - 1)
    pairs = st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
        lambda part: f"({part[0]}) {part[1]} ({part[2]})"
    )
    return leaf | pairs | inner.map(lambda part: f"not ({part})")


@given(truths(), st.lists(st.tuples(*[st.floats(-100, 100) | st.integers(-4, 4)] * 3), min_size=1, max_size=8))
def test_a_rule_means_what_python_means_by_it(text, rows):
    """For one record and by the column; division aside, which does not raise here."""
    check = f"a == a and ({text})" if len(text) < 400 else "a <= b"
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array([float(row[place]) for row in rows]) for place, name in enumerate(NAMES)}
    )
    known = {"abs": abs, "min": min, "max": max, "__builtins__": {}}
    expected = [bool(eval(check, known, dict(zip(NAMES, row, strict=True)))) for row in rows]  # the oracle
    rule = Compare(kind="compare", check=check)

    alone = [not list(breaches([rule], dict(zip(NAMES, row, strict=True)))) for row in rows]
    assert expected == alone
    assert expected == np.broadcast_to(rule.parsed.holds(Columns(batch)), len(rows)).tolist()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("__import__('os').system('true') == 0", "not understood"),
        ("a.b > 1", "'a.b'"),
        ("a[0] > 1", r"'a\[0\]'"),
        ("a ** 2 > 1", r"'a \*\* 2'"),
        ("a // 2 > 1", "not understood"),
        ("[a for a in b] == 1", "not understood"),
        ("(lambda: 1)() == a", "not understood"),
        ("(a := 1) < 2", "not understood"),
        ("a if b > 1 else c", "not understood"),
        ("abs(a, key=b) > 1", "not understood"),
        ("abs(a, b) > 1", "takes one"),
        ("min(a) > 1", "two or more"),
        ("round(a) > 1", "not understood"),
        ("a in (1, 2)", "compares with In"),
        ("a is b", "compares with Is"),
        ("a + 1", "is a number, not true or false"),
        ("abs(a)", "is a number, not true or false"),
        ("True", "not understood"),
        ("a == True", "not understood"),
        ("a > 1e999", "not understood"),
        (f"a > {10**400}", "not understood"),
        ("a < 'x'", "by == or !="),
        ("a + 1 == 'x'", "compared with a field"),
        ("a == 'x' and a > 1", "it can be only one"),
        ("1 < 2", "names no field"),
        ("a <", "cannot be read"),
        ("", "cannot be read"),
        ("class > 1", "cannot be read"),
        ("a > 1\0", "cannot be read"),
        ("(" * 300 + "a" + ")" * 300 + " > 1", "characters"),
        (f"a > {'1' * LONGEST_CHECK}", "at most 500"),
    ],
)
def test_what_is_not_on_the_list_is_refused(text, seen):
    """With the part that is not understood; nothing is ever run as Python."""
    with pytest.raises(ValueError, match=seen):
        Check.parse(text)


def test_what_cannot_be_computed_breaks_the_rule_and_raises_nothing():
    """Division by zero is infinite, 0 / 0 is not comparable."""
    rule = Compare(kind="compare", check="a / b <= 2")

    assert ["rule-broken"] == [one.slug for one in breaches([rule], {"a": 1, "b": 0})]
    assert ["rule-broken"] == [one.slug for one in breaches([rule], {"a": 0, "b": 0})]
    assert [] == list(breaches([rule], {"a": -1, "b": 0}))
    assert [] == list(breaches([rule], {"a": math.nan, "b": 0}))


def test_a_deep_rule_is_read_or_refused_and_never_crashes():
    """As deep as the longest rule can be."""
    holds = Check.parse("-" * 490 + "a < 1").holds

    assert holds(Columns(pa.RecordBatch.from_pydict({"a": [0.0, 2.0]}))).tolist() == [True, False]
