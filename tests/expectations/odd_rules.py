"""Rules of every kind for events with any fields, for property tests."""

from typing import Any

from hypothesis import strategies as st

from millrace.contracts.events import ExpectationsLearned, FieldExpectation
from millrace.contracts.expectations import NUMBER_TYPES, plain_types
from millrace.contracts.project import Project
from millrace.expectations.learned import LearnedField, LearnedRules

LOWEST = [None, None, -(2.0**63), -10.0, 0.0, 0.1, 2.0**53]
HIGHEST = [None, None, 0.0, 9.9, 10.0, 2.0**53, 2.0**53 + 2, 2.0**63, float("inf")]
TEXTS = ["BUY", "", "ü", "a" * 1000, "none of them"]
NUMBERS = [0.0, 1.0, 0.5, 10.0, 2.0**53, 2.0**63, float("inf"), -0.0]
PAIRS = ["{0} + {1} <= 2 * {0}", "{0} / {1} < 1 or {1} == 0", "not {0} > {1}", "max({0}, {1}, 3) != abs(-{1})"]
ALONE = ["{0} <= 10", "0 <= {0} < 9.5", "{0} / {0} == 1", "-{0} * 4 - 1 <= 0 and {0} != 2"]
OF_TEXT = ["{0} == 'BUY'", "'ü' != {0}"]


def bounds() -> st.SearchStrategy[tuple[float | None, float | None]]:
    """A range that leaves room."""
    pairs = st.tuples(st.sampled_from(LOWEST), st.sampled_from(HIGHEST))
    return pairs.filter(lambda pair: None in pair or pair[0] <= pair[1])


@st.composite
def declared(draw: st.DrawFn, types: dict[str, str]) -> list[dict[str, Any]]:
    """What ``expectations:`` of a model.yaml may say about these fields; only rules without a memory."""
    numbers = sorted(name for name, kind in types.items() if kind in NUMBER_TYPES)
    texts = sorted(name for name, kind in types.items() if kind not in NUMBER_TYPES)
    rules: list[dict[str, Any]] = []
    for name in draw(st.lists(st.sampled_from(numbers), max_size=2)):
        low, high = draw(bounds())
        rules.append({"field": name, "min": low, "max": high, "required": draw(st.booleans())})
    for kind in draw(st.lists(st.sampled_from(["values", "compare", "fresh"]), max_size=3)):
        on = draw(st.sampled_from(["reject", "flag"]))
        name = draw(st.sampled_from([*numbers, *texts]))
        if kind == "fresh":
            second = st.sampled_from([0.0, 0.001, 60.0, 1e12])
            rules.append({"kind": kind, "on": on, "within_s": draw(second), "ahead_s": draw(second)})
        elif kind == "values":
            allowed = draw(st.lists(st.sampled_from(NUMBERS if name in numbers else TEXTS), min_size=1, max_size=3))
            needed = draw(st.booleans())
            rules.append({"kind": kind, "on": on, "field": name, "allowed": allowed, "required": needed})
        else:
            check = draw(st.sampled_from([*PAIRS, *ALONE] if name in numbers else OF_TEXT))
            rules.append({"kind": kind, "on": on, "check": check.format(name, draw(st.sampled_from(numbers)))})
    return rules


@st.composite
def learned_rules(draw: st.DrawFn, project: Project) -> LearnedRules | None:
    """Rules as they may have been learned for some fields of the project's event, or none at all."""
    types = plain_types(project.event_schema)
    fields = []
    choice = st.sampled_from([None, "reject", "flag"])
    for name in draw(st.lists(st.sampled_from(sorted(types)), unique=True, max_size=4)):
        if types[name] in NUMBER_TYPES:
            low, high = draw(bounds())
            ranged = draw(choice) if low is not None and high is not None else None
            ends = (low, high) if ranged else (float("-inf"), float("inf"))
            fields.append(LearnedField(name, draw(choice), ranged, *ends))
        else:
            held = draw(choice)
            texts = draw(st.frozensets(st.sampled_from(TEXTS), min_size=1)) if held else frozenset()
            fields.append(LearnedField(name, draw(choice), category=held, categories=texts))
    return LearnedRules("learned-1", "version 1", tuple(fields)) if fields else None


def learned_event(*fields: FieldExpectation, rows: int = 5000) -> ExpectationsLearned:
    """The event that a training run publishes about these fields."""
    return ExpectationsLearned(
        expectations_id="run-1",
        model="tiny",
        run_id="run-1",
        artifact_sha256="0" * 64,
        feature_set="f",
        rows=rows,
        fields=fields,
        correlations=(),
        events_per_hour=None,
        learned_at_ms=0,
    )
