"""What a changed schema of the events would do to the model that a project describes. Pure.

Ingest reads every event as the project's own ``event.avsc`` says, whatever schema its producer used. So what counts
here is how that reads records of the new schema: what it no longer finds, finds in another form, or takes for something
else. Each consequence is one :class:`Impact`:

- ``breaking``: events are refused or misread, all of them or those that are named;
- ``harmful``: events pass, but a feature or a rule no longer gets what the model was trained on;
- ``harmless``: nothing that the model looks at.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from millrace.contracts.compatibility import explain_incompatible
from millrace.contracts.expectations import Rule
from millrace.contracts.feature_spec import Function, fields_of
from millrace.contracts.project import Project
from millrace.contracts.schemas import JsonSchema, Schema

Severity = Literal["breaking", "harmful", "harmless"]
ORDER: Sequence[Severity] = ("breaking", "harmful", "harmless")
EVERY = "every event"
_UNITS = {"millis": 1.0, "micros": 1e3, "nanos": 1e6}  # in a millisecond
_NARROWED = {
    ("int", "float"): "whole numbers only: the producer cuts the decimals off",
    ("int", "double"): "whole numbers only: the producer cuts the decimals off",
    ("long", "float"): "whole numbers only: the producer cuts the decimals off",
    ("long", "double"): "whole numbers only: the producer cuts the decimals off",
    ("int", "long"): "no number beyond 2,147,483,647: the producer fails on it or wraps around",
    ("float", "double"): "7 digits instead of 15",
}
_COMPLEX = {"enum", "array", "map", "record", "fixed"}
_ADOPT = (
    "write the new type into event.avsc first (it reads older records too), restart Millrace, then change producers"
)
_KEEP = "keep the type, and add a field of another name with a default"


@dataclass(frozen=True, slots=True)
class Impact:
    """One consequence. ``subject`` is what it is for: a feature, a rule, a role in model.yaml, or the events."""

    severity: Severity
    field: str
    change: str
    subject: str
    effect: str
    way_out: str = ""


def impact(project: Project, new: JsonSchema) -> tuple[Impact, ...]:
    """What records of the schema ``new`` would do to the project, the worst first.

    Raises ``ProjectError`` if ``new`` is no schema of an event.
    """
    return tuple(sorted(_Changes(project, new).found(), key=lambda one: (ORDER.index(one.severity), one.field)))


class _Changes:
    """One comparison of the project's schema, the reader, with the new one, the writer."""

    def __init__(self, project: Project, new: JsonSchema) -> None:
        self._project = project
        self._reader, self._writer = Schema.of(project.event_schema), Schema.of(new)
        self._old = {each["name"]: each for each in project.event_schema["fields"]}
        self._new = {each["name"]: each for each in new["fields"]}
        self._unreadable = explain_incompatible(project.event_schema, new)
        self._unregistrable = explain_incompatible(new, project.event_schema)
        self._features = _features_by_field(project)

    def found(self) -> Iterator[Impact]:
        for reason in _about(self._unreadable, None):
            yield Impact("breaking", "", reason.partition("; ")[0], EVERY, "cannot be read any more", "keep the name")
        pairs = {
            name: next((one for one in (name, *old.get("aliases", ())) if one in self._new), None)
            for name, old in self._old.items()
        }
        for name, written in pairs.items():
            if written is None:
                yield from self._lost(name, self._old[name])
            else:
                yield from self._changed(name, self._old[name], self._new[written])
        for name in self._new.keys() - set(pairs.values()):
            yield self._added(name, self._new[name])

    # ---- a field that is not written any more ------------------------------------------------------------------------

    def _lost(self, name: str, old: Mapping[str, Any]) -> Iterator[Impact]:
        renamed = [each["name"] for each in self._new.values() if name in each.get("aliases", ())]
        change = f"renamed to {renamed[0]}" if renamed else "no longer written"
        way_out = (
            f'add "aliases": ["{renamed[0]}"] to {name} in event.avsc, and restart Millrace, before producers change'
            if renamed
            else "keep the field; or take it out of model.yaml and train a model without it first"
        )
        if "default" not in old:
            effect = f"cannot be read: event.avsc has no default for {name}"
            yield Impact(
                "breaking", name, change, EVERY, effect, f"{way_out}; a default in event.avsc lets events pass"
            )
            return
        default = old["default"]
        used = False
        for severity, subject, effect in self._without(name, default):
            used = True
            yield Impact(severity, name, change, subject, effect, way_out if severity != "harmless" else "")
        if not used:
            yield Impact("harmless", name, change, "nothing", "no feature and no rule uses it")

    def _without(self, name: str, default: Any) -> Iterator[tuple[Severity, str, str]]:
        """What becomes of each use of a field that is only its default from now on."""
        for role in self._roles(name):
            if default in (None, ""):
                yield "breaking", role, "every event is refused (missing-field)"
            else:
                yield "breaking", role, f"every event has the same one, the default {default!r}"
        for rule in self._project.expectations:
            if name in rule.needs:
                yield _rule_without(rule, default)
        for feature in self._features.get(name, ()):
            if default is None:
                yield (
                    "harmful",
                    f"feature {feature}",
                    f"is computed without {name} from the first event on: NaN{self._learned}",
                )
            else:
                yield (
                    "harmful",
                    f"feature {feature}",
                    f"is computed from the default {default!r} from the first event on",
                )

    @property
    def _learned(self) -> str:
        if self._project.data.learned.missing != "reject":
            return ""
        return "; events are refused if no training row of the serving version lacked it (data.learned.missing)"

    # ---- a field that is written in another way ----------------------------------------------------------------------

    def _changed(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Impact]:
        reasons = list(_about(self._unreadable, name))
        for reason in reasons:
            yield from self._unread(name, reason.partition("; ")[0].partition(": ")[2])
        if not reasons:
            yield from self._read_otherwise(name)
        yield from self._logical(name, old["type"], new["type"])
        if old.get("unit") != new.get("unit"):
            change = f"unit changed from {_said(old.get('unit'))} to {_said(new.get('unit'))}"
            means = "the numbers mean something else"
            if old.get("unit") and new.get("unit"):
                yield from self._for_uses(name, change, means, "add a field of another name for the new unit")
            else:
                yield Impact("harmless", name, change, "nothing", "ingest does not look at it; make sure that it is so")
        if old.get("doc") != new.get("doc"):
            yield Impact("harmless", name, "doc changed", "nothing", "make sure that it still means the same")
        if new.get("personal", False) and not old.get("personal", False):
            way_out = 'add the same "personal" to the field in event.avsc'
            effect = "stays in the clear: ingest goes by event.avsc"
            yield Impact("harmful", name, "marked personal", "personal data", effect, way_out)
        elif old.get("personal", False) and not new.get("personal", False):
            effect = "still under a pseudonym: ingest goes by event.avsc"
            yield Impact("harmless", name, "no longer marked personal", "personal data", effect)

    def _unread(self, name: str, change: str) -> Iterator[Impact]:
        """Records that ``event.avsc`` cannot read: all, or those with certain values."""
        way_out = _KEEP if any(_about(self._unregistrable, name)) else _ADOPT
        if "from null to" in change:
            which = f"events without {name}"
        elif symbols := re.match(r"the reader's enum lacks (.*) and has no default symbol", change):
            which, change = f"events with {symbols[1]}", f"new: {symbols[1]}"
        else:
            which = EVERY
        yield Impact("breaking", name, change, which, "cannot be read, and go to the dead letters", way_out)
        if change.startswith("new: "):
            for feature in self._features.get(name, ()):
                effect = "a category that training never saw, once event.avsc knows it"
                yield Impact("harmful", name, change, f"feature {feature}", effect, "retrain on rows that have it")

    def _read_otherwise(self, name: str) -> Iterator[Impact]:
        """Types that differ, and are resolved."""
        old, new = _field(self._reader, name), _field(self._writer, name)
        new = new or next(found for alias in old.get("aliases", ()) if (found := _field(self._writer, alias)))
        reader, writer = _inner(old["type"]), _inner(new["type"])
        if isinstance(reader, dict) and isinstance(writer, dict) and reader["type"] == writer["type"] == "enum":
            yield from self._symbols(name, reader, writer)
        elif reader != writer:
            change = f"type changed from {_name(reader)} to {_name(writer)}"
            effect = _NARROWED.get((_name(writer), _name(reader)))
            if effect is None:
                yield Impact("harmless", name, change, "nothing", f"is read as {_name(reader)}, the same values")
            else:
                yield from self._for_uses(name, change, effect, f"keep {_name(reader)}")
        if _nullable(old["type"]) and not _nullable(new["type"]):
            yield Impact("harmless", name, "may no longer be null", "nothing", "is never missing any more")

    def _symbols(self, name: str, reader: Mapping[str, Any], writer: Mapping[str, Any]) -> Iterator[Impact]:
        new = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        gone = [symbol for symbol in reader["symbols"] if symbol not in writer["symbols"]]
        if new:
            effect = f"{', '.join(new)} is read as {reader.get('default')}, the default in event.avsc"
            way_out = "add the symbols to event.avsc first, and retrain on rows that have them"
            yield from self._for_uses(name, f"new: {', '.join(new)}", effect, way_out)
        if gone:
            yield Impact("harmless", name, f"gone: {', '.join(gone)}", "nothing", "these are not written any more")

    def _logical(self, name: str, old: Any, new: Any) -> Iterator[Impact]:
        """The same bytes under another meaning; for the time it is the unit."""
        was, now = _logical_type(old), _logical_type(new)
        if was == now:
            return
        change = f"logical type changed from {_said(was)} to {_said(now)}"
        if name != self._project.event.time:
            yield from self._for_uses(
                name, change, "the same numbers mean something else", "add a field of another name"
            )
            return
        times = _unit(now) / _unit(was)
        effect = f"is misread: ingest goes on as if it were {was or 'a number of milliseconds'}"
        if times != 1:
            wrong = f"{times:,.0f} times too large" if times > 1 else f"{1 / times:,.0f} times too small"
            effect += f", so every time is {wrong}; those outside the years 1 to 9999 are refused (bad-time)"
        way_out = "keep it, and convert in the producer; a new unit needs a new stream, because old records keep theirs"
        yield Impact("breaking", name, change, "event.time", effect, way_out)

    def _for_uses(self, name: str, change: str, effect: str, way_out: str) -> Iterator[Impact]:
        """The same for each feature, rule and role that uses the field; harmless if none does."""
        subjects = [*self._roles(name), *(f"feature {feature}" for feature in self._features.get(name, ()))]
        subjects += [f"expectation {rule.flag()}" for rule in self._project.expectations if name in rule.needs]
        for subject in subjects:
            yield Impact("harmful", name, change, subject, effect, way_out)
        if not subjects:
            yield Impact("harmless", name, change, "nothing", f"no feature and no rule uses it ({effect})")

    # ---- a field that is new -----------------------------------------------------------------------------------------

    def _added(self, name: str, new: Mapping[str, Any]) -> Impact:
        marked = any(each.get("personal", False) for each in self._old.values())
        if not new.get("personal", False) or marked:  # with marks the event is written anew, as event.avsc has it
            return Impact("harmless", name, "new", "nothing", "not used until event.avsc and model.yaml name it")
        effect = "stays in the clear in the samples: event.avsc marks nothing as personal"
        return Impact(
            "harmful", name, "new, marked personal", "personal data", effect, "add the marks to event.avsc first"
        )

    def _roles(self, name: str) -> list[str]:
        event = self._project.event
        return [f"event.{role}" for role in ("id", "entity", "time") if getattr(event, role) == name]


def _features_by_field(project: Project) -> dict[str, list[str]]:
    """The features that are computed from each field, through other features too."""
    sources: dict[str, set[str]] = {}
    for spec in project.features:
        fields = {field for field, _ in fields_of(spec, sources)}
        if isinstance(spec, Function):
            fields |= {field for name in spec.inputs if name in sources for field in sources[name]}
        sources[spec.name] = fields
    by_field: dict[str, list[str]] = {}
    for name, fields in sources.items():
        for field in fields:
            by_field.setdefault(field, []).append(name)
    return by_field


def _rule_without(rule: Rule, default: Any) -> tuple[Severity, str, str]:
    """What becomes of a rule one of whose fields is only its default from now on."""
    subject = f"expectation {rule.flag()}"
    if default is not None:
        return "harmful", subject, f"judges the default {default!r} in each event"
    if not getattr(rule, "required", False):
        return "harmful", subject, "has nothing to judge any more"
    if rule.on == "reject":
        return "breaking", subject, "every event is refused (missing-field)"
    return "harmful", subject, "every event is flagged, and none is trained on"


def _about(reasons: Sequence[str], name: str | None) -> Iterator[str]:
    """Those reasons that are about this field, or about the record as a whole."""
    begins = ("the record:",) if name is None else (f"field {name}:", f"field {name}.", f"field {name}[]")
    return (reason for reason in reasons if reason.startswith(begins))


def _field(schema: Schema, name: str) -> Any:
    return next((each for each in schema.parsed["fields"] if each["name"] == name), None)


def _inner(kind: Any) -> Any:
    """The type without null, where it is one type or null."""
    branches = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
    inner = branches[0] if len(branches) == 1 else branches
    named = isinstance(inner, dict) and inner["type"] in _COMPLEX
    return inner["type"] if isinstance(inner, dict) and not named else inner  # Java adds attributes to its strings


def _nullable(kind: Any) -> bool:
    return kind == "null" or (isinstance(kind, list) and "null" in kind)


def _name(kind: Any) -> str:
    if isinstance(kind, list):
        return f"[{', '.join(_name(branch) for branch in kind)}]"
    return str(kind["type"] if isinstance(kind, dict) else kind)


def _logical_type(kind: Any) -> str | None:
    """Of a field's type as written, null aside."""
    branches = kind if isinstance(kind, list) else [kind]
    return next(
        (str(each["logicalType"]) for each in branches if isinstance(each, dict) and "logicalType" in each), None
    )


def _unit(logical_type: str | None) -> float:
    """How many of its units make a millisecond; a plain number counts as milliseconds, as in the project."""
    return _UNITS.get((logical_type or "millis").rpartition("-")[2], 1.0)


def _said(value: object) -> str:
    return "none" if value is None else repr(value)
