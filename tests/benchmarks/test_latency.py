"""The arithmetic of the latency benchmark, on records made by hand."""

import numpy as np
import pytest

from benchmarks.latency import evaluate, faults, numbers_of, summary, table, tally
from benchmarks.latency_clients import Sent, event_id
from benchmarks.latency_stage import FIELDS, streaming_features

MS = 1_000_000
COUNT = 100
START_MS = 1_600_000_000_000


def columns(numbers: list[int], received_ms: list[int], prefix: str = "r") -> dict:
    """What a reader brings back."""
    return {
        "event_id": [event_id(prefix, number) for number in numbers],
        "received_ns": np.array(received_ms, dtype=np.int64) * MS,
        "logged_ms": np.array(received_ms, dtype=np.int64) - 2,
        "place": [(0, number) for number in numbers],
    }


def measured(**changes: dict) -> dict:
    """An event each 10 ms, sent 1 ms late, its sample seen after 5 ms, its prediction after 12."""
    due = START_MS + 10 * np.arange(COUNT, dtype=np.int64)
    numbers = list(range(COUNT))
    samples, predictions = columns(numbers, list(due + 5)), columns(numbers, list(due + 12))
    tables = {"samples": samples, "predictions": predictions, **changes}
    return evaluate(Sent(due * MS, (due + 1) * MS), tables["samples"], tables["predictions"], "r", 20)


def test_each_stretch_is_measured_from_its_own_beginning():
    """From when the event was due, not sent; from the sample's append; from the sample's receipt."""
    found = measured()

    stretches = ("event_to_prediction", "event_to_sample", "sample_to_prediction", "visible_sample_to_prediction")
    assert [12.0, 5.0, 9.0, 7.0] == [found[name]["p50"] for name in stretches]
    assert 1.0 == found["late_ms"]["max"]


def test_the_warm_up_is_counted_but_not_timed():
    """Of 100 events the first 20 are only counted."""
    found = measured()

    assert 80 == found["event_to_prediction"]["count"]
    assert COUNT == found["predictions"]["records"]
    assert 100.0 == found["achieved_per_s"]


def test_what_is_right_has_no_faults():
    """Each event with one sample and one prediction."""
    assert [] == faults(measured())


@pytest.mark.parametrize(
    ("numbers", "prefix", "said"),
    [
        (list(range(1, COUNT)), "r", ["1 predictions missing"]),
        ([*range(COUNT), 7], "r", ["1 predictions doubled"]),
        (list(range(COUNT)), "other", ["100 predictions missing", "100 predictions foreign"]),
    ],
)
def test_what_is_lost_doubled_or_of_another_run_is_a_fault(numbers, prefix, said):
    """In words, with the number of each."""
    wrong = columns(numbers, [START_MS + number for number in numbers], prefix)

    assert said == faults(measured(predictions=wrong))


def test_percentiles_are_values_that_were_seen():
    """Nearest rank: no mean of two values."""
    found = summary(np.array([1.0, 2.0, 3.0, 100.0]))

    assert {"p50": 2.0, "p90": 100.0, "p99": 100.0, "p999": 100.0, "max": 100.0, "count": 4} == found
    assert {"count": 0} == summary(np.array([]))


def test_an_id_tells_its_number_and_its_run():
    """An id of another run has none."""
    ids = [event_id("r200-1", 7), event_id("r200-2", 8), "r200-1x"]

    assert [7, -1, -1] == numbers_of(ids, "r200-1").tolist()


def test_a_tally_separates_foreign_from_doubled():
    """-1 is of another run, and is neither missing nor doubled."""
    found = tally(np.array([0, 1, 1, -1]), 3)

    assert {"records": 4, "missing": 1, "doubled": 1, "foreign": 1} == found


def test_the_table_has_a_line_for_each_rate_and_stretch():
    """And a heading."""
    assert 1 + 2 * 4 == len(table({"200": measured(), "2000": measured()}).splitlines())


@pytest.mark.parametrize("count", [6, 10, 600])
def test_features_are_as_many_as_asked_for_and_differ(count):
    """Names are unique; a field is taken as it is only once; the rest streams."""
    made = streaming_features(count)

    assert count == len({one["name"] for one in made})
    assert {f"x{number}" for number in range(FIELDS)} >= {one["field"] for one in made}
    assert min(count, FIELDS) == sum(one["kind"] == "value" for one in made[:FIELDS])
