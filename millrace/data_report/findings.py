"""What a data scientist wants to know in ten seconds, in sentences, the worst first. Pure.

The order: what was kept out of training; what was refused; texts never seen, fields that went missing; what moved; what
broke; what was flagged. Inside each, the largest first. Alike findings become one sentence beyond a few.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from millrace.data_report.psi import MOVED
from millrace.data_report.report import FieldReport, FieldWindow, Finding, Flags, Judged, Letters, Numbers, Pair, Weight
from millrace.data_report.wasserstein import ROUNDING
from millrace.expectations.chance import chance_of_more

REFUSED_WARN, REFUSED_BAD = 0.001, 0.01  # of what arrived; a clean stream loses less than the first
MISSING_WARN, MISSING_BAD = 0.01, 0.05  # more than in training, as in millrace/expectations/window.py
CHANCE_MAX = 1e-6
EACH_MAX = 6  # findings of a kind that have a sentence of their own
LABEL_ALONE = "label-without-event"  # the reason of services/ingest/core.py
_RANK: dict[Weight, int] = {"bad": 0, "warn": 1, "note": 2, "good": 3}


def findings_of(
    fields: Sequence[FieldReport],
    letters: Sequence[Letters],
    flags: Sequence[Flags],
    judged: Sequence[Judged],
    pairs: Sequence[Pair],
    new_rows: int,
) -> tuple[Finding, ...]:
    """All that stands out; if nothing does, one that says so."""
    found = [
        *_judged([one for one in judged if one.is_new]),
        *_letters(letters, new_rows),
        *_unseen(fields),
        *_missing(fields),
        *_moved(fields),
        *_broken(pairs),
        *_flags(flags, new_rows),
    ]
    ordered = sorted(found, key=lambda one: _RANK[one.weight])
    if ordered and min(_RANK[one.weight] for one in ordered) < _RANK["note"]:
        return tuple(ordered)
    calm = "The new rows look like those that the serving version was trained on."
    if not any("training" in one.windows for one in fields):
        calm = "Nothing was refused, and the new rows look like those before them. No version served yet."
        if not any(one.drifts for one in fields):
            calm = "Nothing was refused. There is nothing yet to compare these rows with."
    return (Finding(weight="good", text=calm), *ordered)


def _judged(judged: Sequence[Judged]) -> Iterator[Finding]:
    """One sentence for each check of each subject."""
    grouped: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for one in judged:
        grouped[one.check, one.subject].append(one)
    for (check, subject), each in sorted(grouped.items(), key=lambda item: -len(item[1])):
        worst = max(each, key=lambda one: (one.vetoes, one.severity == "ALARM", abs(one.observed - one.expected)))
        vetoed = sum(one.vetoes for one in each)
        windows = "1 window" if len(each) == 1 else f"{len(each)} windows"
        some = "" if vetoed == len(each) else f"{vetoed} of them "
        veto = f", {some}kept out of training" if vetoed else ""
        weight: Weight = "bad" if worst.severity == "ALARM" else "warn"
        text = f"{windows} judged bad{veto} ({check}): {worst.message}"
        yield Finding(weight=weight, text=text, field=subject)


def _letters(letters: Sequence[Letters], new_rows: int) -> Iterator[Finding]:
    """Labels whose event was refused are refused with it: a consequence, and no finding of its own weight."""
    for one in letters[:EACH_MAX]:
        followed = one.reason == LABEL_ALONE
        share = one.count / max(one.count + new_rows, 1)
        weight: Weight = "bad" if share >= REFUSED_BAD else "warn" if share >= REFUSED_WARN else "note"
        about = f" of {one.field}" if one.field else ""
        text = f"{one.count:,} refused ({share:.1%} of what arrived): {one.reason}{about}"
        if followed:
            weight, text = "note", f"{one.count:,} labels refused, because their events are not among the samples"
        yield Finding(weight=weight, text=text, field=one.field or None)
    rest = letters[EACH_MAX:]
    if rest:
        count = sum(one.count for one in rest)
        yield Finding(weight="note", text=f"{count:,} more refused for {len(rest)} other reasons")


def _unseen(fields: Sequence[FieldReport]) -> Iterator[Finding]:
    for one in fields:
        if not one.unseen or not one.windows["new"].rows:
            continue
        count, rows = sum(each.count for each in one.unseen), one.windows["new"].rows
        shown = ", ".join(repr(each.name) for each in one.unseen[:3])
        weight: Weight = "bad" if count / rows >= MISSING_BAD else "warn"
        more = f" and {len(one.unseen) - 3} others" if len(one.unseen) > 3 else ""
        text = f"{one.name} is {shown}{more} in {count:,} rows ({count / rows:.1%}); training never saw that"
        yield Finding(weight=weight, text=text, field=one.name)


def _missing(fields: Sequence[FieldReport]) -> Iterator[Finding]:
    rose = []
    for one in fields:
        new, other = one.windows["new"], one.windows.get("training") or one.windows.get("previous")
        if other is not None and _is_rise(new, other):
            rose.append((new.missing_share - other.missing_share, one, other))
    for more, one, other in sorted(rose, key=lambda item: (-item[0], item[1].name))[:EACH_MAX]:
        against = "training" if "training" in one.windows else "the rows before"
        now, then = one.windows["new"].missing_share, other.missing_share
        text = f"{one.name} is missing in {now:.1%} of the rows; in {against} in {then:.1%}"
        yield Finding(weight="bad" if more >= MISSING_BAD else "warn", text=text, field=one.name)


def _is_rise(new: FieldWindow, other: FieldWindow) -> bool:
    if new.missing_share - other.missing_share < MISSING_WARN:
        return False
    return chance_of_more(new.missing, new.rows, other.missing, other.rows) <= CHANCE_MAX


def _moved(fields: Sequence[FieldReport]) -> Iterator[Finding]:
    against = "training" if any("training" in one.windows for one in fields) else "previous"
    moved = []
    for one in fields:
        drift = one.drift(against)
        if drift is not None and drift.verdict != "stable":
            moved.append((drift.psi, one))
    moved.sort(key=lambda item: (-item[0], item[1].name))
    for index, one in moved[:EACH_MAX]:
        far = one.drift(against)
        assert far is not None, "it is in the list"
        word = "moved far from" if far.verdict == "moved far" else "moved from"
        other = "what training saw" if against == "training" else "the rows before"
        text = f"{one.name} {word} {other}: {_how(one, against)} (PSI {index:.2f})"
        yield Finding(weight="warn", text=text, field=one.name)
    rest = moved[EACH_MAX:]
    if rest:
        names = ", ".join(one.name for _, one in rest[:EACH_MAX]) + (" and others" if len(rest) > EACH_MAX else "")
        yield Finding(weight="note", text=f"{len(rest)} more moved (PSI {MOVED} or more): {names}")


def _how(one: FieldReport, against: str) -> str:
    new, other = one.windows["new"], one.windows[against]  # type: ignore[index]  # it is one of the names
    if new.numbers and other.numbers:
        if _is_constant(other.numbers):
            least, most = new.numbers.quantiles[1], new.numbers.quantiles[-2]
            return f"it was always {other.numbers.max:.3g}, now {least:.3g} to {most:.3g}"
        middle = len(new.numbers.quantiles) // 2
        then, now = other.numbers.quantiles[middle], new.numbers.quantiles[middle]
        if f"{then:.3g}" != f"{now:.3g}":
            return f"median {then:.3g} → {now:.3g}"
        low, high = (
            f"{part.numbers.quantiles[1]:.3g} to {part.numbers.quantiles[-2]:.3g}"
            for part in (other, new)
            if part.numbers
        )
        return f"the middle 90 % were {low}, now {high}"
    changes = [abs(now - then) for now, then in zip(new.shares, other.shares, strict=True)]
    place = max(range(len(changes)), key=changes.__getitem__, default=0)
    names = [*one.bars.texts, "others"]
    return f"{names[place]!r} {other.shares[place]:.0%} → {new.shares[place]:.0%}" if changes else "other texts"


def _is_constant(numbers: Numbers) -> bool:
    return numbers.max - numbers.min <= ROUNDING * max(abs(numbers.max), abs(numbers.min))


def _broken(pairs: Sequence[Pair]) -> Iterator[Finding]:
    for one in pairs:
        if one.broke and one.seen is not None:
            pair = f"{one.first} and {one.second} no longer move together as learned"
            text = f"{pair}: correlation {one.learned:.2f} → {round(one.seen, 2) + 0.0:.2f}"
            yield Finding(weight="warn", text=text, field=one.first)


def _flags(flags: Sequence[Flags], new_rows: int) -> Iterator[Finding]:
    for one in flags[:EACH_MAX]:
        share = one.count / max(new_rows, 1)
        about = f" of {one.field}" if one.field else ""
        text = f"{one.count:,} rows flagged ({share:.1%}), scored but not trained on: {one.reason}{about}"
        yield Finding(weight="warn" if share >= REFUSED_BAD else "note", text=text, field=one.field or None)
    rest = flags[EACH_MAX:]
    if rest:
        yield Finding(weight="note", text=f"{sum(one.count for one in rest):,} more flags of {len(rest)} other kinds")
