"""A micro-batch at once gives what Prometheus' own histogram gives one by one."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from millrace.telemetry.batch_histogram import BatchHistogram

BOUNDS = (0.005, 0.1, 1.0, 10.0)
OBSERVED = st.sampled_from([0.0, 0.005, 0.0050001, 0.1, 1.0, 9.999, 10.0, 10.5]) | st.floats(0, 20)
BATCHES = st.lists(st.tuples(st.sampled_from(["a", 'b"\\', "ü\n"]), st.lists(OBSERVED, max_size=30)), max_size=6)


def ours() -> tuple[BatchHistogram, CollectorRegistry]:
    """A histogram of ours, alone in its registry."""
    registry = CollectorRegistry(auto_describe=True)  # as the one that is used unless told
    return BatchHistogram("wait_seconds", "From here to there.", "model", BOUNDS, registry=registry), registry


def exposed(registry: CollectorRegistry) -> list[str]:
    """What a scrape gets, but for the times of creation, which ours does not know."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


def totals(lines: list[str]) -> tuple[list[str], list[float]]:
    """The lines without the sums, and the sums: in another order of adding they differ in the last bit."""
    sums = [line for line in lines if re.match(r"wait_seconds_sum\b", line)]
    return [line for line in lines if line not in sums], [float(line.rpartition(" ")[2]) for line in sums]


@given(BATCHES)
def test_it_exposes_what_prometheus_own_does(batches):
    """Buckets, counts, sums, labels and help, for the same observations."""
    batched, our_registry = ours()
    registry = CollectorRegistry()
    single = Histogram("wait_seconds", "From here to there.", ["model"], buckets=BOUNDS, registry=registry)
    for model, observed in batches:
        batched.observe(model, observed)
        child = single.labels(model)
        for value in observed:
            child.observe(value)
    (our_lines, our_sums), (lines, sums) = totals(exposed(our_registry)), totals(exposed(registry))

    assert lines == our_lines
    assert sums == pytest.approx(our_sums, rel=1e-12)


@pytest.mark.parametrize("observed", [[0.05, 5.0], np.array([0.05, 5.0]), np.array([50, 5000]) / 1000])
def test_lists_and_arrays_are_the_same(observed):
    """As they come."""
    batched, registry = ours()
    batched.observe("a", observed)

    assert registry.get_sample_value("wait_seconds_bucket", {"model": "a", "le": "0.1"}) == 1
    assert registry.get_sample_value("wait_seconds_count", {"model": "a"}) == 2


def test_it_is_one_of_the_registrys_metrics():
    """A second one of the same name is refused, as Prometheus' own is."""
    _, registry = ours()

    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Histogram("wait_seconds", "Again.", ["model"], registry=registry)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=64), st.integers(1, 5000))
def test_a_sample_that_stands_for_many_counts_in_whole_numbers(observed: list[float], count: int) -> None:
    """What the sample stands for is the total, and no bucket holds a part of an observation."""
    histogram, registry = ours()
    histogram.observe("a", observed, weight=count / len(observed))
    buckets = [float(line.rpartition(" ")[2]) for line in exposed(registry) if line.startswith("wait_seconds_bucket")]

    assert all(bucket.is_integer() for bucket in buckets)
    assert sorted(buckets) == buckets
    assert buckets[-1] == count
