"""The declared rules that look at one record, and how it breaks them. Pure.

``missing`` is null or NaN. Rules with a memory (jump, monotone, unique) are passed over here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.contracts.data_policy import OnBreach
from millrace.contracts.expectations import AHEAD, MISSING, Compare, Fresh, Range, Rule, Values

LONGEST_SHOWN = 100  # characters of a value in a message: it stands in a header and in the log
MOST_SHOWN = 10  # of the values that were allowed
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a record breaks: the reason, the name of its flag, what becomes of the record, and what was seen."""

    slug: str
    flag: str
    on: OnBreach
    message: str


def breaches(
    rules: Iterable[Rule], values: Mapping[str, Any], *, personal: frozenset[str] = NOBODY, age_ms: int | None = None
) -> Iterator[Breach]:
    """The rules that the record breaks, in their order.

    ``age_ms`` is how much older the event is than its arrival, negative if it is ahead of it; None if nobody knows,
    then freshness is not judged. The value of a ``personal`` field never stands in a message.

    >>> [one] = breaches([Range(field="price", max=1)], {"price": 2.5})
    >>> one.slug, one.message
    ('out-of-range', "field 'price' is 2.5, expected -inf to 1.0")
    """
    for rule in rules:
        found = None
        if isinstance(rule, Range):
            found = _range(rule, values.get(rule.field), personal)
        elif isinstance(rule, Values):
            found = _values(rule, values.get(rule.field), personal)
        elif isinstance(rule, Compare):
            found = _compare(rule, values, personal)
        elif isinstance(rule, Fresh) and age_ms is not None:
            found = _fresh(rule, age_ms)
        if found is not None:
            slug, message = found
            yield Breach(slug, rule.flag(slug), rule.on, message)


def is_missing(value: object) -> bool:
    """Null, or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def shown(name: str, value: object, personal: frozenset[str]) -> str:
    """The value as a message may have it."""
    if name in personal:
        return "(personal)"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text)} characters)"


def some(values: Iterable[object]) -> str:
    """The first few of them."""
    everything = list(values)
    more = f" and {len(everything) - MOST_SHOWN} more" if len(everything) > MOST_SHOWN else ""
    return ", ".join(shown("", value, NOBODY) for value in everything[:MOST_SHOWN]) + more


def _range(rule: Range, value: object, personal: frozenset[str]) -> tuple[str, str] | None:
    if is_missing(value):
        return _missing(rule) if rule.required else None
    if not isinstance(value, int | float):
        return rule.slug, f"field {rule.field!r} is {shown(rule.field, value, personal)}, a number is needed"
    if (rule.min is not None and value < rule.min) or (rule.max is not None and value > rule.max):
        low = "-inf" if rule.min is None else rule.min
        high = "inf" if rule.max is None else rule.max
        return rule.slug, f"field {rule.field!r} is {shown(rule.field, value, personal)}, expected {low} to {high}"
    return None


def _values(rule: Values, value: object, personal: frozenset[str]) -> tuple[str, str] | None:
    if is_missing(value):
        return _missing(rule) if rule.required else None
    if (float(value) if isinstance(value, int) else value) in rule.allowed:
        return None
    return rule.slug, f"field {rule.field!r} is {shown(rule.field, value, personal)}, expected {some(rule.allowed)}"


def _compare(rule: Compare, values: Mapping[str, Any], personal: frozenset[str]) -> tuple[str, str] | None:
    seen = {name: values.get(name) for name in rule.needs}
    if any(is_missing(value) for value in seen.values()):
        return None
    fitting = all(isinstance(seen[name], int | float if need == "number" else str) for name, need in rule.needs.items())
    if fitting and bool(rule.parsed.holds(_OneRow(seen))):
        return None
    listed = ", ".join(f"{name} is {shown(name, value, personal)}" for name, value in seen.items())
    return rule.slug, f"{rule.check!r} is not so: {listed}"


def _fresh(rule: Fresh, age_ms: int) -> tuple[str, str] | None:
    if rule.within_s is not None and age_ms > rule.within_s * 1000:
        return rule.slug, f"the event came {age_ms / 1000} s after its time, expected within {rule.within_s} s"
    if rule.ahead_s is not None and -age_ms > rule.ahead_s * 1000:
        return AHEAD, f"the event came {-age_ms / 1000} s before its time, expected at most {rule.ahead_s} s"
    return None


def _missing(rule: Range | Values) -> tuple[str, str]:
    return MISSING, f"field {rule.field!r} is missing; model.yaml requires it"


@dataclass(frozen=True, slots=True)
class _OneRow:
    """A record, as a check asks for it."""

    values: Mapping[str, Any]

    def number(self, name: str) -> Any:
        return np.float64(self.values[name])

    def equals(self, name: str, text: str) -> Any:
        return np.bool_(self.values[name] == text)
