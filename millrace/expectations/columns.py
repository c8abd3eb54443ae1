"""Declared and learned rules for a whole batch by the column: which rows *may* break one. Pure.

A row that is named here is judged again by itself (``judge.py``, ``learned.py``), so a good one may be named, and a bad
one must always be. A property test holds that.

What makes it cheap: the rules of one number field are one interval, and a column whose smallest and largest value lie
in it has no suspect. Only where they do not is every row looked at.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.expectations import Compare, Fresh, Range, Rule, Values
from millrace.expectations.learned import LearnedRules

EXACT = 2.0**53  # whole numbers below this are the same as float64, and so are their neighbours
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Columns:
    """The columns of one ``pyarrow.RecordBatch``, each turned into numbers at most once. A check asks them too."""

    def __init__(self, batch: Any) -> None:
        self.rows: int = batch.num_rows
        self._batch = batch
        self._floats: dict[str, Floats] = {}
        self._nulls: dict[str, Mask] = {}

    def column(self, name: str) -> Any:
        """As it came."""
        return self._batch.column(name)

    def number(self, name: str) -> Floats:
        """As float64, NaN where null."""
        if name not in self._floats:
            column = self._batch.column(name)
            self._floats[name] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return self._floats[name]

    def nulls(self, name: str) -> Mask:
        """Where it is null."""
        if name not in self._nulls:
            self._nulls[name] = self._batch.column(name).is_null().to_numpy(zero_copy_only=False)
        return self._nulls[name]

    def equals(self, name: str, text: str) -> Mask:
        """Where it is this text; not where it is null."""
        return _truths(pc.equal(self._batch.column(name), pa.scalar(text, self._batch.column(name).type)))

    def is_in(self, name: str, texts: Any) -> Mask:
        """Where it is one of these texts; not where it is null."""
        return _truths(pc.is_in(self._batch.column(name), value_set=texts))


@dataclass(frozen=True, slots=True)
class _Interval:
    """Where the numbers of a field must lie for no rule to be broken; ``needed``: nor may one be missing."""

    low: float = -math.inf
    high: float = math.inf
    needed: bool = False

    def meet(self, low: float | None, high: float | None, *, needed: bool = False) -> "_Interval":
        """With one more rule."""
        return _Interval(
            self.low if low is None else max(self.low, low),
            self.high if high is None else min(self.high, high),
            self.needed or needed,
        )

    def suspects(self, values: Floats) -> Mask | None:
        """The rows outside, or None if there are none."""
        if self.low <= values.min() and values.max() <= self.high:  # not so if one is NaN
            return None
        inside = (values >= self.low) & (values <= self.high)
        return ~inside if self.needed else ~(inside | np.isnan(values))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts that a field may have, and whether it may be missing."""

    name: str
    texts: Any
    needed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All rules of a project that look at one record, and those learned for its model, as one pass over the columns."""

    _intervals: Mapping[str, _Interval]
    _texts: tuple[_Texts, ...]
    _needed: frozenset[str]
    _numbers: tuple[Values, ...]
    _compare: tuple[Compare, ...]
    _fresh: tuple[Fresh, ...]
    numbers: frozenset[str] = field(default=frozenset())
    texts: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, rules: Iterable[Rule], finite: Iterable[str] = (), learned: LearnedRules | None = None) -> "Plan":
        """The plan for these rules; ``finite`` are fields that may not be infinite.

        ``numbers`` and ``texts`` are the fields that have to be columns of numbers and of texts for it.
        """
        rules = tuple(rules)
        intervals = {name: _Interval(-_LARGEST, _LARGEST) for name in finite}
        for rule in rules:
            if isinstance(rule, Range):
                known = intervals.get(rule.field, _Interval())
                intervals[rule.field] = known.meet(rule.min, rule.max, needed=rule.required)
        values = [rule for rule in rules if isinstance(rule, Values)]
        texts = [rule for rule in values if isinstance(rule.allowed[0], str)]
        needs = [need for rule in rules for need in rule.needs.items()]
        plan = cls(
            intervals,
            tuple(_Texts(rule.field, pa.array(rule.allowed, pa.utf8()), rule.required) for rule in texts),
            frozenset(),
            tuple(rule for rule in values if not isinstance(rule.allowed[0], str)),
            tuple(rule for rule in rules if isinstance(rule, Compare)),
            tuple(rule for rule in rules if isinstance(rule, Fresh)),
            frozenset({*intervals, *(name for name, need in needs if need == "number")}),
            frozenset(name for name, need in needs if need == "text"),
        )
        return plan if learned is None else plan._with(learned)

    def _with(self, learned: LearnedRules) -> "Plan":
        intervals, texts, needed = dict(self._intervals), list(self._texts), set(self._needed)
        for each in learned.fields:
            if each.range:
                known = intervals.get(each.name, _Interval())
                intervals[each.name] = known.meet(each.low, each.high, needed=bool(each.missing))
            elif each.category:
                texts.append(_Texts(each.name, pa.array(sorted(each.categories), pa.utf8()), bool(each.missing)))
            elif each.missing and each.name in intervals:
                intervals[each.name] = intervals[each.name].meet(None, None, needed=True)
            elif each.missing:
                needed.add(each.name)
        return replace(self, _intervals=intervals, _texts=tuple(texts), _needed=frozenset(needed))

    def suspects(self, columns: Columns, times_ms: Ints, received_ms: Ints | None = None) -> Mask:
        """The rows that may break a rule. Freshness is judged only where it is known when the broker got the event."""
        suspect = np.zeros(columns.rows, np.bool_)
        if not columns.rows:
            return suspect
        for name, interval in self._intervals.items():
            values, whole = columns.number(name), pa.types.is_integer(columns.column(name).type)
            outside = (interval.meet(1 - EXACT, EXACT - 1) if whole else interval).suspects(values)
            if outside is not None:
                suspect |= outside
        for name in self._needed:
            kind = columns.column(name).type
            suspect |= np.isnan(columns.number(name)) if pa.types.is_floating(kind) else columns.nulls(name)
        for each in self._texts:
            known = columns.is_in(each.name, each.texts)
            suspect |= ~known if each.needed else ~(known | columns.nulls(each.name))
        for rule in self._numbers:
            suspect |= _not_allowed(rule, columns.number(rule.field))
        for check in self._compare:
            suspect |= _broken(check, columns)
        if self._fresh and received_ms is not None:
            suspect |= self._stale(times_ms, received_ms)
        return suspect

    def _stale(self, times_ms: Ints, received_ms: Ints) -> Mask:
        age = received_ms.astype(np.float64) - times_ms
        suspect = received_ms > EXACT / 2  # past that the difference is not exact
        for rule in self._fresh:
            if rule.within_s is not None:
                suspect |= age > rule.within_s * 1000
            if rule.ahead_s is not None:
                suspect |= -age > rule.ahead_s * 1000
        stale: Mask = suspect & (received_ms >= 0)
        return stale


_LARGEST = float(np.finfo(np.float64).max)


def _not_allowed(rule: Values, values: Floats) -> Mask:
    inside = np.isin(values, np.array(rule.allowed, np.float64))
    suspect: Mask = ~inside if rule.required else ~(inside | np.isnan(values))
    return suspect


def _broken(rule: Compare, columns: Columns) -> Mask:
    suspect: Mask = ~np.broadcast_to(rule.parsed.holds(columns), columns.rows)
    for name, need in rule.needs.items():
        suspect &= ~(np.isnan(columns.number(name)) if need == "number" else columns.nulls(name))
    return suspect


def _truths(array: Any) -> Mask:
    truths: Mask = pc.fill_null(array, False).to_numpy(zero_copy_only=False)  # noqa: FBT003  # as Arrow names it
    return truths
