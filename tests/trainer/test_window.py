"""Which rows are chosen, on made-up logs."""

import random

import pytest

from services.trainer.train import window
from services.trainer.train.window import REACH, Tail, choose, next_tail, split


def event(name, time_ms, feature_set="f"):
    """An EVENT record."""
    return {"kind": "EVENT", "event_id": name, "time_ms": time_ms, "feature_set": feature_set, "features": (time_ms,)}


def label(name, value=1.0):
    """A LABEL record."""
    return {"kind": "LABEL", "event_id": name, "time_ms": 0, "feature_set": "", "features": (), "label": value}


def read_back(logs, rows, until=None):
    """The reader's loop over lists; an offset is a place in the list. Also returns how many records were read."""
    ends = [len(log) if until is None else until for log in logs]
    tails = [Tail(number, 0, end, "f") for number, end in enumerate(ends)]
    count = 0
    while (tail := next_tail(tails, rows)) is not None:
        start, stop = tail.next_chunk(rows, len(tails))
        tail.extend(start, [(at, logs[tail.partition][at]) for at in range(start, stop)])
        count += stop - start
    return choose("t", tails, rows), count


def again(logs, ranges):
    """Reading the ranges of a window."""
    tails = []
    for part in ranges:
        tail = Tail(part.partition, part.from_offset, part.until_offset, "f")
        span = range(part.from_offset, part.until_offset)
        tail.extend(part.from_offset, [(at, logs[part.partition][at]) for at in span])
        tails.append(tail)
    return choose("t", tails, None)


def stream(rng, rows, delay, start_ms=0, share=1.0):
    """Events a minute apart with jitter, labels a few rows later, some never."""
    log, waiting, now = [], [], start_ms
    for number in range(rows):
        now += rng.randint(-5, 60)
        log.append(event(f"{start_ms}-{number}", now))
        if rng.random() < share:
            waiting.append(f"{start_ms}-{number}")
        while len(waiting) > delay:
            log.append(label(waiting.pop(0), float(number % 2)))
    return log


LOG = [event("a", 1), label("a", 0.0), event("b", 2), event("c", 3), label("b"), event("d", 4), label("c"), label("d")]
TABLE = {
    "all": (LOG, 9, None, [0, 2, 3, 5], 0),
    "the newest two": (LOG, 2, None, [3, 5], 3),
    "a mark hides later labels": (LOG, 9, 7, [0, 2, 3], 0),
    "a mark hides later events": (LOG, 9, 5, [0, 2], 0),
    "no labels": ([event("a", 1), event("b", 2)], 9, None, [], None),
    "another feature set": ([event("a", 1, "g"), label("a"), event("b", 2), label("b")], 9, None, [2], 2),
    "a label of an event before the log began": ([label("z"), event("a", 1), label("a")], 9, None, [1], 1),
    "the same id twice: the label is the later event's": ([event("a", 1), event("a", 2), label("a")], 9, None, [1], 1),
    "empty": ([], 9, None, [], None),
}


@pytest.mark.parametrize("name", TABLE)
def test_rows_of_one_partition(name):
    """Each case: a log, rows wanted, a mark; the offsets chosen and where the range begins."""
    log, rows, until, offsets, begin = TABLE[name]
    found, _ = read_back([log], rows, until)
    assert offsets == [row.offset for row in found.rows]
    assert begin == (found.ranges[0].from_offset if found.ranges else None)


def test_what_broke_an_expectation_is_never_a_row():
    """A flagged event is left out, its label with it; an empty mark of flags is none."""
    log = [event("a", 1) | {"flags": "jump:x"}, label("a"), event("b", 2) | {"flags": None}, label("b")]
    found, _ = read_back([log], 9)
    assert [2] == [row.offset for row in found.rows]


def test_a_vetoed_part_of_the_log_is_no_row():
    """The ranges are half open, labels inside one still count, and reading the rows again leaves out the same."""
    tail = Tail(0, 0, len(LOG), "f", [(2, 4)])
    tail.extend(0, list(enumerate(LOG)))
    found = choose("t", [tail], 9)
    assert [0, 5] == [row.offset for row in found.rows]


def test_the_hash_of_the_rows_is_theirs_alone():
    """Equal rows hash equally; another value, label or order does not."""
    rows = [window.Row(1, 0, 0, (1.0, float("nan")), 0.0), window.Row(2, 0, 2, (2.0, 3.0), 1.0)]
    hashes = [
        window.Window((), tuple(part)).sha256
        for part in (rows, rows[::-1], rows[:1], [rows[0], rows[1]._replace(label=0.0)])
    ]
    assert 4 == len(set(hashes))
    assert hashes[0] == window.Window((), tuple(row._replace(offset=9, time_ms=9) for row in rows)).sha256


def test_the_newest_label_counts():
    """A label that was corrected inside the range is the corrected one."""
    found, _ = read_back([[event("a", 1), label("a", 0.0), label("a", 1.0)]], 5)
    assert [1.0] == [row.label for row in found.rows]


@pytest.mark.parametrize("seed", range(20))
def test_the_ranges_name_exactly_the_rows_chosen(seed, monkeypatch):
    """Over partitions with jitter and lost labels: the ranges give the same rows in the same order, and the newest."""
    monkeypatch.setattr(window, "CHUNK_MIN", 17)
    rng = random.Random(seed)
    logs = [stream(rng, rng.randint(0, 300), 2, start_ms=rng.randint(0, 5000), share=0.9) for _ in range(3)]
    rows = rng.randint(1, 300)
    found, _ = read_back(logs, rows)
    assert found == again(logs, found.ranges)
    everything, _ = read_back(logs, 100_000)
    assert everything.rows[-rows:] == found.rows


def test_a_long_log_is_not_read_from_its_beginning():
    """A window of 500 rows reads two or three thousand records, not the fifty thousand that are there."""
    log = stream(random.Random(1), 25_000, 1)
    found, count = read_back([log], 500)
    assert (500, True) == (len(found.rows), count < 3000)


def test_rare_labels_are_not_searched_for_ever():
    """Past the reach the window has fewer rows than asked for."""
    log = [event(str(number), number) for number in range(100_000)]
    found, count = read_back([log], 100)
    assert (0, 100 * REACH) == (len(found.rows), count)


def test_the_holdout_is_the_newest():
    """Training rows end where the held-out rows begin."""
    found, _ = read_back([LOG], 9)
    train, holdout = split(found.rows, 1)
    assert ([1.0, 2.0, 3.0], [4.0]) == (train.x[:, 0].tolist(), holdout.x[:, 0].tolist())
    assert ([0.0, 1.0, 1.0], [1.0]) == (train.y.tolist(), holdout.y.tolist())
