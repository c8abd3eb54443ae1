"""How events and labels of one partition become one ordered log of samples. Pure: no I/O, the time is an argument.

**Merge.** Both inputs are merged by time, as Kafka Streams does, with one improvement: an event waits for the label
topic only if its own entity has a label that is *due* (the event it belongs to lies at least ``label.delay_s`` back)
and has not arrived. So a live stream is not delayed at all, and a missing label costs one wait, not one per event.

- Both in hand: the earlier one goes first; at the same time the label does, since it was known by then.
- Only an event in hand: it goes once the label topic is read to its end and none of its entity's labels is due.
- Only a label in hand: it waits for an earlier event that may be on its way.
- What is in the log is waited for until it is read. For what is not, no wait is longer than ``label.wait_ms`` after the
  record was received.

**Duplicates.** The newest ``dedupe.events`` ids of the partition are remembered. An event whose id is among them is a
duplicate, and so is a second label of one event that says the same. One that says something else is a *correction*: it
is written like any other label, and whoever reads the log holds the newest one for true. To features that look back on
labels it is one more label that became known; what they said before stays as it was said.

A label whose event is not among the remembered ones has no event to join. It waits for one that may be on its way, and
what comes after it waits too; but the label of an event that was refused waits for nothing, so that bad events do not
hold good ones up. As many ids of refused events are remembered as of admitted ones, until the process ends. So if a
refused event is sent again, corrected, send its label after it.

**Rules between rows** (a jump, a repetition, an event that comes late) are judged when an event's turn comes, beside
what was admitted before it: ``sequence.py``.

**Recovery.** ``replay_event`` and ``replay_label`` take what the samples log holds and lead to the same state as
``advance`` did when it was written: the log is the state. What the rows are worth (features, profile) is ``rows.py``.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import LabelLag, LabelMean, LabelShare
from millrace.contracts.project import Project
from services.ingest.sequence import Sequence as Rules


class EventArrived(NamedTuple):
    """A valid event. ``origin`` is whatever the caller wants back with the outcome.

    What features look at is row ``row`` of ``values``, which all events that were read together share. ``facts`` are
    the fields that rules between rows look at, None where there are none such. ``flags`` are the expectations that it
    breaks and that let it pass. ``recorded`` is what the sample holds where that is not the bytes as received.
    """

    origin: Any
    received_s: float
    event_id: str
    entity: str
    time_ms: int
    values: NDArray[np.float64]
    row: int
    facts: Mapping[str, Any] | None = None
    flags: tuple[str, ...] = ()
    recorded: bytes | None = None


class LabelArrived(NamedTuple):
    """A label that can be read; whether its event exists is seen when its turn comes."""

    origin: Any
    received_s: float
    event_id: str
    time_ms: int
    label: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that breaks its contract. ``reason`` is a slug, ``message`` says what was seen.

    ``event_id`` is that of an event that could be read so far; None for labels.
    """

    origin: Any
    reason: str
    message: str
    event_id: str | None = None


class Joined(NamedTuple):
    """A label to be written to the samples log, with the entity of its event."""

    arrival: LabelArrived
    entity: str


Outcome = EventArrived | Joined | Refused
"""An event that is admitted comes out as it arrived."""


class State:
    """Which ids one partition knows and what waits for its turn. Only its own methods change it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.rules = Rules(project, project.expectations)
        self._delay_ms = project.label.delay_s * 1000
        self._waits_for_labels = any(isinstance(spec, LabelLag | LabelMean | LabelShare) for spec in project.features)
        self._entity_of: dict[str, str] = {}  # of the newest event ids
        self._ids: deque[str] = deque()  # the same, oldest first: the first key of a dict that shrinks in front is slow
        self._labelled: dict[str, float] = {}  # the newest label of each
        self._due: dict[str, deque[tuple[float, str]]] = {}  # by entity: when the label of which event is due
        self._events: deque[EventArrived | Refused] = deque()
        self._labels: deque[LabelArrived | Refused] = deque()
        self._queued_ids: dict[str, int] = {}
        self._refused_ids: set[str] = set()  # not rebuilt from the log: they spare a wait
        self._refused_order: deque[str] = deque()

    # ---- what arrives ------------------------------------------------------------------------------------------

    def offer_events(self, arrivals: Sequence[EventArrived | Refused]) -> None:
        """Queue what was read from the events topic, in its order."""
        self._events.extend(arrivals)
        queued = self._queued_ids
        for arrival in arrivals:
            if isinstance(arrival, EventArrived):
                queued[arrival.event_id] = queued.get(arrival.event_id, 0) + 1

    def offer_labels(self, arrivals: Sequence[LabelArrived | Refused]) -> None:
        """Queue what was read from the labels topic, in its order."""
        self._labels.extend(arrivals)

    @property
    def next_event(self) -> Any:
        """Origin of the oldest event not yet decided, or None."""
        return self._events[0].origin if self._events else None

    @property
    def next_label(self) -> Any:
        """Origin of the oldest label not yet decided, or None."""
        return self._labels[0].origin if self._labels else None

    @property
    def queued(self) -> tuple[int, int]:
        """Events and labels that wait for their turn."""
        return len(self._events), len(self._labels)

    # ---- what is decided ---------------------------------------------------------------------------------------

    def advance(self, now_s: float, *, events_caught_up: bool, labels_caught_up: bool) -> list[Outcome]:
        """Decide all that can be decided now, in order.

        Args:
            now_s: monotonic time in seconds, on the same clock as ``received_s``.
            events_caught_up: whether the events topic has been read to its end.
            labels_caught_up: the same for the labels topic.
        """
        outcomes: list[Outcome] = []
        since_s = now_s - self._project.label.wait_ms / 1000
        events, labels = self._events, self._labels
        while events or labels:
            event = events[0] if events else None
            label = labels[0] if labels else None
            if isinstance(event, Refused):
                outcomes.append(event)
                events.popleft()
                self._note_refused(event.event_id)
            elif isinstance(label, Refused):
                outcomes.append(label)
                labels.popleft()
            elif label is not None and self._label_goes(label, event, since_s, events_caught_up=events_caught_up):
                labels.popleft()
                outcomes.append(self._decide_label(label))
            elif event is not None and self._event_goes(event, label, since_s, labels_caught_up=labels_caught_up):
                events.popleft()
                outcomes.append(self._decide_event(event))
            else:
                break
        return outcomes

    def _label_goes(
        self, label: LabelArrived, event: EventArrived | None, waited_since_s: float, *, events_caught_up: bool
    ) -> bool:
        """Whether the label is next: its event is known, and no earlier event can still come; or it waited enough."""
        if label.event_id not in self._entity_of:
            if label.event_id in self._queued_ids:
                return False
            if label.event_id in self._refused_ids:
                return True
        if event is not None and (label.event_id in self._entity_of or event.time_ms < label.time_ms):
            return label.time_ms <= event.time_ms  # an earlier event goes first, and may be the label's own
        return (event is not None or events_caught_up) and label.received_s <= waited_since_s

    def _event_goes(
        self, event: EventArrived, label: LabelArrived | None, waited_since_s: float, *, labels_caught_up: bool
    ) -> bool:
        """Whether the event is next: every label that its features may use is in, or it waited enough."""
        if label is not None:
            orphan = label.event_id not in self._entity_of and label.event_id not in self._queued_ids
            return not (orphan and label.time_ms <= event.time_ms)
        if not labels_caught_up:
            return False
        due = self._due.get(event.entity)
        while due and due[0][1] in self._labelled:
            due.popleft()
        if not due or due[0][0] > event.time_ms:  # oldest first, as the events came
            return True
        if event.received_s > waited_since_s:
            return False
        self._due[event.entity] = deque(one for one in due if one[0] > event.time_ms)
        return True

    def _decide_event(self, event: EventArrived) -> Outcome:
        event_id = event.event_id
        left = self._queued_ids[event_id] - 1
        if left:
            self._queued_ids[event_id] = left
        else:
            del self._queued_ids[event_id]
        if event_id in self._entity_of:
            return Refused(event.origin, "duplicate-event", f"event id {event_id!r} was already admitted")
        if not self.rules.is_idle:
            verdict = self.rules.judge(event.entity, event.time_ms, event.facts or {})
            if verdict.reason is not None:
                self._note_refused(event_id)
                return Refused(event.origin, verdict.reason, verdict.message, event_id)
            if verdict.flags:
                event = event._replace(flags=(*event.flags, *verdict.flags))
        self.replay_event(event_id, event.entity, event.time_ms, event.facts or {})
        return event

    def _decide_label(self, label: LabelArrived) -> Outcome:
        event_id = label.event_id
        entity = self._entity_of.get(event_id)
        if entity is None:
            return Refused(
                label.origin,
                "label-without-event",
                f"no event {event_id!r} among the newest {self._project.dedupe.events} of this partition",
            )
        if self._labelled.get(event_id) == label.label:
            return Refused(label.origin, "duplicate-label", f"event {event_id!r} already has the label {label.label:g}")
        self._labelled[event_id] = label.label
        return Joined(label, entity)

    # ---- what is remembered ------------------------------------------------------------------------------------

    def replay_event(self, event_id: str, entity: str, time_ms: int, facts: Mapping[str, Any] | None = None) -> None:
        """Take in an admitted event. Without facts, rules between rows know of it already."""
        if facts is not None and not self.rules.is_idle:
            self.rules.take(entity, time_ms, facts)
        if event_id in self._entity_of:  # admitted twice, when fewer ids were remembered than now
            return
        if len(self._ids) >= self._project.dedupe.events:
            self._forget(self._ids.popleft())
        self._entity_of[event_id] = entity
        self._ids.append(event_id)
        if self._waits_for_labels:
            due = self._due.get(entity)
            if due is None:
                due = self._due[entity] = deque()
            due.append((time_ms + self._delay_ms, event_id))

    def replay_label(self, event_id: str, label: float) -> bool:
        """Take in a joined label. Whether its event is still remembered; if not, the label has no effect."""
        if event_id not in self._entity_of:
            return False
        self._labelled[event_id] = label
        return True

    def _note_refused(self, event_id: str | None) -> None:
        """No label needs to wait for this event."""
        if event_id is None or event_id in self._refused_ids:
            return
        if len(self._refused_order) >= self._project.dedupe.events:
            self._refused_ids.discard(self._refused_order.popleft())
        self._refused_ids.add(event_id)
        self._refused_order.append(event_id)

    def _forget(self, event_id: str) -> None:
        due = self._due.get(self._entity_of.pop(event_id))
        if due and due[0][1] == event_id:  # what stands before it was forgotten before it
            due.popleft()
        self._labelled.pop(event_id, None)
