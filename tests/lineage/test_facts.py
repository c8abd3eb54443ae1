"""What the control topics say, asked: the rows of a run, what a version scored, the snapshot of a run's rows."""

import pytest

from millrace.contracts.events import DriftDetected, OffsetRange, RetrainModel
from millrace.lineage.facts import Facts, Found, Placed, Span
from millrace.lineage.reach import Reach
from millrace.lineage.subject import LineageError, Subject, parse
from millrace.lineage.trace import affected, trace
from tests.cli.lineage_world import HISTORY, deployment, label, part, prediction, run, sample, snapshot, status, version
from tests.support import EPOCH_MS

FACTS = Facts.of("tiny", "tiny", [event for events in HISTORY.values() for event in events])


def of(*events):
    """The facts in these events."""
    return Facts.of("tiny", "tiny", events)


ROWS = {
    "event and label inside": (part(0, 9), {}, {}, [5], True),
    "label after the range": (part(0, 5), {}, {}, [5], False),
    "label of another range": (part(0, 5), {}, {}, [4], True),
    "first label inside, its correction outside": (part(0, 6), {}, {}, [5, 8], True),
    "no label": (part(0, 9), {}, {}, [], False),
    "event before the range": (part(3, 9), {}, {}, [5], False),
    "another partition": (part(0, 9, partition=1), {}, {}, [5], False),
    "excluded": (part(0, 9), {"excluded": (part(2, 3),)}, {}, [5], False),
    "its label excluded": (part(0, 9), {"excluded": (part(5, 6),)}, {}, [5], True),
    "flagged": (part(0, 9), {}, {"flags": "out-of-range:x"}, [5], False),
    "another feature set": (part(0, 9), {}, {"feature_set": "g"}, [5], False),
}


@pytest.mark.parametrize(("held", "of_run", "of_event", "labels", "expected"), ROWS.values(), ids=ROWS)
def test_an_event_is_a_row_of_a_run_or_is_not(held: OffsetRange, of_run, of_event, labels, expected) -> None:
    """By the trainer's rule: labelled inside the range, not flagged, not excluded, of the run's feature set."""
    found = Found((Placed(0, 2, sample(2, **of_event)),), tuple(Placed(0, at, label(2)) for at in labels))

    assert expected == bool(of(run("run-a", held, **of_run)).trained_on(found))


SPANS = {
    "nothing reported": ((), []),
    "to this day": ((status(1, 1, 7),), [Span(1, 0, 7, None)]),
    "until the next": ((status(1, 1, 7), status(2, 2, 9)), [Span(1, 0, 7, 9)]),
    "a restart says it again": ((status(1, 1, 7), status(1, 1, 8), status(2, 2, 9)), [Span(1, 0, 7, 9)]),
    "a version that could not be loaded ends nothing": (
        (status(1, 1, 7), status(2, 2, 9, status="FAILED")),
        [Span(1, 0, 7, None)],
    ),
    "replaced before it scored anything": ((status(1, 1, 7), status(2, 2, 7)), []),
    "rolled back to": (
        (status(1, 1, 0), status(2, 2, 5), status(3, 1, 8)),
        [Span(1, 0, 0, 5), Span(3, 0, 8, None)],
    ),
    "beside a challenger": ((status(1, 1, 0), status(1, 2, 0), status(2, 2, 8)), [Span(1, 0, 0, 8)]),
    "in two partitions": (
        (status(1, 1, 7), status(1, 1, 4, partition=1), status(2, 2, 9)),
        [Span(1, 0, 7, 9), Span(1, 1, 4, None)],
    ),
}


@pytest.mark.parametrize(("reports", "expected"), SPANS.values(), ids=SPANS)
def test_what_version_1_scored(reports, expected) -> None:
    """From the first report of its epoch to the first of a later one, in each partition."""
    assert expected == of(*reports).spans(1)


SNAPSHOTS = {
    "the first that reaches": ([snapshot("a", 3), snapshot("b", 7), snapshot("c", 9)], {}, ["b"]),
    "named by the run": ([snapshot("a", 3), snapshot("b", 7), snapshot("c", 9)], {"snapshot_id": "c"}, ["c", "b"]),
    "none reaches": ([snapshot("a", 3)], {}, []),
    "of another stream": ([snapshot("b", 7, stream="other")], {}, []),
}


@pytest.mark.parametrize(("known", "of_run", "expected"), SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_the_snapshot_of_a_run(known, of_run, expected) -> None:
    """The one that it names, and for each partition the first that holds all its rows."""
    made = run("run-a", part(0, 7), **of_run)

    assert expected == [found.snapshot_id for found, _ in of(*known).snapshots_of(made)]


def test_other_models_and_streams_are_left_out() -> None:
    """The topics are shared by all."""
    strangers = (run("run-z", part(0, 1), model="other"), snapshot("z", 1, stream="other"))

    assert ({}, {}) == (of(*strangers).runs, of(*strangers).snapshots)


def test_a_run_leads_back_to_the_drift_that_asked_for_it() -> None:
    """Through the request, with the evidence."""
    request = RetrainModel(
        request_id="r", model="tiny", reason="DRIFT", caused_by="d", message="worse", since_time_ms=None, until=(),
        requested_by="monitor", requested_at_ms=EPOCH_MS,
    )  # fmt: skip
    drift = DriftDetected(
        drift_id="d", model="tiny", version=1, subject="error", detector="adwin", severity="ALARM", partition=0,
        sample_offset=3, event_id="e", time_ms=EPOCH_MS, before=0.1, after=0.4, before_rows=9, after_rows=9,
        parameters={}, detected_at_ms=EPOCH_MS,
    )  # fmt: skip

    graph = trace(of(request, drift, run("run-d", part(0, 7), caused_by="r")), parse("run-d"), Found())

    assert [("asked for by", "request:r")] == [
        (how, one.id) for how, one in graph.sources("run:run-d") if one.kind == "request"
    ]
    assert [("because of", "drift:d")] == [(how, one.id) for how, one in graph.sources("request:r")]
    assert ("adwin", 0.1, 0.4) == tuple(graph.nodes["drift:d"].facts[name] for name in ("detector", "before", "after"))


@pytest.mark.parametrize(
    ("what", "found", "expected"),
    [
        ("v2", Found(), [2]),
        ("run-a", Found(), [1]),
        ("run-c", Found(), []),
        ("event:e2", Found((Placed(0, 3, sample(2)),), (Placed(0, 6, label(2)),)), [1, 2]),
        ("tiny/tiny-samples/0/7", Found(predictions=(prediction(7),)), []),
    ],
)
def test_the_versions_whose_predictions_are_counted(what: str, found: Found, expected: list[int]) -> None:
    """Those that the subject led to, and no others."""
    assert expected == affected(FACTS, parse(what), found)


def test_records_that_are_missing_are_said() -> None:
    """A prediction whose version nobody announced, a version whose run is not there."""
    unknown = trace(of(), parse("tiny/tiny-samples/0/7"), Found(predictions=(prediction(7, 5),)))
    orphan = trace(of(version(3, "run-x"), deployment(1, 3)), parse("v3"), Found())

    assert ["model-versions has no version 5: its records are missing"] == unknown.notes
    assert ["training-runs has no run-x, which made version 3: its records are missing"] == orphan.notes


SUBJECTS = {
    "tiny/tiny-samples/2/17": ("prediction", "tiny-samples", 2, 17),
    "tiny/tiny-samples/2/17/challenger": ("prediction", "tiny-samples", 2, 17),
    "tiny-events/0/4": ("place", "tiny-events", 0, 4),
    "run-0a1b": ("run", "", 0, 0),
    "Version 12": ("version", "", 0, 0),
    "event:tiny-events/0/4": ("event", "", 0, 0),
}


@pytest.mark.parametrize(("what", "expected"), SUBJECTS.items())
def test_a_question_is_understood(what: str, expected: tuple[str, str, int, int]) -> None:
    """By its form alone."""
    found: Subject = parse(f" {what} ")

    assert expected == (found.kind, found.topic, found.partition, found.offset)


@pytest.mark.parametrize("what", ["", "3", "event:", "tiny/tiny-samples/x/1", "a/b", "a/1/-1", "versions 3"])
def test_a_question_of_no_form_is_refused(what: str) -> None:
    """The message lists the forms."""
    with pytest.raises(LineageError, match="is not understood; give a prediction id"):
        parse(what)


E, L = "EVENT", "LABEL"
REACH = {
    "no feature looks back": (0, 0, [(E, "f"), (E, "g")], [], 1),
    "the next two rows": (2, 0, [(E, "f"), (L, "e"), (E, "g"), (E, "h")], [0, 2], 3),
    "its label, until the next one": (0, 1, [(E, "f"), (L, "e"), (E, "g"), (E, "h"), (L, "f"), (E, "i")], [2, 3], 5),
    "its label, one of the newest two": (0, 2, [(L, "e"), (E, "g"), (L, "f"), (E, "h"), (L, "g"), (E, "i")], [1, 3], 5),
    "its label is not known yet": (1, 1, [(E, "f"), (L, "d"), (E, "g")], [0], 3),
    "corrected": (0, 1, [(L, "e"), (L, "f"), (E, "g"), (L, "e"), (E, "h")], [], 2),
    "for ever": (None, None, [(E, "f"), (L, "d"), (E, "g")], [0, 2], 3),
}


@pytest.mark.parametrize(("rows", "labels", "samples", "expected", "asked"), REACH.values(), ids=REACH)
def test_how_far_an_event_is_seen(rows, labels, samples, expected, asked) -> None:
    """By the rows of windows and the number of labels; nothing is read when no more can be reached."""
    reach, taken = Reach("e", rows, labels), 0

    for offset, (kind, event_id) in enumerate(samples):
        taken += 1
        if not reach.take(offset, kind, event_id):
            break

    assert (expected, asked) == (reach.offsets, taken)
