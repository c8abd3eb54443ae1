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
duplicate, and so is a second label of one event. A label whose event is not among them has no event to join.

**Recovery.** ``replay_event`` and ``replay_label`` take what the samples log holds and lead to the same state as
``advance`` did when it was written: the log is the state.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.contracts.events import FeatureProfile
from millrace.contracts.feature_spec import LabelLag, LabelMean, LabelShare
from millrace.contracts.project import Project
from millrace.features.online import EntityFeatures
from services.ingest.profile import RunningProfile


@dataclass(frozen=True, slots=True)
class EventArrived:
    """A valid event. ``origin`` is whatever the caller wants back with the outcome."""

    origin: Any
    received_s: float
    event_id: str
    entity: str
    time_ms: int
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LabelArrived:
    """A label that can be read; whether its event exists is seen when its turn comes."""

    origin: Any
    received_s: float
    event_id: str
    time_ms: int
    label: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that breaks its contract. ``reason`` is a slug, ``message`` says what was seen."""

    origin: Any
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """An event to be written to the samples log, with its features."""

    arrival: EventArrived
    features: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SnapshotDue:
    """The rows written so far make a training set: this record's own offset is the last one in it."""

    rows: int
    labelled_rows: int
    from_time_ms: int
    until_time_ms: int
    profile: tuple[FeatureProfile, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A label to be written to the samples log, with the entity of its event."""

    arrival: LabelArrived
    entity: str
    snapshot: SnapshotDue | None


Outcome = Admitted | Joined | Refused


@dataclass(slots=True)
class _Seen:
    entity: str
    labelled: bool = False


class State:
    """Everything that ingest knows about one partition. Mutable for speed; only its own methods change it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._entities: dict[str, EntityFeatures] = {}
        self._seen: dict[str, _Seen] = {}
        self._due: dict[str, dict[str, float]] = {}
        self._waits_for_labels = any(isinstance(spec, LabelLag | LabelMean | LabelShare) for spec in project.features)
        self._events: deque[EventArrived | Refused] = deque()
        self._labels: deque[LabelArrived | Refused] = deque()
        self._queued_ids: dict[str, int] = {}
        self._profile = RunningProfile(project.feature_names)
        self.rows = 0
        self.labelled_rows = 0
        self.from_time_ms = 0
        self.until_time_ms = 0

    # ---- what arrives ------------------------------------------------------------------------------------------

    def offer_events(self, arrivals: Sequence[EventArrived | Refused]) -> None:
        """Queue what was read from the events topic, in its order."""
        for arrival in arrivals:
            self._events.append(arrival)
            if isinstance(arrival, EventArrived):
                self._queued_ids[arrival.event_id] = self._queued_ids.get(arrival.event_id, 0) + 1

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
        wait_s = self._project.label.wait_ms / 1000
        while self._events or self._labels:
            event = self._events[0] if self._events else None
            label = self._labels[0] if self._labels else None
            if isinstance(event, Refused) or isinstance(label, Refused):
                outcomes.append(self._refused())
            elif label is not None and self._label_goes(
                label, event, now_s - wait_s, events_caught_up=events_caught_up
            ):
                outcomes.append(self._decide_label())
            elif event is not None and self._event_goes(
                event, label, now_s - wait_s, labels_caught_up=labels_caught_up
            ):
                outcomes.append(self._decide_event())
            else:
                break
        return outcomes

    def _refused(self) -> Refused:
        queue = self._events if self._events and isinstance(self._events[0], Refused) else self._labels
        refused = queue.popleft()
        assert isinstance(refused, Refused), "only called with a refused record in front"
        return refused

    def _label_goes(
        self, label: LabelArrived, event: EventArrived | None, waited_since_s: float, *, events_caught_up: bool
    ) -> bool:
        """Whether the label is next: its event is known, and no earlier event can still come; or it waited enough."""
        if label.event_id not in self._seen and label.event_id in self._queued_ids:
            return False
        if event is not None and (label.event_id in self._seen or event.time_ms < label.time_ms):
            return label.time_ms <= event.time_ms  # an earlier event goes first, and may be the label's own
        return (event is not None or events_caught_up) and label.received_s <= waited_since_s

    def _event_goes(
        self, event: EventArrived, label: LabelArrived | None, waited_since_s: float, *, labels_caught_up: bool
    ) -> bool:
        """Whether the event is next: every label that its features may use is in, or it waited enough."""
        if label is not None:
            orphan = label.event_id not in self._seen and label.event_id not in self._queued_ids
            return not (orphan and label.time_ms <= event.time_ms)
        if not labels_caught_up:
            return False
        due = self._due.get(event.entity)
        if not due or next(iter(due.values())) > event.time_ms:  # oldest first, as the events came
            return True
        if event.received_s > waited_since_s:
            return False
        for event_id in [event_id for event_id, due_ms in due.items() if due_ms <= event.time_ms]:
            del due[event_id]
        return True

    def _decide_event(self) -> Outcome:
        event = self._events.popleft()
        assert isinstance(event, EventArrived), "refused records are taken out before"
        left = self._queued_ids[event.event_id] - 1
        if left:
            self._queued_ids[event.event_id] = left
        else:
            del self._queued_ids[event.event_id]
        if event.event_id in self._seen:
            return Refused(event.origin, "duplicate-event", f"event id {event.event_id!r} was already admitted")
        return Admitted(event, self.replay_event(event.event_id, event.entity, event.time_ms, event.values))

    def _decide_label(self) -> Outcome:
        label = self._labels.popleft()
        assert isinstance(label, LabelArrived), "refused records are taken out before"
        seen = self._seen.get(label.event_id)
        if seen is None:
            return Refused(
                label.origin,
                "label-without-event",
                f"no event {label.event_id!r} among the newest {self._project.dedupe.events} of this partition",
            )
        if seen.labelled:
            return Refused(label.origin, "duplicate-label", f"event {label.event_id!r} already has a label")
        self.replay_label(label.event_id, label.label)
        return Joined(label, seen.entity, self.snapshot_due())

    # ---- what is remembered ------------------------------------------------------------------------------------

    def replay_event(self, event_id: str, entity: str, time_ms: int, values: Mapping[str, object]) -> tuple[float, ...]:
        """Take in an admitted event and return its features."""
        memory = self._entities.get(entity)
        if memory is None:
            memory = self._entities[entity] = EntityFeatures(self._project.features)
        features = memory.row(values)
        self._remember(event_id, entity)
        if self._waits_for_labels:
            self._due.setdefault(entity, {})[event_id] = time_ms + self._project.label.delay_s * 1000
        self._profile.add(features)
        self.from_time_ms = min(self.from_time_ms, time_ms) if self.rows else time_ms
        self.until_time_ms = max(self.until_time_ms, time_ms) if self.rows else time_ms
        self.rows += 1
        return features

    def replay_label(self, event_id: str, label: float) -> None:
        """Take in a joined label. A label whose event is remembered no more is ignored."""
        seen = self._seen.get(event_id)
        if seen is None:
            return
        seen.labelled = True
        self._entities[seen.entity].label(label)
        self._due.get(seen.entity, {}).pop(event_id, None)
        self.labelled_rows += 1

    def snapshot_due(self) -> SnapshotDue | None:
        """What to announce if the label just taken in completes a snapshot; None otherwise."""
        if not self.labelled_rows or self.labelled_rows % self._project.training.snapshot_every_rows:
            return None
        return SnapshotDue(
            self.rows, self.labelled_rows, self.from_time_ms, self.until_time_ms, self._profile.summary()
        )

    def _remember(self, event_id: str, entity: str) -> None:
        if len(self._seen) >= self._project.dedupe.events:
            oldest = next(iter(self._seen))
            self._due.get(self._seen.pop(oldest).entity, {}).pop(oldest, None)
        self._seen[event_id] = _Seen(entity)
