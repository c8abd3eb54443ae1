"""What upstream does while services die: events and labels from confluent-kafka, valid ones and poison, by a seed."""

import random
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import LabelObserved
from millrace.contracts.registry_client import SchemaRegistry
from tests.faults.harness import PATIENCE_S, Scene, run, wait_for
from tests.support import EPOCH_MS

STEP_MS = 1_000  # event time from one event to the next
LABEL_STEPS = 30  # the label's delay of MODEL, in steps
BURST = 50

Poison = Callable[[random.Random, bytes], bytes | None]
"""Makes a bad value out of a good one."""


@dataclass(slots=True)
class Sent:
    """One record that the broker has acknowledged. ``event_id`` is None for poison."""

    topic: str
    partition: int
    offset: int
    event_id: str | None
    entity: str
    kind: str


@dataclass(slots=True)
class _Codecs:
    """How the two inputs are written."""

    codec: Codec
    events: str
    labels: str

    def event(self, event_id: str, who: str, at_ms: int, x: float) -> bytes:
        return self.codec.encode_record(self.events, {"id": event_id, "who": who, "at": at_ms, "x": x})

    def label(self, event_id: str, label: float, at_ms: int) -> bytes:
        return self.codec.encode(self.labels, LabelObserved(event_id=event_id, label=label, label_time_ms=at_ms))


@dataclass
class Feed:
    """Produces for as long as it is told to, at most ``rate`` events a second, from a thread of its own.

    Attributes:
        scene: where to.
        seed: decides entities, values and poison; print it.
        rate: events a second; their labels come on top.
        entities: how many there are.
        labels: whether each event's label follows it.
        poison: kinds of bad records by name; one takes the place of a good event ``poison_share`` of the time, and one
            that needs no event to be made from comes before a label as often.
        x: the value of an event, from its number and a source of random numbers.
        truth: the label of an event, from its number and value.
    """

    scene: Scene
    seed: int
    rate: float = 1000.0
    entities: int = 20
    labels: bool = True
    poison: dict[str, Poison] = field(default_factory=dict)
    poison_share: float = 0.0
    x: Callable[[int, random.Random], float] = lambda _number, rng: rng.uniform(-5, 5)
    truth: Callable[[int, float], bool] = lambda _number, x: x > 0
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fetch the schema ids, and connect as librdkafka must to meet Java's partitioner."""
        self._rng = random.Random(self.seed)
        self._number = 0
        self._due: deque[tuple[str, str, int, bool]] = deque()
        self._errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="feed", daemon=True)
        self._producer = Producer({
            "bootstrap.servers": self.scene.broker.bootstrap_servers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 5,
        })  # fmt: skip
        self._codecs = run(self._prepare())

    async def _prepare(self) -> _Codecs:
        async with SchemaRegistry(self.scene.broker.schema_registry_url) as registry:
            codec = Codec(registry)
            await codec.prepare(self.scene.project, topics.EVENTS, topics.LABELS)
        return _Codecs(codec, self.scene.topic(topics.EVENTS), self.scene.topic(topics.LABELS))

    # ---- what a test asks ----------------------------------------------------------------------------------------

    @property
    def events(self) -> int:
        """How many valid events have been acknowledged."""
        return sum(1 for one in list(self.sent) if one.kind == "event")

    def valid(self) -> list[Sent]:
        """The valid events, in the order of their partitions."""
        return sorted((one for one in self.sent if one.kind == "event"), key=lambda one: (one.partition, one.offset))

    def start(self) -> Self:
        """Begin to produce."""
        self._thread.start()
        return self

    def until(self, events: int) -> None:
        """Return when so many valid events have been acknowledged."""
        wait_for(lambda: self.events >= events, lambda: f"{self.events} of {events} events are sent; {self._errors}")

    def send(self, events: int) -> Self:
        """Produce so many events in this thread, as fast as the broker takes them, and wait until it has them."""
        for number in range(events):
            self._one()
            if number % BURST == 0:
                self._producer.poll(0)
        self._flush()
        return self

    def stop(self) -> None:
        """Stop producing and wait until the broker has everything, labels that are due included."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        while self._due:
            self._label(*self._due.popleft())
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # ---- how it is done ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        began_s = time.monotonic()
        while not self._stop.is_set():
            for _ in range(BURST):
                self._one()
            self._producer.poll(0)
            self._stop.wait(max(0.0, began_s + self._number / self.rate - time.monotonic()))

    def _flush(self) -> None:
        left = self._producer.flush(PATIENCE_S)
        assert (0, []) == (left, self._errors), "the broker acknowledges every record"

    def _one(self) -> None:
        """The next event, or poison in its place; and the label that is due by then."""
        number, rng = self._number, self._rng
        self._number += 1
        who, at_ms, event_id = f"who-{rng.randrange(self.entities)}", EPOCH_MS + number * STEP_MS, f"e{number}"
        x = self.x(number, rng)
        value = self._codecs.event(event_id, who, at_ms, x)
        if self.poison and rng.random() < self.poison_share:
            name = rng.choice(sorted(self.poison))
            self._produce(self._codecs.events, who, self.poison[name](rng, value), name, None)
        else:
            self._produce(self._codecs.events, who, value, "event", event_id)
            if self.labels:
                self._due.append((event_id, who, at_ms + LABEL_STEPS * STEP_MS, self.truth(number, x)))
        while self._due and self._due[0][2] <= at_ms:
            self._label(*self._due.popleft())

    def _label(self, event_id: str, who: str, at_ms: int, truth: bool) -> None:  # noqa: FBT001 - it is the value
        value = self._codecs.label(event_id, float(truth), at_ms)
        if self.poison and self._rng.random() < self.poison_share:
            name = self._rng.choice(sorted(self.poison.keys() - OF_EVENTS))
            self._produce(self._codecs.labels, who, self.poison[name](self._rng, value), name, None)
        self._produce(self._codecs.labels, who, value, "label", event_id)

    def _produce(self, topic: str, who: str, value: bytes | None, kind: str, event_id: str | None) -> None:
        def acknowledged(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._errors.append(str(error))
                return
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self.sent.append(Sent(topic, partition, offset, event_id, who, kind))

        while True:
            try:
                self._producer.produce(topic, key=who.encode(), value=value, on_delivery=acknowledged)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return


def poisons() -> dict[str, Poison]:
    """Each way in which a record may be bad, by name; ``REASONS`` says what the dead letter says."""
    return dict(_poisons())


REASONS: dict[str, set[str]] = {
    "random bytes": {"undecodable", "unknown-schema"},
    "truncated": {"undecodable"},
    "trailing bytes": {"undecodable"},
    "unknown schema id": {"unknown-schema"},
    "wrong magic": {"undecodable"},
    "tombstone": {"undecodable"},
    "empty": {"undecodable"},
    "huge string": {"bad-id", "too-large"},
    "out of range": {"out-of-range"},
}
OF_EVENTS = {"huge string", "out of range"}


def _poisons() -> Iterator[tuple[str, Poison]]:
    yield "random bytes", lambda rng, _good: rng.randbytes(rng.randrange(1, 200))
    yield "truncated", lambda rng, good: good[: rng.randrange(5, len(good))]
    yield "trailing bytes", lambda rng, good: good + rng.randbytes(rng.randrange(1, 20))
    yield "unknown schema id", lambda rng, good: good[:1] + (2**30 + rng.randrange(3)).to_bytes(4, "big") + good[5:]
    yield "wrong magic", lambda rng, good: bytes([rng.randrange(1, 256)]) + good[1:]
    yield "tombstone", lambda _rng, _good: None
    yield "empty", lambda _rng, _good: b""
    yield "huge string", lambda rng, good: good[:5] + _string("i" * rng.choice([1_001, 500_000])) + _after_id(good)
    yield "out of range", lambda rng, good: good[:-8] + struct.pack("<d", rng.choice([11.0, -1e300, 1e300]))


def _string(text: str) -> bytes:
    """An Avro string: its length as a zig-zag varint, and its bytes."""
    rest, out = len(text.encode()) << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest]) + text.encode()


def _after_id(good: bytes) -> bytes:
    """What follows the event's first field, a short string, in a good record."""
    return good[6 + good[5] // 2 :]
