"""Whether exactly-once was kept, as clients that are not ours see it.

``Live`` reads a topic read_committed while the faults happen, in a thread: with confluent-kafka (librdkafka) or with
kafka-python. ``everything`` reads it again at the end. ``judge`` compares all of it with what was sent:

- both live readers saw what a fresh reader sees, in the same order: nothing appeared that went away, or came late;
- I2: each offset of events and labels has exactly one outcome, a sample or a dead letter, in the offsets' order;
- I1: each sample of an event from ``scoring_from`` on has exactly one prediction, in the samples' order; no prediction
  id and no event id twice; and the events predicted are those that were sent and are valid;
- the order of an entity's predictions is the order in which its events were sent;
- each sample's features are what the definition says, row by row from the first sample on: no life of ingest forgot
  anything of an entity, or knew something twice, whether it recovered from saved state or from the log.

Call it when the services have stopped; or ``finish``, which waits until all is done, stops them and judges.
``aborted`` says what readers must not see: records of transactions that were aborted. It is how a test proves that the
fault left some.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from millrace.contracts import topics
from millrace.features.online import EntityFeatures
from tests.faults.feed import Feed, Sent
from tests.faults.harness import Scene, wait_for
from tests.faults.readers import Confluent, Decoder, Live, Seen, by_partition, everything

ORIGIN = "__connect.errors."


def aborted(scene: Scene, topic: str) -> list[Seen]:
    """Records that are in the log but were aborted: seen by read_uncommitted only."""
    committed = {(one.partition, one.offset) for one in everything(scene, topic)}
    return [one for one in everything(scene, topic, "read_uncommitted") if (one.partition, one.offset) not in committed]


@dataclass
class Books:
    """What is in the log at the end: records as seen, decoded where they are Avro, the event in a sample too."""

    samples: list[tuple[Seen, dict[str, Any]]]
    predictions: list[tuple[Seen, dict[str, Any]]]
    letters: list[Seen]

    @classmethod
    def read(cls, scene: Scene) -> Self:
        """By a fresh read_committed reader."""
        decode = Decoder(scene)
        samples, predictions = (
            [(one, decode(one.value)) for one in everything(scene, scene.topic(row))]
            for row in (topics.SAMPLES, topics.PREDICTIONS)
        )
        for _, value in samples:
            value["event"] = None if value["event"] is None else decode(value["event"])
        return cls(samples, predictions, everything(scene, scene.topic(topics.DEAD_LETTERS)))


def reason(letter: Seen) -> str:
    """The slug of a dead letter."""
    return dict(letter.headers)["millrace.reason"].decode()


def origin(letter: Seen) -> tuple[str, int, int]:
    """Topic, partition and offset of what the dead letter is about."""
    headers = dict(letter.headers)
    return (
        headers[f"{ORIGIN}topic"].decode(),
        int(headers[f"{ORIGIN}partition"]),
        int(headers[f"{ORIGIN}offset"]),
    )


def finish(scene: Scene, feed: Feed, live: Sequence[Live]) -> Books:
    """Stop the feed, wait until each record has its outcome and each valid event its prediction, stop, and judge."""
    feed.stop()
    outcomes = [Live(Confluent, scene, scene.topic(row)) for row in (topics.SAMPLES, topics.DEAD_LETTERS)]
    wait_for(
        lambda: sum(len(one.seen) for one in outcomes) >= len(feed.sent),
        lambda: f"{[len(one.seen) for one in outcomes]} samples and dead letters for {len(feed.sent)} records",
    )
    for reader in outcomes:
        reader.stop()
    for reader in live:
        reader.wait(feed.events)
    scene.stop()
    return judge(scene, feed.sent, live)


def judge(
    scene: Scene, sent: Sequence[Sent], live: Sequence[Live], scoring_from: Mapping[int, int] | None = None
) -> Books:
    """Assert I1 and I2 over all that was sent; see the module's docstring. Stops the live readers.

    ``scoring_from`` is the samples offset, by partition, from which on predictions are due; 0 where it is not named.
    """
    books = Books.read(scene)
    for reader in live:
        reader.wait(len(books.predictions))
        assert by_partition(one for one, _ in books.predictions) == reader.stop().ordered(), reader.name
    _nothing_is_skipped(scene, sent, books)
    _each_sample_is_predicted_once(books, scoring_from or {})
    _features_are_as_defined(scene, books)
    if not scoring_from:
        _each_valid_event_is_predicted_in_order(sent, books)
    return books


def _nothing_is_skipped(scene: Scene, sent: Sequence[Sent], books: Books) -> None:
    """I2, by offsets: every input has one outcome, and outcomes of one input come in its order."""
    outcomes = [
        (value["source_topic"], value["source_partition"], value["source_offset"]) for _, value in books.samples
    ]
    inputs = {scene.topic(row) for row in (topics.EVENTS, topics.LABELS)}
    refused = [place for letter in books.letters if (place := origin(letter))[0] in inputs]
    assert [] == repeated(outcomes + refused), "an input has two outcomes"
    assert {(one.topic, one.partition, one.offset) for one in sent} == {*outcomes, *refused}
    for topic in inputs:
        for number in range(scene.project.partitions):
            for places in (outcomes, refused):
                offsets = [offset for name, partition, offset in places if (name, partition) == (topic, number)]
                assert sorted(offsets) == offsets, f"{topic}/{number}: not in the order of the input"


def _each_sample_is_predicted_once(books: Books, scoring_from: Mapping[int, int]) -> None:
    """I1, by offsets, and the order of each partition."""
    due = [
        (seen.partition, seen.offset, value["event_id"])
        for seen, value in books.samples
        if value["kind"] == "EVENT" and seen.offset >= scoring_from.get(seen.partition, 0)
    ]
    got = [(value["sample_partition"], value["sample_offset"], value["event_id"]) for _, value in books.predictions]
    assert [] == repeated(value["prediction_id"] for _, value in books.predictions), "a prediction id twice"
    assert [] == repeated(got), "a sample predicted twice"
    assert set() == set(due) ^ set(got), "samples without a prediction, or predictions without a sample"
    assert due == got, "not in the order of the samples"
    assert all(seen.partition == value["sample_partition"] for seen, value in books.predictions)


def _features_are_as_defined(scene: Scene, books: Books) -> None:
    """Computed again, one row after the other, from the events in the samples and the labels between them."""
    entities: dict[tuple[int, str], EntityFeatures] = {}
    for seen, value in books.samples:
        known = (seen.partition, value["entity"])
        if known not in entities:
            entities[known] = EntityFeatures(scene.project.features)
        if value["kind"] == "LABEL":
            entities[known].label(value["label"])
            continue
        expected = entities[known].row(value["event"], value["time_ms"])
        assert repr(list(expected)) == repr(value["features"]), f"sample {seen.partition}/{seen.offset}"


def _each_valid_event_is_predicted_in_order(sent: Sequence[Sent], books: Books) -> None:
    """I1 end to end, from what the producer was told to what the reader reads."""
    valid = sorted((one.partition, one.offset, one.entity, one.event_id) for one in sent if one.kind == "event")
    predicted = [(value["entity"], value["event_id"]) for _, value in books.predictions]
    assert [] == repeated(event_id for _, event_id in predicted), "an event predicted twice"
    assert {event_id for *_, event_id in valid} == {event_id for _, event_id in predicted}
    assert _of_entities((entity, event_id) for _, _, entity, event_id in valid) == _of_entities(predicted)


def _of_entities(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for entity, event_id in pairs:
        found[entity].append(event_id)
    return found


def repeated(items: Iterable[Any]) -> list[Any]:
    """What stands there more than once."""
    return [item for item, count in Counter(items).items() if count > 1]
