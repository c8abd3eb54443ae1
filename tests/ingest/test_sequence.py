"""Rules with memory: what they say about the next record, and that a saved memory goes on like the one it was."""

import itertools
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.expectations import Jump, Monotone, Range, Unique
from millrace.contracts.project import Project
from millrace.contracts.sections import Dedupe
from services.ingest.sequence import EXPIRE_EVERY_ROWS, PASSES, Sequence, Verdict
from tests.support import EVENT, MODEL

NAN = float("nan")
WHO = {"name": "who", "type": "string", "personal": "subject"}
FIELDS = [WHO if each["name"] == "who" else each for each in EVENT["fields"]]
FIELDS += [{"name": "meter", "type": "string"}, {"name": "iban", "type": "string", "personal": True}]
RULES = (
    Jump(kind="jump", field="x", most=1.0),
    Monotone(kind="monotone", slack_s=1.0, on="flag"),
    Unique(kind="unique", fields=("meter", "at")),
    Unique(kind="unique", fields=("x",), on="flag"),
)
LATE = {"late": {"policy": "flag", "allowed_s": 2.0}, "entities": {"expire_after_s": 5.0}}


def project_of(**data: Any) -> Project:
    """The tiny project with two more fields, 1000 remembered events and this under ``data:``."""
    sections = {"dedupe": {"events": 1000}, "data": data, "expectations": []}
    schema = {**EVENT, "fields": FIELDS}
    return Project.model_validate({**MODEL, **sections, "folder": Path(), "event_schema": schema})


def sequence(*rules: Any, **data: Any) -> Sequence:
    """The memory of one partition under these rules."""
    return Sequence(project_of(**data), rules)


def test_nothing_declared_costs_nothing():
    """Without a rule that looks back the memory is idle: no fields, nothing to save, nothing to restore."""
    idle = sequence(Range(field="x", min=0), late={"policy": "accept", "allowed_s": 3})

    assert (True, (), []) == (idle.is_idle, idle.fields, idle.save())
    idle.restore([])
    assert not sequence(RULES[1]).is_idle
    assert not sequence(late={"policy": "flag"}).is_idle


def test_a_jump_is_measured_from_the_newest_row_of_its_entity():
    """Up or down, of the same entity, beyond what is allowed; a missing value in between changes nothing."""
    rows = sequence(Jump(kind="jump", field="x", most=0.5))
    for time_ms, value in enumerate([0.1, None, NAN]):
        rows.take("a", time_ms, {"x": value})

    assert [PASSES] * 4 == [rows.judge(*row) for row in [
        ("a", 9, {"x": 0.6}), ("a", 9, {"x": -0.4}), ("a", 9, {"x": None}), ("b", 9, {"x": 7.0}),
    ]]  # fmt: skip
    message = (
        "field 'x' is 0.75, 0.65 from the 0.1 of its entity's previous row; expected a change of at most 0.5"
    )  # fmt: skip
    assert Verdict("jump", message) == rows.judge("a", 9, {"x": 0.75})
    assert "jump" == rows.judge("a", 9, {"x": -0.5}).reason


def test_judging_leaves_no_trace():
    """What is judged but not taken in is not remembered: a rejected record moves nothing."""
    rows = sequence(*RULES)
    rows.take("a", 0, {"x": 0.0, "meter": "m", "at": 0})
    before = rows.save()
    rows.judge("a", 10_000, {"x": 50.0, "meter": "n", "at": 1})

    assert before == rows.save()


@pytest.mark.parametrize(
    ("rules", "data", "at_ms", "expected"),
    [
        ((Monotone(kind="monotone", slack_s=2),), {}, 8_000, (None, ())),
        ((Monotone(kind="monotone", slack_s=2),), {}, 7_999, ("time-went-back", ())),
        ((Monotone(kind="monotone", on="flag"),), {}, 9_999, (None, ("time-went-back",))),
        ((), {"late": {"policy": "reject", "allowed_s": 2}}, 8_000, (None, ())),
        ((), {"late": {"policy": "reject", "allowed_s": 2}}, 7_999, ("late-event", ())),
        ((), {"late": {"policy": "flag", "allowed_s": 2}}, 7_999, (None, ("late-event",))),
        ((RULES[1],), {"late": {"policy": "reject"}}, 5_000, ("late-event", ("time-went-back",))),
    ],
)
def test_an_event_may_lag_so_far_behind_its_entity(rules, data, at_ms, expected):
    """Time is held to the newest event of the entity, not to the one before, and to no other entity's."""
    rows = sequence(*rules, **data)
    for entity, time_ms in (("a", 10_000), ("a", 9_500), ("b", 60_000)):
        rows.take(entity, time_ms, {})
    verdict = rows.judge("a", at_ms, {})

    assert expected == (verdict.reason, verdict.flags)
    assert PASSES == rows.judge("a new one", 0, {})
    if verdict.reason == "late-event" and at_ms == 7_999:
        assert "the event's time is 2.001 s behind the newest of its entity, at most 2 s are expected" == (
            verdict.message
        )


def test_a_combination_comes_once_among_the_newest():
    """All fields must be alike; after 1000 others a combination is new again; one with a hole is never judged."""
    rule = Unique(kind="unique", fields=("meter", "at"), on="flag")
    rows = sequence(rule)
    rows.take("a", 0, {"meter": "m", "at": 1})
    rows.take("a", 0, {"meter": None, "at": 1})

    assert ("not-unique:meter,at",) == rows.judge("b", 9, {"meter": "m", "at": 1.0}).flags
    for other in ({"meter": "m", "at": 2}, {"meter": "1", "at": "m"}, {"meter": None, "at": 1}, {"at": NAN}):
        assert PASSES == rows.judge("a", 0, other)
    for number in range(999):
        rows.take("a", 0, {"meter": "m", "at": 10.5 + number})
    assert PASSES != rows.judge("a", 0, {"meter": "m", "at": 1})
    rows.take("a", 0, {"meter": "m", "at": 10_000})
    assert PASSES == rows.judge("a", 0, {"meter": "m", "at": 1})


def test_a_combination_that_comes_again_stays():
    """A repetition that was let through counts from its newest coming."""
    rows = sequence(Unique(kind="unique", fields=("at",), on="flag"))
    for number in [*range(1000), 0, 5000]:
        rows.take("a", 0, {"at": number})

    assert [("not-unique:at",), ()] == [rows.judge("a", 0, {"at": number}).flags for number in (0, 1)]


def test_the_first_rejection_speaks_and_every_flag_is_carried():
    """One reason, in words, and the flags of all rules that only flag."""
    rows = sequence(*RULES)
    for place, x in enumerate((0.0, 9.0)):
        rows.take("a", 10_000, {"x": x, "meter": "m", "at": place})
    verdict = rows.judge("a", 5_000, {"x": 0.0, "meter": "m", "at": 1})

    assert ("jump", ("time-went-back", "not-unique:x")) == (verdict.reason, verdict.flags)


def test_a_personal_value_is_in_no_message_and_in_no_saved_state():
    """The field is named, the value is not; other fields of the same combination are."""
    rows = sequence(Unique(kind="unique", fields=("iban", "meter")))
    values = {"iban": "DE02120300000000202051", "meter": "m7"}
    rows.take("a", 0, values)
    verdict = rows.judge("a", 1, values)

    assert "not-unique" == verdict.reason
    assert "{'iban': '(personal)', 'meter': 'm7'}" in verdict.message
    assert "DE02" not in verdict.message
    assert [False] == [b"DE02" in zlib.decompress(frame) for frame in rows.save()]


def test_entities_are_forgotten_by_event_time():
    """At every 10,000th row those go whose newest event is more than 5 s behind the newest of all."""
    rows = sequence(Jump(kind="jump", field="x", most=1), entities={"expire_after_s": 5})
    rows.take("old", 1_000, {"x": 0.0})
    rows.take("kept", 1_001, {"x": 0.0})
    for _ in range(EXPIRE_EVERY_ROWS - 3):
        rows.take("busy", 6_001, {"x": 0.0})
    jumped = {"x": 9.0}

    assert ["jump", "jump"] == [rows.judge(entity, 7_000, jumped).reason for entity in ("old", "kept")]
    rows.take("busy", 6_001, {"x": 0.0})
    assert [None, "jump"] == [rows.judge(entity, 7_000, jumped).reason for entity in ("old", "kept")]


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcü"),
        st.integers(0, 12_000),
        st.fixed_dictionaries(
            {
                "x": st.sampled_from([None, NAN, 0.0, -0.0, 0.5, 2.0, 1e300, float("inf")]),
                "meter": st.sampled_from([None, "m", "1", "\U0001f40e"]),
                "at": st.integers(0, 3) | st.integers(2**53 - 1, 2**53 + 2),
            }
        ),
    ),
    max_size=40,
)


@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=4), shuffle=st.randoms(use_true_random=False))
def test_a_saved_memory_goes_on_like_the_one_it_was(rows, cuts, shuffle):
    """Saved and restored anywhere, parts in any order: the same verdicts, and the same memory in the end."""
    project, straight, verdicts = project_of(**LATE), [], []
    with pytest.MonkeyPatch.context() as patch:  # so that few rows need many parts, and expire
        patch.setattr("services.ingest.sequence_state.PART_BYTES", 60)
        patch.setattr("services.ingest.sequence_state.PART_DIGESTS", 2)
        patch.setattr("services.ingest.sequence.EXPIRE_EVERY_ROWS", 7)
        one = Sequence(project, RULES)
        for row in rows:
            straight.append(one.judge(*row))
            one.take(*row)
        again = Sequence(project, RULES)
        borders = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
        for start, stop in itertools.pairwise(borders):
            frames = again.save()
            shuffle.shuffle(frames)
            again = Sequence(project, RULES)
            again.restore(frames)
            for row in rows[start:stop]:
                verdicts.append(again.judge(*row))
                again.take(*row)

        assert straight == verdicts
        assert one._memory == again._memory
        assert one.save() == again.save()


def test_parts_stay_below_half_a_megabyte():
    """100,000 combinations and 10,000 entities with long names are saved in parts that fit into a record."""
    sections = {**MODEL, "folder": Path(), "event_schema": {**EVENT, "fields": FIELDS}, "expectations": []}
    sections["dedupe"] = {"events": 100_000}
    project = Project.model_validate(sections)
    rows = Sequence(project, (Unique(kind="unique", fields=("at",)), Jump(kind="jump", field="x", most=1)))
    random_ = random.Random(7)
    for number in range(100_001):
        entity = f"{random_.getrandbits(300):x}{number % 20_000}"[-60:] if number < 10_000 else "e"
        rows.take(entity, number, {"x": random_.random(), "at": number})
    frames = rows.save()
    again = Sequence(project, (Unique(kind="unique", fields=("at",)), Jump(kind="jump", field="x", most=1)))
    again.restore(frames)

    assert len(frames) > 8
    assert max(len(frame) for frame in frames) < 500_000
    assert rows._memory == again._memory
    assert 100_000 == len(again._memory.seen["at",])


def test_what_cannot_be_restored_is_refused_and_changes_nothing():
    """Damaged, incomplete, doubled or of other rules: a sentence says so, and the memory stays as it was."""
    rows = sequence(*RULES)
    for place in range(3):
        rows.take("a", place, {"x": 0.0, "meter": "m", "at": place})
    frames = rows.save()
    refused = {
        "damaged": [frames[0][:-3], *frames[1:]],
        "not all of them": frames[1:],
        "each once": [*frames, frames[0]],
        "are not all": [],
    }

    assert 3 == len(frames), "entities, and two combinations"
    for words, broken in refused.items():
        with pytest.raises(ValueError, match=words):
            rows.restore(broken)
    rows.take("a", 9, {})
    with pytest.raises(ValueError, match="not saved together"):
        rows.restore([*frames[:2], rows.save()[2]])
    rows.restore(frames)
    with pytest.raises(ValueError, match="other rules"):
        sequence(RULES[0]).restore(frames)
    assert frames == rows.save()


def test_a_smaller_memory_takes_over_the_newest():
    """Restored where fewer combinations are remembered, the oldest are forgotten."""
    rule, project = Unique(kind="unique", fields=("at",)), project_of()
    rows = Sequence(project.model_copy(update={"dedupe": Dedupe(events=2000)}), (rule,))
    for number in range(1500):
        rows.take("a", 0, {"at": number})
    again = Sequence(project, (rule,))
    again.restore(rows.save())

    assert [None, "not-unique"] == [again.judge("a", 0, {"at": number}).reason for number in (499, 500)]
