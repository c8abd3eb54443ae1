"""A small telling of the demo by hand: what was sent, and what the topics say became of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from millrace.contracts.event_base import Event
from millrace.contracts.events import OffsetRange, ServingStatusReported, TrainingRunChanged
from millrace.demo.control import Control
from millrace.demo.dataset import Row
from millrace.demo_data.inject import Fault, Plan, Sending
from millrace.demo_data.read import Admitted, Letter, Received, Told
from millrace.demo_data.send import Sent

START_MS, HALF_HOUR_MS = 831_427_200_000, 1_800_000
SERVES_FROM = 10


def row(number: int) -> Row:
    """A half-hour."""
    event_id = f"nsw-{number}"
    time_ms = START_MS + number * HALF_HOUR_MS
    event = {
        "event_id": event_id,
        "region": "NSW",
        "time": time_ms,
        "nswdemand": 0.5,
        "vicdemand": 0.4,
        "transfer": 0.3,
    }
    return Row(number, "NSW", event_id, event, "up", time_ms + HALF_HOUR_MS - 60_000)


def sendings(plan: Plan, start: int, stop: int) -> list[Sending]:
    """What is sent for these rows."""
    return list(plan.sendings(row(number) for number in range(start, stop)))


def sending(number: int, fault: Fault | None = None) -> Sending:
    """One event."""
    made = row(number)
    return Sending(number, made.event_id, made.entity, made.event, made.label, made.label_time_ms, fault)


def said(events: Iterable[Event]) -> Control:
    """What stands on the control topics."""
    control = Control("electricity")
    for at, event in enumerate(events):
        control.add(at, event)
    return control


def serving(from_offset: int = SERVES_FROM, version: int = 1) -> ServingStatusReported:
    """A version serves from this offset of the samples on."""
    return ServingStatusReported(
        model="electricity", process="p", partition=0, epoch=version, version=version, status="SERVING",
        from_offset=from_offset, reason=None, reported_at_ms=0,
    )  # fmt: skip


def run_of(low: int, high: int, *excluded: tuple[int, int]) -> TrainingRunChanged:
    """A run over these offsets of the samples."""
    ranges = [
        OffsetRange(topic="electricity-samples", partition=0, from_offset=start, until_offset=stop)
        for start, stop in ((low, high), *excluded)
    ]
    return TrainingRunChanged(
        run_id="run-1", model="electricity", status="SUCCEEDED", trigger="OPERATOR", caused_by="asked",
        ranges=tuple(ranges[:1]), excluded=tuple(ranges[1:]), feature_set="f", code_hash="c", seed=1, train_rows=1,
        holdout_rows=1, duration_s=1.0, changed_at_ms=0,
    )  # fmt: skip


class Scene:
    """Events at offsets 100, 101, … of their topic; samples at 0, 2, 4, …, with a label behind each."""

    def __init__(self, *events: Event) -> None:
        self.sent: list[Sent] = []
        self.told = Told(said([serving(), *events]))

    def send(self, one: Sending) -> tuple[int, int]:
        """Sent, and received; returns its place."""
        number = len(self.sent)
        value = f"{one.event_id} {one.fault}".encode()
        self.sent.append(Sent(number, one, value))
        self.told.received.append(Received((0, 100 + number), value, 1_000 * number))
        return (0, 100 + number)

    def admit(self, one: Sending, *flags: str, predictions: int | None = None, latency_ms: int = 40) -> None:
        """It becomes a sample, and is scored once if a version serves."""
        source = self.send(one)
        place = (0, 2 * sum(map(len, self.told.admitted.values())))
        self.told.admitted.setdefault(source, []).append(Admitted(place, flags, None))
        copies = (place[1] >= SERVES_FROM) if predictions is None else predictions
        if copies:
            self.told.predicted[place] = [self.told.received[-1].time_ms + latency_ms] * copies

    def refuse(self, one: Sending, reason: str) -> None:
        """It becomes a dead letter."""
        self.told.refused.setdefault(self.send(one), []).append(Letter(reason, f"why {reason}", None))


def ordinary(plan: Plan, stop: int, catch: Mapping[str, Sequence[str]]) -> Scene:
    """A telling in which all goes well: each bad event is refused, or flagged, by what ``catch`` names in turn."""
    scene = Scene()
    turns: dict[str, Iterator[str]] = {}
    for one in sendings(plan, 0, stop):
        if one.fault is None:
            scene.admit(one)
            continue
        by = next(turns.setdefault(one.fault, _again(catch[one.fault])))
        if by.startswith("flag "):
            scene.admit(one, by.removeprefix("flag "))
        else:
            scene.refuse(one, by)
    return scene


def _again(names: Sequence[str]) -> Iterator[str]:
    while True:
        yield from names
