"""What a run says about the events behind its rows."""

from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import FieldCorrelation, FieldExpectation, TrainingProfileRecorded
from millrace.contracts.profile import profile_of
from services.trainer import learner
from services.trainer.learner import Learner
from services.trainer.train.window import Row, Window
from tests.support import EPOCH_MS, MINUTE_MS, World, tiny_project
from tests.trainer.mill import Mill, project_with
from tests.trainer.test_core import run


async def test_ranges_shares_and_volume_are_learned(tmp_path):
    """From the events as they were recorded; one that cannot be read again is left out."""
    world = await World.create(tiny_project(tmp_path))
    xs = [None if at % 10 == 0 else at * 7 % 1000 / 10 for at in range(1000)]
    events = [(await world.event(id=f"e{at}", at=EPOCH_MS + at * MINUTE_MS, x=x))[1] for at, x in enumerate(xs)]
    rows = [Row(at, 0, at, (0.0,), 0.0, event) for at, event in enumerate([*events, b"no event"])]
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.EVENTS)
    learned = await Learner(world.project, codec, inline).learn(Window((), tuple(rows)), run("STARTED"), "ab", 5)
    (field,) = learned.fields

    assert ("expectations/r1", "ab", 1000, 60.0) == (
        learned.expectations_id,
        learned.artifact_sha256,
        learned.rows,
        learned.events_per_hour,
    )
    assert ("x", "NUMBER", 0.1, 0.1, 99.9) == (field.name, field.kind, field.missing_share, field.min, field.max)


async def test_a_run_that_succeeds_publishes_what_it_learned(tmp_path):
    """In the same transaction as its end, which names it; a failure publishes nothing of the kind."""
    mill = await Mill.create(project_with(tmp_path), tmp_path)
    await mill.grow(150)
    await mill.snapshot()
    async with mill.trainer():
        started, ended = await mill.until_runs(2)
    (learned,) = await mill.world.values(topics.EXPECTATIONS)
    (recorded,) = await mill.world.values(topics.TRAINING_PROFILES)
    profile = profile_of(TrainingProfileRecorded.model_validate(recorded))

    assert (ended["run_id"], ended["train_rows"], ended["holdout_rows"]) == (
        profile.run_id,
        profile.rows,
        profile.holdout_rows,
    )
    assert len(profile.holdout_values) == ended["holdout_rows"]
    assert profile.holdout_scores.shape == (ended["holdout_rows"], 2)
    assert ("STARTED", "SUCCEEDED") == (started["status"], ended["status"])
    assert (ended["expectations_id"], ended["artifact_sha256"]) == (
        learned["expectations_id"],
        learned["artifact_sha256"],
    )
    assert ended["rows_sha256"] == started["rows_sha256"] is not None
    assert None not in (started["config_hash"], started["lock_hash"])


async def test_what_is_learned_of_very_much_fits_into_a_record(tmp_path):
    """The strongest pairs and the smallest sets of categories; of fields beyond the limit nothing."""
    many = [
        FieldExpectation(
            name=f"field_{at}", kind="TEXT", missing_share=0.0, min=None, max=None, mean=None, std=None, quantiles=(),
            categories=tuple(f"{at}-{number}-{'x' * 40}" for number in range(400)), category_shares=(0.0025,) * 400,
        )
        for at in range(2500)
    ]  # fmt: skip
    kept = learner.bounded(many)
    pairs = [FieldCorrelation(first="a", second=str(at), value=at / 10_000 - 0.9) for at in range(9_000)]

    assert learner.FIELDS_MAX == len(kept)
    assert 0 < sum(len(str(field.categories)) for field in kept) < 500_000
    assert [str(at) for at in range(1000)] == [pair.second for pair in learner.strongest(pairs)]
