"""A micro-batch during a rollout, as an independent reader sees it: who answers, what is compared and counted."""

import dataclasses
import itertools
import time
from typing import Any

import numpy as np
import pytest

from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.frames import decode_frame
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import newest
from services.serving.batch import Answer, Server, Where, answer
from services.serving.guard import Guard
from services.serving.samples import Samples
from services.serving.score import Model, Scores
from services.serving.split import assign, positions
from services.serving.variants import Part, Rollout
from tests.contracts.avro_rows import proven, read, write
from tests.onnx_models import classifier, regressor
from tests.serving.bad_models import TRIGGER, misbehaving
from tests.support import EPOCH_MS

WHERE = Where("tiny-samples", "tiny-predictions", "tiny-observations", 3, "tiny-shadow-predictions")
SAMPLE, MADE, OBSERVED = newest("sample-recorded"), newest("prediction-made"), newest("observations-recorded")
ID = "rollout/tiny/2"


@pytest.fixture
async def codec() -> Codec:
    """A codec that writes predictions and observations."""
    codec = Codec(LocalSchemas())
    await codec.prepare_topic(WHERE.predictions, schemas.load("prediction-made"))
    await codec.prepare_topic(WHERE.shadow_predictions, schemas.load("prediction-made"))
    await codec.prepare_topic(WHERE.observations, schemas.load("observations-recorded"))
    return codec


def arm(content: bytes, share: float, variant: str = "candidate", version: int = 5, mode: str = "LIVE") -> Part:
    """A variant that is tried out."""
    model = Model(content, width=3, classes=2, probed=True)
    return Part(
        variant, version, share, mode, Guard(model, name=variant, classes=2, deadline_s=60, timer=time.perf_counter)
    )


def server(*arms: Part, paired: bool = True, unit: Any = "entity") -> Server:
    """Version 4 says yes where x is positive; the arms are tried beside it."""
    model = Model(classifier(), width=3, classes=2)
    rollout = Rollout(ID, unit, paired, 4, arms, time.perf_counter)
    return Server(model, "tiny", 4, 7, ("no", "yes"), ("x", "x_change", "last"), rollout)


def event(number: int, x: float, **changes: Any) -> dict[str, Any]:
    """An event's sample, each of another entity."""
    return {
        "kind": "EVENT", "event_id": f"e{number}", "entity": f"w{number}", "time_ms": EPOCH_MS, "feature_set": "f",
        "features": [x, 0.0, 0.0], "event": b"", "label": None, "source_topic": "t", "source_partition": 3,
        "source_offset": number, "source_time_ms": EPOCH_MS, **changes,
    }  # fmt: skip


def label(number: int) -> dict[str, Any]:
    """The sample of that event's label."""
    return event(number, 0.0, kind="LABEL", features=[], label=1.0)


def batch(*rows: dict[str, Any]) -> Samples:
    """These samples, from offset 100 on."""
    return Samples(proven(SAMPLE).decode([write(SAMPLE, row) for row in rows]), range(100, 100 + len(rows)))


def asked(codec: Codec, samples: Samples, by: Server) -> Answer:
    """The answer."""
    return answer(samples, by, WHERE, codec, from_offset=100, now_ms=EPOCH_MS)


def told(values: list[bytes]) -> list[tuple[Any, ...]]:
    """Predictions, as (id without its beginning, version, variant, value)."""
    made = [read(MADE, value) for value in values]
    assert all(one["prediction_id"].startswith("tiny/tiny-samples/3/") for one in made)
    return [(one["prediction_id"][20:], one["version"], one["variant"], one["value"]) for one in made]


def counted(answered: Answer) -> list[tuple[Any, ...]]:
    """Per variant: name, version, and the rows assigned, answered, scored, in error, missing."""
    names = ("variant", "version", "assigned_rows", "answered_rows", "scored_rows", "error_rows", "missing_rows")
    return [tuple(getattr(one, name) for name in names) for one in answered.counts]


EVENTS = [event(n, float(n % 3 - 1)) for n in range(200)]
OPPOSITE = classifier(flipped=True)


def assigned_to_candidate(share: float) -> list[bool]:
    """By the contract: entities below the share."""
    return (assign(positions(ID, [row["entity"] for row in EVENTS]), [share]) == 1).tolist()


async def test_a_canary_answers_its_share_and_both_are_compared(codec):
    """Each event has one answer; what the other version says is in the shadow topic and in the frame."""
    by = server(arm(OPPOSITE, 0.3))
    answered = asked(codec, batch(*EVENTS), by)
    theirs = assigned_to_candidate(0.3)
    values = by.model.score(np.array([row["features"] for row in EVENTS])).values.tolist()
    candidates = by.rollout.parts[0].guard.score(np.array([row["features"] for row in EVENTS])).scored.values.tolist()
    frame = decode_frame(read(OBSERVED, answered.observations[0])["frame"])

    assert 30 < sum(theirs) < 90
    assert [
        (f"{100 + n}/candidate", 5, "candidate", candidates[n]) if its else (f"{100 + n}", 4, "champion", values[n])
        for n, its in enumerate(theirs)
    ] == told(answered.predictions)
    assert [
        (f"{100 + n}/champion", 4, "champion", values[n])
        if its
        else (f"{100 + n}/candidate", 5, "candidate", candidates[n])
        for n, its in enumerate(theirs)
    ] == told(answered.shadow)
    assert list(range(200)) == answered.shadow_rows.tolist()
    assert [5 if its else 4 for its in theirs] == frame["version"].tolist()
    assert [4 if its else 5 for its in theirs] == frame["other_version"].tolist()
    assert [values[n] if its else candidates[n] for n, its in enumerate(theirs)] == frame["other_value"].tolist()
    assert [
        ("champion", 4, 200 - sum(theirs), 200 - sum(theirs), 200, 0, 0),
        ("candidate", 5, sum(theirs), sum(theirs), 200, 0, 0),
    ] == counted(answered)


async def test_a_shadow_answers_nothing_and_is_compared_on_all(codec):
    """Only the champion's answers are published."""
    answered = asked(codec, batch(*EVENTS), server(arm(OPPOSITE, 0.0, mode="SHADOW")))

    assert {(4, "champion")} == {one[1:3] for one in told(answered.predictions)}
    assert {(5, "candidate")} == {one[1:3] for one in told(answered.shadow)}
    assert [("champion", 4, 200, 200, 200, 0, 0), ("candidate", 5, 0, 0, 200, 0, 0)] == counted(answered)


@pytest.mark.parametrize("paired", [True, False])
async def test_the_champion_answers_what_raises(codec, paired):
    """One bad row costs the candidate its batch; no event goes without an answer."""
    rows = [*EVENTS, event(500, TRIGGER)]
    by = server(arm(misbehaving("error"), 1.0), paired=paired)
    answered = asked(codec, batch(*rows), by)
    frame = decode_frame(read(OBSERVED, answered.observations[0])["frame"])

    assert {(4, "champion")} == {one[1:3] for one in told(answered.predictions)}
    assert 201 == len(answered.predictions)
    assert [] == answered.shadow
    assert ("candidate", 5, 201, 0, 201, 201, 0) == counted(answered)[1]
    assert paired == ("other_version" in frame)
    assert not paired or (set(frame["other_version"].tolist()) == {0} and np.isnan(frame["other_score_0"]).all())


@pytest.mark.parametrize("how", ["nan", "class"])
@pytest.mark.parametrize("paired", [True, False])
async def test_the_champion_answers_what_is_no_answer(codec, paired, how):
    """NaN and unknown classes cost their row only, and are neither published nor compared."""
    rows = [event(0, 1.0), event(1, TRIGGER), event(2, -1.0)]
    answered = asked(codec, batch(*rows), server(arm(misbehaving(how), 1.0), paired=paired))

    assert ["candidate", "champion", "candidate"] == [one[2] for one in told(answered.predictions)]
    assert [1.0, 1.0, 0.0] == [one[3] for one in told(answered.predictions)]
    assert ([0, 2] if paired else []) == answered.shadow_rows.tolist()
    assert (["100/champion", "102/champion"] if paired else []) == [one[0] for one in told(answered.shadow)]
    assert ("candidate", 5, 3, 2, 3, 0, 1) == counted(answered)[1]
    assert ("champion", 4, 0, 1, 3 if paired else 1, 0, 0) == counted(answered)[0]


async def test_arms_score_their_own_events_only(codec):
    """Three arms, none of them the champion for most; nothing is scored twice or compared."""
    arms = [arm(OPPOSITE, 0.4, "arm-5", 5), arm(misbehaving("nan"), 0.4, "arm-6", 6)]
    answered = asked(codec, batch(*EVENTS), server(*arms, paired=False))
    part = assign(positions(ID, [row["entity"] for row in EVENTS]), [0.4, 0.4]).tolist()
    names = [("champion", 4), ("arm-5", 5), ("arm-6", 6)]
    frame = decode_frame(read(OBSERVED, answered.observations[0])["frame"])

    assert [names[one][::-1] for one in part] == [one[1:3] for one in told(answered.predictions)]
    assert [part.count(n) for n in range(3)] == [one[4] for one in counted(answered)]
    assert 200 == sum(one[3] for one in counted(answered))
    assert ([], False) == (answered.shadow, "other_version" in frame)


@pytest.mark.parametrize("paired", [True, False])
async def test_numbers_are_tried_as_classes_are(codec, paired):
    """A regression has no scores; what is no number is the champion's to answer."""
    doubled = Part(
        "candidate", 5, 1.0, "LIVE", Guard(Doubled(), name="c", classes=0, deadline_s=60, timer=time.perf_counter)
    )
    by = dataclasses.replace(server(doubled, paired=paired), model=Model(regressor(), width=3, classes=0), classes=())
    answered = asked(codec, batch(event(0, 1.5), event(1, TRIGGER)), by)

    assert [("candidate", 3.0), ("champion", 7.0)] == [(one[2], round(one[3], 3)) for one in told(answered.predictions)]
    assert paired == ("other_value" in decode_frame(read(OBSERVED, answered.observations[0])["frame"]))


class Doubled:
    """Twice the first feature, and no number where it is the trigger."""

    def score(self, features, stop=None) -> Scores:
        """The scores."""
        x = features[:, 0]
        return Scores(np.where(x == TRIGGER, np.nan, 2 * x), np.empty((len(x), 0)))


async def test_the_unit_may_be_the_event(codec):
    """One entity sees both versions."""
    rows = [event(n, 1.0, entity="same") for n in range(100)]
    by_entity = told(asked(codec, batch(*rows), server(arm(OPPOSITE, 0.5))).predictions)
    by_event = told(asked(codec, batch(*rows), server(arm(OPPOSITE, 0.5), unit="event")).predictions)

    assert (1, 2) == (len({one[2] for one in by_entity}), len({one[2] for one in by_event}))


@pytest.mark.parametrize("paired", [True, False])
async def test_labels_alone_are_observed_during_a_rollout_too(codec, paired):
    """No prediction; the counts are all zero; the columns are those of the other frames."""
    by = server(arm(OPPOSITE, 0.5), paired=paired)
    answered = asked(codec, batch(label(0), label(1)), by)
    full = asked(codec, batch(event(0, 1.0), label(0)), by)
    frames = [decode_frame(read(OBSERVED, one.observations[0])["frame"]) for one in (answered, full)]

    assert ([], []) == (answered.predictions, answered.shadow)
    assert {0} == {number for one in counted(answered) for number in one[2:]}
    assert list(frames[0]) == list(frames[1])
    assert not paired or frames[1]["other_version"].tolist() in ([4, 0], [5, 0])


async def test_counts_are_in_the_first_of_several_frames_only(codec):
    """Summed over frames they are the micro-batch's."""
    rows = [event(n, 1.0, event_id=f"{n:0900}") for n in range(1500)]
    answered = asked(codec, batch(*rows), server(arm(OPPOSITE, 0.5)))
    observed = [read(OBSERVED, value) for value in answered.observations]

    assert len(observed) > 1
    assert {(4, ID)} == {(one["champion_version"], one["rollout_id"]) for one in observed}
    assert 1500 == sum(part["answered_rows"] for one in observed for part in one["variants"])
    assert [2, *itertools.repeat(0, len(observed) - 1)] == [len(one["variants"]) for one in observed]


async def test_without_a_rollout_nothing_is_said_about_variants(codec):
    """The frame is as it always was."""
    by = dataclasses.replace(server(arm(OPPOSITE, 0.5)), rollout=None)
    answered = asked(codec, batch(*EVENTS), by)
    observed = read(OBSERVED, answered.observations[0])

    assert (4, None, []) == (observed["champion_version"], observed["rollout_id"], observed["variants"])
    assert ([], ()) == (answered.shadow, answered.counts)
    assert "other_version" not in decode_frame(observed["frame"])
