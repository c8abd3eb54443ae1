"""The judge finds what is wrong: each planted fault of exactly-once fails, and a clean log passes."""

from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.contracts.feature_spec import Difference
from millrace.contracts.topics import TopicRow
from tests.faults.feed import Sent
from tests.faults.judge import Books, judge
from tests.faults.readers import Seen

EVENTS = 6
FEATURES = (Difference(name="d", kind="difference", field="x"),)
SCENE: Any = SimpleNamespace(
    topic=lambda row: f"tiny-{row.suffix}" if isinstance(row, TopicRow) else row,
    project=SimpleNamespace(partitions=1, features=FEATURES),
)


def seen(offset: int, *headers: tuple[str, str]) -> Seen:
    """A record of partition 0."""
    return Seen(0, offset, 0, b"w", b"", tuple((name, value.encode()) for name, value in headers))


def sample(offset: int) -> dict[str, Any]:
    """The sample of the event at this offset."""
    place = {"source_topic": "tiny-events", "source_partition": 0, "source_offset": offset}
    worth = {"time_ms": offset, "event": {"x": offset**2}, "features": [2.0 * offset - 1 if offset else float("nan")]}
    return {"kind": "EVENT", "event_id": f"e{offset}", "entity": "w", **place, **worth}


def prediction(offset: int) -> dict[str, Any]:
    """The prediction for the sample at this offset."""
    place = {"sample_partition": 0, "sample_offset": offset}
    return {"prediction_id": f"p{offset}", "event_id": f"e{offset}", "entity": "w", **place}


def clean() -> tuple[list[Sent], Books]:
    """Events at offsets 0 to 5 and poison at 6, all with their outcomes."""
    sent = [Sent("tiny-events", 0, number, f"e{number}", "w", "event") for number in range(EVENTS)]
    letter = seen(
        0,
        ("__connect.errors.topic", "tiny-events"),
        ("__connect.errors.partition", "0"),
        ("__connect.errors.offset", str(EVENTS)),
    )
    books = Books(
        [(seen(number), sample(number)) for number in range(EVENTS)],
        [(seen(number), prediction(number)) for number in range(EVENTS)],
        [letter],
    )
    return [*sent, Sent("tiny-events", 0, EVENTS, None, "w", "poison")], books


def swapped(books: Books) -> None:
    """Two predictions in the wrong order."""
    books.predictions[1], books.predictions[2] = books.predictions[2], books.predictions[1]


FAULTS: dict[str, Callable[[Books], object]] = {
    "a prediction twice": lambda books: books.predictions.append(books.predictions[0]),
    "an event twice under another id": lambda books: books.predictions.append(
        (seen(9), {**prediction(0), "prediction_id": "p9"})
    ),
    "a prediction lost": lambda books: books.predictions.pop(3),
    "the last prediction lost": lambda books: books.predictions.pop(),
    "a prediction of nothing": lambda books: books.predictions.append((seen(9), prediction(9))),
    "predictions out of order": swapped,
    "a sample lost": lambda books: books.samples.pop(2),
    "a sample twice": lambda books: books.samples.append((seen(9), sample(0))),
    "an entity's history forgotten": lambda books: books.samples[3][1].update(features=[float("nan")]),
    "a row of an entity known twice": lambda books: books.samples[3][1].update(features=[0.0]),
    "a dead letter lost": lambda books: books.letters.pop(),
    "a dead letter twice": lambda books: books.letters.append(books.letters[0]),
}


def test_a_clean_log_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong, so nothing is said."""
    sent, books = clean()
    monkeypatch.setattr(Books, "read", lambda _scene: books)

    assert books is judge(SCENE, sent, [])


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Lost, doubled, invented, reordered: each fails."""
    sent, books = clean()
    broken = deepcopy(books)
    FAULTS[fault](broken)
    monkeypatch.setattr(Books, "read", lambda _scene: broken)

    with pytest.raises(AssertionError):
        judge(SCENE, sent, [])


def test_a_live_reader_that_saw_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that a reader saw during the fault and that is not there at the end was never committed."""
    sent, books = clean()
    monkeypatch.setattr(Books, "read", lambda _scene: books)
    shown = {0: [one for one, _ in books.predictions] + [seen(77)]}
    reader: Any = SimpleNamespace(name="live", wait=lambda _count: None, stop=lambda: reader, ordered=lambda: shown)

    with pytest.raises(AssertionError, match="live"):
        judge(SCENE, sent, [reader])
