"""Fault 13: damaged and malicious model files, each refused with its own reason; in a child, whatever they do."""

import pytest

from millrace.contracts.errors import ArtifactError
from millrace.contracts.model_file import Limits
from services.serving.probe import ChildProbe, Task, try_model
from services.serving.verify import NotNowError
from tests.onnx_models import classifier
from tests.serving.bad_models import BAD, as_bytes, busy, golden, good, misbehaving

SMALL = Limits(bytes_max=100_000, nodes_max=100)


def task(content: bytes, records: bytes | None = None, limits: Limits = SMALL) -> Task:
    """What is to be tried: three features, two classes."""
    return Task(content, records, width=3, classes=2, limits=limits)


@pytest.mark.parametrize("name", BAD)
def test_each_bad_file_is_refused_for_its_own_reason(name):
    """Nothing else than a refusal comes out, and it says what is wrong."""
    content, reason = BAD[name]
    with pytest.raises(ArtifactError, match=reason):
        try_model(task(as_bytes(content)))


def test_there_are_many_and_the_good_one_passes():
    """The guard of the cases above: forty of them, and what they were made from is a model."""
    assert len(BAD) >= 40
    for content in (as_bytes(good()), classifier(), *map(misbehaving, ("error", "nan", "class"))):
        try_model(task(content, limits=Limits()))
    try_model(task(as_bytes(good()), golden()))


@pytest.mark.parametrize(
    ("content", "records", "reason"),
    [
        (classifier(flipped=True), golden(), "of 32 golden records are answered differently"),
        (as_bytes(good()), golden(width=2), "the golden records have 2 features, 3 are needed"),
        (as_bytes(good()), b"[]", "no golden records"),
        (as_bytes(good()), b"\xff", "no golden records"),
    ],
)
def test_golden_records_must_be_answered_as_in_training(content, records, reason):
    """Another model, records of other features, and records that are none."""
    with pytest.raises(ArtifactError, match=reason):
        try_model(task(content, records, Limits()))


@pytest.fixture(scope="module")
def probe(fork_server):
    """A probe that gives a model a gigabyte and two seconds."""
    return ChildProbe(memory_mb=1024, seconds=2)


def test_the_child_says_what_would_have_been_said_here(probe):
    """Reasons come back in words, and a good model passes."""
    probe(task(as_bytes(good()), golden()))
    for name in ("garbage", "NaN weight", "too wide", "external tensor"):
        content, reason = BAD[name]
        with pytest.raises(ArtifactError, match=reason):
            probe(task(as_bytes(content)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(busy(400, 2500), "SIGXCPU|within 2 s"), (busy(1, 40_000), "memory|alloc|MB")],
    ids=["hangs", "eats memory"],
)
def test_a_model_that_hangs_or_eats_memory_is_refused(probe, content, reason):
    """The child is ended by its limits; this process goes on, and tries the next one."""
    with pytest.raises(ArtifactError, match=reason):
        probe(task(content, limits=Limits()))
    probe(task(as_bytes(good())))


def test_a_probe_that_is_closed_knows_nothing(fork_server):
    """Serving ends while a model is tried: that is no refusal."""
    closed = ChildProbe(memory_mb=1024, seconds=20)
    closed.close()
    with pytest.raises(NotNowError, match="not tried"):
        closed(task(as_bytes(good())))
