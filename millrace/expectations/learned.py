"""What was learned from training rows, as rules that one record is held to. Pure.

How wide a learned range is. The largest of n training rows is exceeded by one later row in n even if nothing changes,
and far more often where a field has a heavy tail: prices spike. So the range is widened on both sides by

    range_margin * width * (width / (q99 - q01))²        width = max - min

The last factor is 1 for a field that fills its range evenly, 2.5 for a normal one over 5,000 rows, and 25 for a price
that spikes. Measured on the 45,312 rows of examples/electricity, learned on any of 235 windows of 4,500 to 8,500 rows:
at most 0.064 % of the clean rows lie outside at a margin of 1. Without that factor it is 0.25 %.

No range is learned where the middle 90 % are one and the same value: a field that hardly ever varied, or only just
began to, has shown nothing of its range. (Without this rule 34 % were refused after one of those windows.)

A set of texts is only held to if it looks complete. The share of rows to come with a text not seen yet is estimated by
the share of rows whose text was seen once (Good, "The population frequencies of species", Biometrika 1953).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from millrace.contracts.data_policy import Learned, OnBreach
from millrace.contracts.events import ExpectationsLearned, FieldExpectation
from millrace.contracts.expectations import NUMBER_TYPES, TEXT_TYPES, plain_types
from millrace.contracts.project import Project
from millrace.expectations.judge import NOBODY, Breach, is_missing, shown

UNSEEN_MISSING = "unseen-missing"
UNSEEN_RANGE = "unseen-range"
UNSEEN_CATEGORY = "unseen-category"
UNSEEN_SHARE_MAX = 0.001  # false rejections of a clean stream stay below a tenth of a percent
Q01, Q05, Q95, Q99 = 0, 1, 5, 6  # places in FieldExpectation.quantiles


@dataclass(frozen=True, slots=True)
class LearnedField:
    """The rules of one field. A rule that is None is not judged; ``low`` and ``high`` are then infinite."""

    name: str
    missing: OnBreach | None = None
    range: OnBreach | None = None
    low: float = -math.inf
    high: float = math.inf
    category: OnBreach | None = None
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class LearnedRules:
    """The rules of one version. ``source`` names it in messages; ``left_out`` are fields that the events now lack."""

    expectations_id: str
    source: str
    fields: tuple[LearnedField, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, learned: ExpectationsLearned, project: Project, source: str | None = None) -> "LearnedRules":
        """The rules that the project's ``data.learned`` asks for.

        Of personal fields only that they were never missing is held to: the training rows have them under a pseudonym.
        """
        types, personal = plain_types(project.event_schema), project.personal_fields
        fitting = {"NUMBER": NUMBER_TYPES, "TEXT": TEXT_TYPES}
        known = [field for field in learned.fields if types.get(field.name) in fitting[field.kind]]
        rules = [_rules(field, learned.rows, project.data.learned, field.name in personal) for field in known]
        left_out = sorted({field.name for field in learned.fields} - {field.name for field in known})
        return cls(
            learned.expectations_id,
            source or f"run {learned.run_id}",
            tuple(rule for rule in rules if rule.missing or rule.range or rule.category),
            tuple(left_out),
        )

    def breaches(self, values: Mapping[str, Any], *, personal: frozenset[str] = NOBODY) -> Iterator[Breach]:
        """The rules that the record breaks, in the order of the fields."""
        for field in self.fields:
            value = values.get(field.name)
            found = _breach(field, value)
            if found is None:
                continue
            slug, on, expected = found
            seen = "missing" if slug == UNSEEN_MISSING else shown(field.name, value, personal)
            message = f"field {field.name!r} is {seen}, {expected} in the training rows of {self.source}"
            yield Breach(slug, f"{slug}:{field.name}", on, f"{message} (expectations {self.expectations_id})")


def range_of(field: FieldExpectation, margin: float) -> tuple[float, float] | None:
    """The learned range of a field, widened; None if it has none. See the head of this file.

    >>> even = tuple(q / 100 for q in (1, 5, 25, 50, 75, 95, 99))
    >>> field = FieldExpectation(
    ...     name="x", kind="NUMBER", missing_share=0, min=0, max=1, mean=0.5, std=0.3,
    ...     quantiles=even, categories=(), category_shares=(),
    ... )  # fmt: skip
    >>> [round(bound, 2) for bound in range_of(field, 1)]
    [-1.04, 2.04]
    """
    if field.min is None or field.max is None or len(field.quantiles) <= Q99:
        return None
    if not field.quantiles[Q05] < field.quantiles[Q95]:
        return None
    width = field.max - field.min
    middle = field.quantiles[Q99] - field.quantiles[Q01]
    more = margin * width * (width / middle) * (width / middle)
    return (field.min - more, field.max + more) if math.isfinite(more) else None


def looks_complete(field: FieldExpectation, rows: int) -> bool:
    """Whether so few of the texts were seen only once that hardly any are still to come."""
    seen_once = sum(share * rows < 1.5 for share in field.category_shares)  # counts of 1; shares are rounded
    return bool(field.categories) and seen_once <= UNSEEN_SHARE_MAX * rows


def _rules(field: FieldExpectation, rows: int, policy: Learned, is_personal: bool) -> LearnedField:  # noqa: FBT001
    seen = round(rows * (1 - field.missing_share))
    missing = policy.missing if field.missing_share == 0 and seen >= policy.rows_min else "off"
    if is_personal or seen < policy.rows_min:
        return LearnedField(field.name, _on(missing))
    bounds = range_of(field, policy.range_margin) if policy.range != "off" else None
    low, high = bounds or (-math.inf, math.inf)
    complete = policy.category != "off" and looks_complete(field, rows)
    return LearnedField(
        field.name,
        _on(missing),
        _on(policy.range) if bounds else None,
        low,
        high,
        _on(policy.category) if complete else None,
        frozenset(field.categories) if complete else frozenset(),
    )


def _on(choice: OnBreach | Literal["off"]) -> OnBreach | None:
    return None if choice == "off" else choice


def _breach(field: LearnedField, value: object) -> tuple[str, OnBreach, str] | None:
    """The slug, what becomes of the record, and what was expected."""
    if is_missing(value):
        return (UNSEEN_MISSING, field.missing, "which it never was") if field.missing else None
    if field.range and not (isinstance(value, int | float) and field.low <= float(value) <= field.high):
        return UNSEEN_RANGE, field.range, f"expected {field.low:.6g} to {field.high:.6g}: the range, widened,"
    if field.category and value not in field.categories:
        return UNSEEN_CATEGORY, field.category, f"which is none of the {len(field.categories)} texts seen"
    return None
