"""From gathered windows to the parts of a report: fields and features, flags, judged windows, correlations. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from millrace.contracts.events import ExpectationsLearned
from millrace.contracts.feature_spec import Value
from millrace.contracts.project import Project
from millrace.data_report.compare import (
    Compared,
    NumberWindow,
    TextWindow,
    compare_numbers,
    compare_texts,
    trend_of,
)
from millrace.data_report.correlation import broke, pearson
from millrace.data_report.facts import Facts
from millrace.data_report.gather import FieldKind, Gathered, fields_of
from millrace.data_report.report import Count, FieldReport, FieldWindow, Flags, Judged, Letters, Pair, Role, WindowName

Windows = Mapping[WindowName, Gathered]
JUDGED_MAX = 200
FIELDS_MAX = 150
"""Fields and features that are described; a page draws them all, at some 8 kB each."""


def describe(
    project: Project,
    features: Sequence[str],
    windows: Windows,
    learned: ExpectationsLearned | None,
    letters: Iterable[Letters],
    flags: Iterable[Flags],
) -> tuple[FieldReport, ...]:
    """Every field, then every feature that is not a field as it comes."""
    violations = _violations(letters, flags)
    kinds = fields_of(project)
    as_they_come = _plain_features(project, features, kinds)
    found = []
    for name, kind in kinds.items():
        role: Role = "field and feature" if name in as_they_come.values() else "field"
        found.append(_field(name, kind, role, windows, learned, violations.get(name, Counter())))
    found += [_feature(name, windows) for name in features if name not in as_they_come]
    return tuple(found[:FIELDS_MAX])


def _plain_features(project: Project, features: Sequence[str], kinds: Mapping[str, FieldKind]) -> dict[str, str]:
    """Features that are a field of their own name as it comes: one picture shows both."""
    return {
        spec.name: spec.field
        for spec in project.features
        if isinstance(spec, Value) and spec.name == spec.field and spec.name in features and spec.field in kinds
    }


def _field(
    name: str,
    kind: FieldKind,
    role: Role,
    windows: Windows,
    learned: ExpectationsLearned | None,
    violations: Mapping[str, int],
) -> FieldReport:
    counted = tuple(Count(name=reason, count=count) for reason, count in Counter(violations).most_common())
    if kind == "PERSONAL":
        plain = {key: FieldWindow(rows=one.rows, missing=one.missing[name]) for key, one in windows.items()}
        note = "personal: only what is missing is told"
        return FieldReport(name=name, role=role, kind=kind, windows=plain, violations=counted, note=note)
    if kind == "TEXT":
        texts = {key: TextWindow(one.texts[name], one.rows, one.missing[name]) for key, one in windows.items()}
        compared = compare_texts(texts, _known(name, windows, learned))
        return _report(name, role, kind, compared).model_copy(update={"violations": counted})
    numbers = {key: NumberWindow(one.numbers(name), one.rows, one.missing[name]) for key, one in windows.items()}
    return _with_trend(_report(name, role, kind, compare_numbers(numbers)), numbers, counted)


def _feature(name: str, windows: Windows) -> FieldReport:
    numbers = {
        key: NumberWindow(one.feature(name), one.feature_rows, one.missing_feature(name))
        for key, one in windows.items()
        if one.has_features
    }
    if "new" not in numbers:
        return FieldReport(name=name, role="feature", kind="NUMBER", windows={"new": FieldWindow(rows=0, missing=0)})
    return _with_trend(_report(name, "feature", "NUMBER", compare_numbers(numbers)), numbers, ())


def _report(name: str, role: Role, kind: FieldKind, compared: Compared) -> FieldReport:
    windows, bars, drifts, unseen, note = compared
    return FieldReport(
        name=name, role=role, kind=kind, windows=windows, bars=bars, drifts=drifts, unseen=unseen, note=note
    )


def _with_trend(
    report: FieldReport, numbers: Mapping[WindowName, NumberWindow], violations: tuple[Count, ...]
) -> FieldReport:
    before = numbers["previous"].values if "previous" in numbers else np.empty(0)
    trend, start = trend_of(before, numbers["new"].values)
    return report.model_copy(update={"trend": trend, "trend_new": start, "violations": violations})


def _known(name: str, windows: Windows, learned: ExpectationsLearned | None) -> frozenset[str] | None:
    """The texts that training saw: as learned, and as its rows have them; None if neither tells."""
    found: set[str] = set()
    if learned is not None:
        found |= {text for each in learned.fields if each.name == name for text in each.categories}
    if "training" in windows:
        found |= set(windows["training"].texts[name] or ())
    return frozenset(found) or None


def _violations(letters: Iterable[Letters], flags: Iterable[Flags]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    told = [(one.field, one.reason, one.count) for one in letters] + [
        (one.field, one.reason, one.count) for one in flags
    ]
    for name, reason, count in told:
        if name:
            found.setdefault(name, Counter())[reason] += count
    return found


def flags_of(new: Gathered, fields: Iterable[str], topic: str, partition: int) -> tuple[Flags, ...]:
    """The flags of the new rows, the most frequent first. A flag is ``reason:subject``."""
    known, found = frozenset(fields), []
    for flag, (count, first, last) in new.flags.items():
        reason, _, subject = flag.partition(":")
        found.append(
            Flags(
                reason=reason if subject in known or not subject else flag,
                field=subject if subject in known else "",
                count=count,
                first_place=f"{topic}/{partition}/{first}",
                last_place=f"{topic}/{partition}/{last}",
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.count, one.reason, one.field)))


def judged_of(facts: Facts, windows: Windows) -> tuple[Judged, ...]:
    """The judgements that touch the previous or the new rows, in their order, placed in event time."""
    names: tuple[WindowName, ...] = ("previous", "new")
    shown = [windows[name] for name in names if name in windows]
    offsets = np.concatenate([one.offsets for one in shown])
    times = np.maximum.accumulate(np.concatenate([one.times_ms for one in shown])) if len(offsets) else offsets
    start = (facts.earlier or facts.new).from_offset
    found = []
    for one in sorted(facts.judged, key=lambda each: (each.from_offset, each.check, each.subject)):
        last = max(one.until_offset, one.from_offset + 1)
        if last <= start or one.from_offset >= facts.new.until_offset:
            continue
        at = (
            [int(np.interp(offset, offsets, times)) for offset in (one.from_offset, last - 1)] if len(offsets) else None
        )
        found.append(
            Judged(
                check=one.check, subject=one.subject, severity=one.severity, from_offset=one.from_offset,
                until_offset=one.until_offset, from_time_ms=at[0] if at else None, until_time_ms=at[1] if at else None,
                rows=one.rows, observed=one.observed, expected=one.expected, message=one.message, vetoes=one.vetoes,
                is_new=last > facts.new.from_offset,
            )
        )  # fmt: skip
    return tuple(found[-JUDGED_MAX:])


def pairs_of(learned: ExpectationsLearned | None, new: Gathered) -> tuple[Pair, ...]:
    """The correlations that training had, and what became of them."""
    found = []
    for one in learned.correlations if learned else ():
        told = pearson(new.numbers(one.first), new.numbers(one.second)) if new.has(one.first, one.second) else None
        seen, rows = told or (None, 0)
        is_broken = seen is not None and learned is not None and broke(one.value, learned.rows, seen, rows)
        found.append(Pair(first=one.first, second=one.second, learned=one.value, seen=seen, rows=rows, broke=is_broken))
    return tuple(sorted(found, key=lambda one: (not one.broke, one.first, one.second)))
