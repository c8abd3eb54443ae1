"""Trace context goes on, or starts for a share that a hash decides."""

import pytest

from millrace.telemetry import trace

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_child_keeps_trace_and_flags_and_has_a_span_of_its_own():
    """The same place gives the same span, another place another one."""
    child, again, other = (trace.child(PARENT, place) for place in ("a/0/1", "a/0/1", "a/0/2"))

    assert child == again != other
    assert child.split(b"-")[1] == PARENT.split(b"-")[1]
    assert child.split(b"-")[2] != PARENT.split(b"-")[2]


@pytest.mark.parametrize(
    "header", [None, b"", b"garbage", PARENT[:-1], PARENT.upper(), b"01" + PARENT[2:], b"00-" + b"0" * 32 + PARENT[35:]]
)
def test_what_is_no_trace_context_is_not_carried(header):
    """A malformed header starts nothing and breaks nothing."""
    assert trace.child(header, "a/0/1") is None


def test_the_share_is_kept_and_repeats():
    """Of 20,000 places about one in a hundred is sampled, and always the same ones."""
    places = [f"a/0/{offset}" for offset in range(20_000)]
    sampled = [place for place in places if trace.start(place, 0.01)]

    assert 150 < len(sampled) < 250
    assert sampled == [place for place in places if trace.start(place, 0.01)]
    assert (None, True) == (trace.start("a/0/0", 0.0), trace.start("a/0/0", 1.0) is not None)
