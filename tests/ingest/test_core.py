"""The merge of events and labels, duplicates, and recovery from the samples log."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.core import EventArrived, Joined, LabelArrived, Outcome, Refused, State
from tests.support import MINUTE_MS, tiny_project

VALUES = np.array([[1.0]])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny project."""
    return tiny_project(tmp_path_factory.mktemp("project"), dedupe={"events": 1000})


def event(number: int, *, at: int | None = None, who: str = "w", received_s: float = 0.0) -> EventArrived:
    """Event ``e<number>`` at that minute."""
    time_ms = (number if at is None else at) * MINUTE_MS
    return EventArrived(number, received_s, f"e{number}", who, time_ms, VALUES, 0)


def label(number: int, value: float = 1.0, *, received_s: float = 0.0) -> LabelArrived:
    """The label of ``e<number>``, half a minute after it."""
    return LabelArrived(number, received_s, f"e{number}", number * MINUTE_MS + MINUTE_MS // 2, value)


def short(outcomes: list[Outcome]) -> list[str]:
    """``e1`` for an event, ``l1`` for a label, the reason for what is refused."""
    names = []
    for outcome in outcomes:
        match outcome:
            case EventArrived(event_id=event_id):
                names.append(event_id)
            case Joined(arrival=arrival):
                names.append("l" + arrival.event_id[1:])
            case Refused(reason=reason):
                names.append(reason)
    return names


def advance(state: State, now_s: float = 0.0, *, events: bool = True, labels: bool = True) -> list[str]:
    """Advance with both topics read to their end unless told otherwise."""
    return short(state.advance(now_s, events_caught_up=events, labels_caught_up=labels))


def test_both_in_hand_the_earlier_goes_first(project):
    """Events and labels come out by time, whatever came in first."""
    state = State(project)
    state.offer_labels([label(1), label(2)])
    state.offer_events([event(1), event(2), event(3)])

    assert advance(state) == ["e1", "l1", "e2", "l2", "e3"]


def test_a_live_event_is_not_held_back(project):
    """With no label due, an event goes at once, though the label topic is empty."""
    state = State(project)
    state.offer_events([event(1)])

    assert advance(state) == ["e1"]


def test_an_event_waits_for_a_due_label_and_no_longer_than_wait_ms(project):
    """The label of e1 is due when e2 comes: e2 waits 200 ms for it, then goes without, and e3 does not wait again."""
    state = State(project)
    state.offer_events([event(1), event(2, received_s=1.0)])

    assert advance(state, 1.1) == ["e1"]
    assert advance(state, 1.21) == ["e2"]
    state.offer_labels([label(2, received_s=1.3)])
    state.offer_events([event(3, received_s=1.3)])
    assert advance(state, 1.3) == ["l2", "e3"]


def test_a_due_label_of_another_entity_holds_nothing_back(project):
    """Only the event's own entity matters for its features."""
    state = State(project)
    state.offer_events([event(1), event(2, who="v")])

    assert advance(state) == ["e1", "e2"]


def test_an_event_waits_while_the_label_topic_is_not_read_to_its_end(project):
    """Labels that are known to be in the log are fetched first."""
    state = State(project)
    state.offer_events([event(1)])

    assert advance(state, labels=False) == []
    assert advance(state, labels=True) == ["e1"]


def test_a_label_alone_waits_for_an_earlier_event(project):
    """A label known at 1:30 must not reach the features of an event of 1:20 that is on its way."""
    state = State(project)
    state.offer_events([event(1)])
    assert advance(state) == ["e1"]
    state.offer_labels([label(1, received_s=1.0)])

    assert advance(state, 1.0) == []
    assert advance(state, 1.2) == ["l1"]


def test_a_label_before_its_event_in_the_queue_waits_for_it(project):
    """Entities of one partition need not be in time order: the label's event may stand behind later ones."""
    state = State(project)
    state.offer_events([event(9, who="v"), event(1)])
    state.offer_labels([label(1)])

    assert advance(state, 10.0) == ["e9", "e1", "l1"]


def test_the_label_of_a_refused_event_holds_nothing_up(project):
    """It is refused as soon as its event was, though it might wait 200 ms; good events go on beside it."""
    state = State(project)
    state.offer_events([event(1), Refused(2, "out-of-range", "", "e2"), event(3), event(4)])
    state.offer_labels([label(1), label(2), label(3)])

    assert advance(state) == ["e1", "out-of-range", "l1", "label-without-event", "e3", "l3", "e4"]


def test_an_event_that_comes_again_after_it_was_refused_gets_its_label(project):
    """An id that was refused is not taken for a duplicate; a label that comes after the good event joins it."""
    state = State(project)
    state.offer_events([Refused(1, "out-of-range", "", "e1"), event(1)])
    state.offer_labels([label(1)])

    assert advance(state, 1.0) == ["out-of-range", "e1", "l1"]


def test_an_orphan_label_is_refused_after_the_wait_even_if_events_never_stop(project):
    """Its event is unknown: it waits its time, holds later events as long, then is refused with the reason."""
    state = State(project)
    state.offer_labels([label(5)])
    state.offer_events([event(6)])

    assert advance(state, 0.1, events=False) == []
    assert advance(state, 0.3, events=False) == ["label-without-event", "e6"]


def test_duplicates_are_refused(project):
    """A second event of one id and a repeated label of one event are refused, and what follows goes on."""
    state = State(project)
    state.offer_events([event(1), event(1), event(2)])
    state.offer_labels([label(1, 1.0), label(1, 1.0)])
    outcomes = state.advance(1.0, events_caught_up=True, labels_caught_up=True)

    assert short(outcomes) == ["e1", "duplicate-event", "l1", "duplicate-label", "e2"]


def test_a_label_that_says_something_else_is_a_correction(project):
    """It passes, and is from then on what a duplicate repeats; the first one, sent again, corrects it back."""
    state = State(project)
    state.offer_events([event(1)])
    state.offer_labels([label(1, 1.0), label(1, 0.0), label(1, 0.0), label(1, 1.0)])

    assert ["e1", "l1", "l1", "duplicate-label", "l1"] == advance(state, 1.0)


def test_a_correction_is_known_after_recovery(project):
    """The samples log has both labels; the newer one is the one that a duplicate repeats."""
    state = State(project)
    state.replay_event("e1", "a", 0)
    assert state.replay_label("e1", 1.0)
    assert state.replay_label("e1", 0.0)
    state.offer_labels([label(1, 0.0), label(1, 1.0)])

    assert ["duplicate-label", "l1"] == advance(state, 1.0)


def test_refused_records_come_out_in_their_place(project):
    """A record that could not be read does not wait, and holds nothing back."""
    state = State(project)
    state.offer_events([event(1), Refused("bad", "undecodable", "no Avro"), event(2, who="v")])

    assert advance(state) == ["e1", "undecodable", "e2"]


def test_the_memory_of_ids_is_bounded(tmp_path):
    """Past ``dedupe.events`` the oldest id is forgotten, and its label finds no event."""
    state = State(tiny_project(tmp_path, dedupe={"events": 1000}))
    state.offer_events([event(number) for number in range(1001)])
    state.advance(1.0, events_caught_up=True, labels_caught_up=True)
    state.offer_labels([label(0), label(1)])

    assert advance(state, 1.0) == ["label-without-event", "l1"]


@settings(max_examples=100, deadline=None)
@given(
    owners=st.text("vw", min_size=8, max_size=8),
    cuts=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 7)), max_size=6),
)
def test_the_order_does_not_depend_on_how_records_arrive(project, owners, cuts):
    """However reads are cut and interleaved, the samples come out in the same order."""
    events = [event(number, who=who) for number, who in enumerate(owners)]
    labels = [label(number, float(number % 2)) for number in range(7)]
    whole = State(project)
    whole.offer_events(events)
    whole.offer_labels(labels)
    expected = whole.advance(9.0, events_caught_up=True, labels_caught_up=True)

    state, outcomes = State(project), []
    for take_events, take_labels in [*cuts, (8, 7)]:
        state.offer_events(events[:take_events])
        state.offer_labels(labels[:take_labels])
        events, labels = events[take_events:], labels[take_labels:]
        outcomes += state.advance(0.0, events_caught_up=not events, labels_caught_up=not labels)
    outcomes += state.advance(9.0, events_caught_up=True, labels_caught_up=True)

    assert short(outcomes) == short(expected)
    assert outcomes == expected


def test_replaying_the_samples_leads_to_the_same_state(project):
    """A state rebuilt from what was written decides as the one that wrote it."""
    lived, rebuilt = State(project), State(project)
    lived.offer_events([event(number) for number in range(6)])
    lived.offer_labels([label(number, float(number % 2)) for number in range(5)])
    for outcome in lived.advance(1.0, events_caught_up=True, labels_caught_up=True):
        match outcome:
            case EventArrived():
                rebuilt.replay_event(outcome.event_id, outcome.entity, outcome.time_ms)
            case Joined(arrival=one):
                assert rebuilt.replay_label(one.event_id, one.label)
    rows = []
    for state in (lived, rebuilt):
        state.offer_events([event(6), event(5)])
        rows.append(repr(state.advance(9.0, events_caught_up=True, labels_caught_up=True)))

    assert rows[0] == rows[1]
    assert "duplicate-event" in rows[0]


def test_in_a_backlog_a_label_waits_for_its_event(project):
    """Read long ago, with its event far behind in what is still to be fetched: it is joined, not refused."""
    state, outcomes = State(project), []
    state.offer_labels([label(40), label(80)])
    for first in range(0, 90, 10):
        state.offer_events([event(number, who=f"w{number}") for number in range(first, first + 10)])
        outcomes += state.advance(1000.0 + first, events_caught_up=False, labels_caught_up=True)
    outcomes += state.advance(2000.0, events_caught_up=True, labels_caught_up=True)

    names = short(outcomes)
    assert ["l40", "l80"] == [name for name in names if not name.startswith("e")]
    assert names.index("e40") < names.index("l40") < names.index("e41")


def test_an_id_that_the_log_has_twice_is_remembered_once(tmp_path):
    """As after ``dedupe.events`` was raised: the log is read with a longer memory than it was written with."""
    state = State(tiny_project(tmp_path, dedupe={"events": 1000}))
    for number in [1, *range(2, 900), 1, *range(900, 2500)]:
        state.replay_event(f"e{number}", "w", number)
    state.offer_events([event(1), event(2499)])

    assert advance(state, 1.0) == ["e1", "duplicate-event"]
