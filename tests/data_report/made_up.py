"""A made-up stream with known faults, for the tests of the report: three snapshots, the last one gone wrong.

Rows 0 to 399 are what version 1 was trained on; it serves since. Rows 400 to 699 are like them, and make the second
snapshot. Rows 700 to 999 make the third: ``x`` is three standard deviations higher, ``y`` is missing in every fifth
and has let go of ``x``, a tenth have a ``day`` that training never saw, and carry a flag for it. Twelve events were
refused, and the labels of two of them; one window was judged bad and vetoed.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DataQualityJudged,
    DataSnapshotTaken,
    ExpectationsLearned,
    FeatureProfile,
    FieldCorrelation,
    FieldExpectation,
)
from millrace.contracts.project import Project, load_project
from millrace.contracts.schemas import Schema
from millrace.stores.lake import Lake
from services.ingest.lake_rows import LakeRows
from tests.cli.lineage_world import deployment, label, part, run, sample, say, snapshot, version
from tests.support import EPOCH_MS, MINUTE_MS, World, tiny_project

NULLABLE_NUMBER = {"type": ["null", "double"], "default": None}
NULLABLE_TEXT = {"type": ["null", "string"], "default": None}
FIELDS = [
    {"name": "x", **NULLABLE_NUMBER},
    {"name": "y", **NULLABLE_NUMBER},
    {"name": "day", **NULLABLE_TEXT},
    {"name": "mail", **NULLABLE_TEXT, "personal": True},
]
FEATURES = [
    {"name": "x", "kind": "value", "field": "x"},
    {"name": "x_change", "kind": "difference", "field": "x"},
]
CORRELATION = 0.9
SECRET = "ada@lovelace.example"
ENDS = (400, 700, 1000)
JUDGED_ROWS = (800, 900)


def project_in(folder: Path, **changes: Any) -> Project:
    """The stream's project; ``mail`` and ``who`` are personal."""
    tiny_project(folder, features=FEATURES, **changes)
    schema = json.loads((folder / "event.avsc").read_text())
    schema["fields"] = [*(one for one in schema["fields"] if one["name"] != "x"), *FIELDS]
    next(one for one in schema["fields"] if one["name"] == "who")["personal"] = "subject"
    (folder / "event.avsc").write_text(json.dumps(schema))
    return load_project(folder)


def rows(seed: int = 5) -> list[dict[str, Any]]:
    """The events' fields, in order."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for number in range(ENDS[-1]):
        x, other = rng.normal(size=2)
        bad = number >= ENDS[1]
        y = other if bad else CORRELATION * x + np.sqrt(1 - CORRELATION**2) * other
        found.append({
            "x": float(x + 3 * bad),
            "y": None if bad and number % 5 == 0 else float(y),
            "day": "sun" if bad and number % 10 == 1 else ("mon", "tue")[number % 2],
            "mail": SECRET,
        })  # fmt: skip
    return found


async def stream(folder: Path, **changes: Any) -> World:
    """All of it in a log in memory."""
    world = await World.create(project_in(folder, **changes))
    offsets = await _samples(world)
    ends = [offsets[end - 1] + 2 for end in ENDS]  # the last event, and its label
    names = [FeatureProfile(name=one["name"], mean=0, std=1, min=0, max=1, missing_share=0) for one in FEATURES]
    for number, (end, until) in enumerate(zip(ENDS, ends, strict=True)):
        await say(world, topics.DATA_SNAPSHOTS, taken(world, number, end, until, tuple(names)))
    whole = {"feature_set": world.project.feature_set, "train_rows": 300, "holdout_rows": 100}
    await say(world, topics.TRAINING_RUNS, run("run-a", part(0, ends[0]), **whole))
    await say(world, topics.MODEL_VERSIONS, version(1, "run-a"))
    await say(world, topics.DEPLOYMENTS, deployment(1, 1).model_copy(update={"decided_at_ms": EPOCH_MS + 2}))
    await say(world, topics.EXPECTATIONS, learned(world))
    await say(world, topics.DATA_QUALITY, judged(offsets))
    await _letters(world)
    return world


def taken(world: World, number: int, end: int, until: int, profile: tuple[FeatureProfile, ...]) -> DataSnapshotTaken:
    """A snapshot, taken after the deployment from the second on."""
    return snapshot(
        f"tiny/0/{until}", until, feature_set=world.project.feature_set, rows=end, labelled_rows=end, profile=profile,
        content_sha256="c" * 64, until_time_ms=EPOCH_MS + end * MINUTE_MS, taken_at_ms=EPOCH_MS + 1 + 2 * number,
    )  # fmt: skip


async def _samples(world: World) -> list[int]:
    """Events, each with its label behind it, a hundred in a transaction; the events' offsets."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.EVENTS)
    found = rows()
    for start in range(0, len(found), 100):
        together = []
        for number in range(start, start + 100):
            values = found[number]
            before = found[number - 1]["x"] if number else np.nan
            record = {"id": f"e{number}", "who": "w", "at": EPOCH_MS + number * MINUTE_MS, **values}
            together.append(sample(
                number, event=codec.encode_record(world.topic(topics.EVENTS), record),
                feature_set=world.project.feature_set, features=(values["x"], values["x"] - before),
                flags="unseen-category:day" if values["day"] == "sun" else None,
            ))  # fmt: skip
            together.append(label(number, source_offset=number))
        await say(world, topics.SAMPLES, *together)
    return [one.offset for one in await world.records(topics.SAMPLES)][::2]


def learned(world: World) -> ExpectationsLearned:
    """What the rows of the run look like."""
    nothing: dict[str, Any] = {"mean": None, "std": None, "min": None, "max": None, "quantiles": ()}
    shares: dict[str, Any] = {"categories": ("mon", "tue"), "category_shares": (0.5, 0.5)}
    day = FieldExpectation(name="day", kind="TEXT", missing_share=0, **nothing, **shares)
    return ExpectationsLearned(
        expectations_id="expectations/run-a", model="tiny", run_id="run-a", artifact_sha256="a" * 64,
        feature_set=world.project.feature_set, rows=400, fields=(day,), events_per_hour=None,
        correlations=(FieldCorrelation(first="x", second="y", value=CORRELATION),), learned_at_ms=EPOCH_MS,
    )  # fmt: skip


def judged(offsets: list[int]) -> DataQualityJudged:
    """A window in the third snapshot, kept out of training."""
    first, last = JUDGED_ROWS
    return DataQualityJudged(
        judgement_id="quality/tiny/0/900/missing-share/y", stream="tiny", model="tiny", partition=0,
        check="missing-share", subject="y", severity="ALARM", from_offset=offsets[first], until_offset=offsets[last],
        from_event_offset=first, until_event_offset=last, rows=100, observed=0.2, expected=0.0,
        message="field 'y' is missing in 20 of 100 events (20.0%); in training it was in 0.0%",
        expectations_id="expectations/run-a", vetoes=True, judged_at_ms=EPOCH_MS,
    )  # fmt: skip


async def _letters(world: World) -> None:
    """Twelve events of the third snapshot, two labels, and one event of the first."""
    told = [
        ("events", number, "out-of-range", "field 'x' is 99.0, expected -10.0 to 10.0") for number in range(710, 722)
    ]
    told += [("labels", number, "label-without-event", "no event 'e1'") for number in (715, 716)]
    told += [("events", 5, "missing-field", "field 'id' is missing; every event needs it")]
    producer = await world.transport().producer("test.letters")
    await producer.commit([
        dead_letter(
            world.topic(topics.DEAD_LETTERS), Record(f"tiny-{topic}", 0, offset, EPOCH_MS, b"w", b"?"),
            stage="TRANSFORMATION", reason=reason, message=message, error_class="ContractError",
        )
        for topic, offset, reason, message in told
    ])  # fmt: skip


async def lake_of(world: World, folder: Path) -> Lake:
    """The samples in a lake, as ingest writes them there."""
    lake = Lake(folder, world.project.stream, world.project.data.lake)
    records = await world.records(topics.SAMPLES)
    made = LakeRows(Codec(world.schemas), Schema.of(world.project.event_schema), asyncio.to_thread)
    end = (await world.transport().bounds(world.topic(topics.SAMPLES), 0)).end
    lake.append(await made.of(records), 0, 0, end)
    return lake
