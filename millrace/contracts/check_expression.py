"""Rules over several fields: the small language of ``{kind: compare, check: "vicdemand + transfer <= 2 * nswdemand"}``.

The text is parsed by Python's own parser and then held to an allow-list; nothing of it is ever run as Python. What is
on the list: names of fields, numbers, ``+ - * /``, ``abs``, ``min``, ``max``, comparisons (also ``0 <= a < b``),
``and``, ``or``, ``not``, and a field compared with a text by ``==`` or ``!=``.

All arithmetic is that of float64, for one record and for a whole column alike, so that both say the same: nothing is
raised, 1 / 0 is infinite, and a comparison with what cannot be computed (0 / 0) is false, except ``!=``.
"""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, Protocol

import numpy as np

FieldKind = Literal["number", "text", "any"]
LONGEST_CHECK = 500  # characters; Python's parser recurses, and nobody reads more than that
Eval = Callable[["Rows"], Any]

_ARITHMETIC: Mapping[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_COMPARE: Mapping[type[ast.cmpop], Any] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_CALLS: Mapping[str, Any] = {"abs": np.abs, "min": np.minimum, "max": np.maximum}


class Rows(Protocol):
    """Where a check finds its fields: one record, or a batch by the column."""

    def number(self, name: str) -> Any:
        """The field as float64: one number, or a column of them."""

    def equals(self, name: str, text: str) -> Any:
        """Whether the field is this text: one truth value, or a column of them."""


@dataclass(frozen=True, slots=True)
class Check:
    """A parsed rule. ``fields`` says which fields it looks at, and what each must be."""

    text: str
    fields: Mapping[str, FieldKind]
    _run: Eval = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Check":
        """Read the text of a rule.

        Raises:
            ValueError: it says something that is not on the list, with the part and the way out.

        >>> dict(Check.parse("vicdemand + transfer <= 2 * nswdemand").fields)
        {'vicdemand': 'number', 'transfer': 'number', 'nswdemand': 'number'}
        >>> Check.parse("a.b > 1")
        Traceback (most recent call last):
        ValueError: 'a.b' in check 'a.b > 1' is not understood; use fields, numbers, + - * / abs min max and or not
        """
        if len(text) > LONGEST_CHECK:
            raise ValueError(f"check has {len(text)} characters, at most {LONGEST_CHECK} are read; split it in two")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # what the parser raises, by its manual
            raise ValueError(f"check {text!r} cannot be read: {error}; write for example 'a + b <= 2 * c'") from error
        reader = _Reader(text)
        run = reader.truth(tree.body)
        if not reader.fields:
            raise ValueError(f"check {text!r} names no field, so it says nothing about a record; name one")
        return cls(text, reader.fields, run)

    def holds(self, rows: Rows) -> Any:
        """Whether the rule holds: one truth value, or a column of them. Rows with a missing field mean nothing here."""
        with np.errstate(all="ignore"):
            return self._run(rows)


class _Reader:
    """Turns the parsed text into functions, and notes the fields."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.fields: dict[str, FieldKind] = {}

    def truth(self, node: ast.expr) -> Eval:
        """A part that is true or false."""
        match node:
            case ast.BoolOp(op, values):
                parts = [self.truth(value) for value in values]
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return lambda rows: reduce(join, [part(rows) for part in parts])
            case ast.UnaryOp(ast.Not(), operand):
                inner = self.truth(operand)
                return lambda rows: np.logical_not(inner(rows))
            case ast.Compare(left, ops, rights):
                sides = [left, *rights]
                pairs = [self._pair(op, *sides[place : place + 2]) for place, op in enumerate(ops)]
                return lambda rows: reduce(np.logical_and, [pair(rows) for pair in pairs])
        if self._is_number(node):
            self._number(node)  # or it is neither
            raise ValueError(f"{self._part(node)} is a number, not true or false; compare it with something")
        raise self._unknown(node)

    def _pair(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Eval:
        if type(op) not in _COMPARE:
            raise ValueError(f"check {self._text!r} compares with {type(op).__name__}; use < <= > >= == !=")
        for name, text in ((left, right), (right, left)):
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                return self._text_pair(op, name, text.value)
        first, second, compare = self._number(left), self._number(right), _COMPARE[type(op)]
        return lambda rows: compare(first(rows), second(rows))

    def _text_pair(self, op: ast.cmpop, node: ast.expr, text: str) -> Eval:
        if not isinstance(node, ast.Name) or not isinstance(op, ast.Eq | ast.NotEq):
            raise ValueError(f"check {self._text!r}: a text can only be compared with a field, by == or !=")  # noqa: TRY004
        name, wanted = self._note(node.id, "text"), isinstance(op, ast.Eq)
        return lambda rows: np.equal(rows.equals(name, text), wanted)

    def _number(self, node: ast.expr) -> Eval:
        """A part that is a number."""
        match node:
            case ast.Name(name):
                self._note(name, "number")
                return lambda rows: rows.number(name)
            case ast.Constant(int() | float() as value) if _is_plain(value):
                constant = np.float64(value)
                return lambda _: constant
            case ast.UnaryOp(ast.USub(), operand):
                inner = self._number(operand)
                return lambda rows: np.negative(inner(rows))
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
                first, second, compute = self._number(left), self._number(right), _ARITHMETIC[type(op)]
                return lambda rows: compute(first(rows), second(rows))
            case ast.Call(ast.Name(name), [*args], []) if name in _CALLS:
                return self._call(node, name, args)
        raise self._unknown(node)

    def _call(self, node: ast.expr, name: str, args: list[ast.expr]) -> Eval:
        parts, function = [self._number(arg) for arg in args], _CALLS[name]
        if name == "abs" and len(parts) == 1:
            return lambda rows: function(parts[0](rows))
        if name != "abs" and len(parts) >= 2:
            return lambda rows: reduce(function, [part(rows) for part in parts])
        raise ValueError(f"{self._part(node)} has {len(parts)} arguments; abs takes one, min and max take two or more")

    def _note(self, name: str, kind: FieldKind) -> str:
        known = self.fields.setdefault(name, kind)
        if known != kind:
            raise ValueError(f"check {self._text!r} takes {name!r} for a {known} and for a {kind}; it can be only one")
        return name

    def _is_number(self, node: ast.expr) -> bool:
        computed = isinstance(node, ast.BinOp | ast.Call | ast.Name | ast.UnaryOp)
        return computed or (isinstance(node, ast.Constant) and _is_plain(node.value))

    def _part(self, node: ast.expr) -> str:
        return f"{ast.unparse(node)!r} in check {self._text!r}"

    def _unknown(self, node: ast.expr) -> ValueError:
        known = "fields, numbers, + - * / abs min max and or not"
        return ValueError(f"{self._part(node)} is not understood; use {known}")


def _is_plain(value: object) -> bool:
    """A finite number, and no truth value."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(float(value))
    except OverflowError:  # a whole number past the largest float
        return False
