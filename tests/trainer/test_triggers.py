"""What causes a run besides drift and the first data, as tables; and how many a day."""

from dataclasses import replace

import pytest

from millrace.contracts.events import RunProgress
from millrace.contracts.training_policy import Triggers
from services.trainer import core, endings
from services.trainer.state import DAY_MS, HISTORY
from services.trainer.triggers import new_rows
from tests.trainer.test_core import POLICY, deployment, folded, request, run, snapshot

RUN = [run("STARTED", cause="a", at_ms=1000), run("SUCCEEDED", cause="a", at_ms=1500)]  # reached offset 200
SERVING = [snapshot(100), deployment(), *RUN]


def policy(**triggers):
    """The policy with these triggers; code is ``c``."""
    return replace(POLICY, training=POLICY.training.model_copy(update={"triggers": Triggers(**triggers)}))


def at(name, rows, taken_at_ms, partition=0):
    """A snapshot that was taken at this time."""
    return snapshot(rows, partition).model_copy(update={"taken_at_ms": taken_at_ms, "snapshot_id": name})


def progress(**changes):
    """How far the run is."""
    said = RunProgress(stage="fitting", step=1, steps=2, message="", values={})
    return run("STARTED", cause="a", **changes).model_copy(update={"progress": said})


NEW_ROWS = {"new_rows": 50}
EVERY = {"every_s": 10.0}
CHANGED = {"project_changed": True}
CASES = {
    "no triggers": ([*SERVING, at("n", 900, 2000)], {}, 10**6, None),
    "enough new rows": ([*SERVING, at("n", 150, 2000)], NEW_ROWS, 2000, "n"),
    "too few new rows": ([*SERVING, at("n", 149, 2000)], NEW_ROWS, 2000, None),
    "rows that the run had seen are not new": ([*SERVING, at("n", 100, 2000)], {"new_rows": 10}, 2000, None),
    "rows in two partitions": (
        [snapshot(100), snapshot(100, 1), deployment(), *RUN, at("n", 120, 2000), at("o", 130, 2100, 1)],
        NEW_ROWS, 2100, "o",
    ),
    "while the run is open": ([*SERVING[:3], at("n", 150, 2000)], NEW_ROWS, 2000, core.Repeat),
    "a failed run counts as one": (
        [snapshot(100), deployment(), RUN[0], run("FAILED", cause="a"), at("n", 149, 2000)], NEW_ROWS, 2000, None,
    ),
    "a refused one too": (
        [*SERVING, at("n", 150, 2000), run("FAILED", "r2", "n", until=300, at_ms=2001), at("o", 199, 3000)],
        NEW_ROWS, 3000, None,
    ),
    "a retrain causes no retrain": (
        [*SERVING, at("n", 150, 2000), run("STARTED", "r2", "n", until=300, at_ms=2001), run("SUCCEEDED", "r2", "n")],
        NEW_ROWS, 10**6, None,
    ),
    "before any model serves": ([snapshot(100), *RUN, at("n", 150, 2000)], NEW_ROWS, 2000, None),
    "a model of other features serves": (
        [snapshot(100), deployment(feature_set="g"), *RUN, at("n", 150, 2000)], NEW_ROWS, 2000, None,
    ),
    "before any run": ([snapshot(100), deployment(), at("n", 150, 2000)], NEW_ROWS, 2000, None),
    "an import is no run of this kind": (
        [*SERVING, at("n", 150, 2000), run("STARTED", "i", "i", until=300).model_copy(update={"source": "imported"}),
         run("SUCCEEDED", "i", "i")],
        NEW_ROWS, 2000, "n",
    ),
    "progress is no run": ([*SERVING, progress(at_ms=5000), at("n", 150, 2000)], NEW_ROWS, 2000, "n"),
    "snapshots go on, not quiet yet": ([*SERVING, at("n", 150, 2000)], {**NEW_ROWS, "debounce_s": 1.0}, 2999, None),
    "quiet": ([*SERVING, at("n", 150, 2000)], {**NEW_ROWS, "debounce_s": 1.0}, 3000, "n"),
    "never quiet, but due for long": (
        [*SERVING, at("n", 150, 2000), *(at(f"n{one}", 150 + one, 2000 + 900 * one) for one in range(1, 13))],
        {**NEW_ROWS, "debounce_s": 1.0}, 12_801, "n12",
    ),
    "the schedule": ([*SERVING, at("n", 101, 2000)], EVERY, 11_000, "schedule/m/11000"),
    "before the schedule": ([*SERVING, at("n", 101, 2000)], EVERY, 10_999, None),
    "a schedule without a new row": (SERVING, EVERY, 10**6, None),
    "a changed project": (
        [snapshot(100), deployment(), run("STARTED", cause="a", code="o"), run("SUCCEEDED", code="o")],
        CHANGED, 0, "project/c",
    ),
    "the same project": (SERVING, CHANGED, 0, None),
    "changed back": (
        [snapshot(100), deployment(), run("STARTED", cause="project/c"), run("SUCCEEDED", cause="project/c"),
         run("STARTED", "r2", "b", code="o"), run("SUCCEEDED", "r2", "b", code="o")],
        CHANGED, 0, "project/c/r2",
    ),
    "a request comes first": ([*SERVING, at("n", 150, 2000), request("a2", at_ms=3000)], NEW_ROWS, 2000, "a2"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_causes_a_run(name):
    """Each case: what is in the log, the triggers, the time, and the cause of the run that is begun."""
    events, triggers, now_ms, expected = CASES[name]
    decision = core.decide(folded(*events), policy(**triggers), now_ms)
    if isinstance(expected, type):
        assert isinstance(decision, expected)
    else:
        assert expected == getattr(decision, "caused_by", None)


def test_every_case_was_seen():
    """The table has not shrunk by accident."""
    assert 24 == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_order_between_topics_and_telling_twice_change_nothing(name):
    """Runs before snapshots, as after a restart, and all of it again."""
    events, triggers, now_ms, _ = CASES[name]
    runs = [event for event in events if event.schema_name == "training-run-changed"]
    others = [event for event in events if event.schema_name != "training-run-changed"]
    live = core.decide(folded(*events), policy(**triggers), now_ms)
    assert live == core.decide(folded(*runs, *others), policy(**triggers), now_ms)
    assert live == core.decide(folded(*runs, *others, *runs, *others), policy(**triggers), now_ms)


def test_a_cause_is_told_in_words_with_its_numbers():
    """What the operator reads in the run."""
    state = folded(*SERVING, at("n", 1303, 2000))
    assert "1,203 new labelled rows since r1; the project asks for 1,000" == (
        core.decide(state, policy(new_rows=1000), 2000).because
    )
    assert "10 s since r1, as the project's schedule says; 1,203 new labelled rows" == (
        core.decide(state, policy(every_s=10), 11_000).because
    )
    changed = folded(snapshot(100), deployment(), run("STARTED", code="o"), run("SUCCEEDED", code="o"))
    begin = core.decide(changed, policy(project_changed=True), 0)
    assert ("OPERATOR", "the project changed: its code is c, r1 ran o") == (begin.trigger, begin.because)
    asked = request("b", at_ms=9_000).model_copy(update={"message": "loss is up", "since_time_ms": 77})
    begin = core.decide(folded(*SERVING, asked), policy(), 0)
    assert ("loss is up", 77) == (begin.because, begin.since_time_ms)


def test_when_to_look_again():
    """The schedule, the end of the quiet time, the end of the day; None where only news can change anything."""
    state = folded(*SERVING, at("n", 150, 2000))
    assert core.Wait(11_000) == core.decide(state, policy(every_s=10), 5000)
    assert core.Wait(3000) == core.decide(state, policy(new_rows=50, debounce_s=1, every_s=10), 2500)
    assert core.Wait() == core.decide(state, policy(), 5000)


def starts(count, since_ms):
    """Runs that began one after another and ended."""
    events = []
    for number in range(count):
        name = f"r{number}"
        events += [run("STARTED", name, f"x{number}", at_ms=since_ms + number), run("SUCCEEDED", name, f"x{number}")]
    return events


def test_a_cause_above_the_budget_waits_and_is_not_lost():
    """Two a day: the third waits until the first is a day old; what a person asks for is run at once."""
    two = policy(runs_per_day=2)
    asked = request("drifted", mark=999)
    state = folded(deployment(), *starts(2, 5000), asked)
    wait = core.decide(state, two, 6000)
    assert core.Wait(5000 + DAY_MS, core.Held("drifted", "t asked for it", 2)) == wait
    assert wait == core.decide(state, two, 4999 + DAY_MS)
    assert "drifted" == core.decide(state, two, 5000 + DAY_MS).caused_by
    assert "drifted" == core.decide(state, policy(runs_per_day=3), 6000).caused_by
    person = request("please", mark=998).model_copy(update={"reason": "OPERATOR"})
    assert "please" == core.decide(folded(deployment(), *starts(2, 5000), person, asked), two, 6000).caused_by


def test_a_run_that_is_begun_again_counts_twice_and_its_progress_not_at_all():
    """The budget counts beginnings, not names."""
    again = [run("STARTED", cause="a", at_ms=1000), run("FAILED", cause="a"), run("STARTED", cause="b", at_ms=2000)]
    state = folded(deployment(), *again, progress(at_ms=2500), run("SUCCEEDED", cause="b"), request("d", mark=999))
    assert isinstance(core.decide(state, policy(runs_per_day=2), 3000), core.Wait)
    assert "d" == core.decide(state, policy(runs_per_day=3), 3000).caused_by


def test_the_alert_of_the_budget_is_one_a_day():
    """Its id is of the day, and it says what waits and the way out."""
    held = core.Held("drifted", "loss is up", 2)
    first, later, next_day = (endings.over_budget("m", held, now_ms) for now_ms in (5, 6, DAY_MS))
    assert first.alert_id == later.alert_id != next_day.alert_id
    assert "training.triggers.runs_per_day" in first.message
    assert "loss is up (drifted)" in first.message


def test_progress_changes_nothing_and_is_news_only_while_the_run_is_open():
    """Folding it leaves the state as it is; after the end it must not be written."""
    state = folded(*SERVING[:3])
    assert state == core.evolve(state, progress())
    assert core.is_news(state, progress())
    assert not core.is_news(state, progress(run_id="other"))
    assert not core.is_news(folded(*SERVING), progress())


def test_very_many_snapshots_are_not_all_remembered():
    """The count of new rows stays right, because the one before them is kept."""
    many = [at(f"n{one}", 100 + one, 2000 + one) for one in range(1, HISTORY + 200)]
    state = folded(*SERVING, *many)
    assert len(state.recent[0]) <= HISTORY + 1
    assert HISTORY + 199 == new_rows(state, POLICY)
