"""The trainer's decisions, as tables."""

import pytest

from millrace.contracts import topics
from millrace.contracts.events import (
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    ModelVersionChanged,
    OffsetMark,
    OffsetRange,
    RetrainModel,
    Traffic,
    TrainingRunChanged,
)
from millrace.contracts.training_policy import Training
from services.trainer import core, endings, opening
from services.trainer.journal import FOLDED
from services.trainer.train.window import Row, Window

SAMPLES = "s-samples"
NOW_MS = 1_000_000
POLICY = core.Policy(
    model="m",
    stream="s",
    samples=SAMPLES,
    feature_set="f",
    code_hash="c",
    training=Training(first_rows=100, window_rows=80, holdout_rows=20, snapshot_every_rows=10, seed=7),
)


def snapshot(rows, partition=0, until=None, feature_set="f", stream="s"):
    """A snapshot of one partition."""
    until = rows * 2 if until is None else until
    return DataSnapshotTaken(
        snapshot_id=f"{stream}/{partition}/{rows}",
        stream=stream,
        feature_set=feature_set,
        ranges=(OffsetRange(topic=SAMPLES, partition=partition, from_offset=0, until_offset=until),),
        table_version=None,
        rows=rows,
        labelled_rows=rows,
        from_time_ms=0,
        until_time_ms=0,
        profile=(),
        taken_at_ms=rows,
    )


def run(status, run_id="r1", cause="x", *, until=200, at_ms=100, code="c", model="m", feature_set="f"):
    """An event about a run whose ranges end at ``until``."""
    return TrainingRunChanged(
        run_id=run_id,
        model=model,
        status=status,
        trigger="DRIFT",
        caused_by=cause,
        ranges=(OffsetRange(topic=SAMPLES, partition=0, from_offset=0, until_offset=until),),
        feature_set=feature_set,
        code_hash=code,
        seed=7,
        train_rows=60,
        holdout_rows=20,
        duration_s=0,
        changed_at_ms=at_ms,
    )


def request(name, *, mark=None, at_ms=50, model="m", topic=SAMPLES):
    """A retrain request."""
    until = () if mark is None else (OffsetMark(topic=topic, partition=0, offset=mark),)
    return RetrainModel(
        request_id=name,
        model=model,
        reason="DRIFT",
        caused_by=None,
        message="",
        since_time_ms=None,
        until=until,
        requested_by="t",
        requested_at_ms=at_ms,
    )


def deployment(epoch=1, version=1, feature_set="f", model="m"):
    """A deployment of one version."""
    part = Traffic(variant="champion", version=version, share=1, artifact_sha256="a", feature_set=feature_set)
    return DeploymentDecided(
        deployment_id=f"d{epoch}",
        model=model,
        epoch=epoch,
        traffic=(part,),
        scoring_since_ms=0,
        caused_by="",
        reason="",
        decided_by="",
        decided_at_ms=0,
    )


def judged(low, high, *, vetoes=True, partition=0, stream="s"):
    """A judgement about these offsets of the samples."""
    return DataQualityJudged(
        judgement_id=f"q/{low}",
        stream=stream,
        model="m",
        partition=partition,
        check="missing-share",
        subject="x",
        severity="ALARM",
        from_offset=low,
        until_offset=high,
        from_event_offset=0,
        until_event_offset=0,
        rows=1,
        observed=1,
        expected=0,
        message="",
        expectations_id=None,
        vetoes=vetoes,
        judged_at_ms=0,
    )


def rejected(run_id, status="REJECTED"):
    """The registry's word about a run."""
    return ModelVersionChanged(
        change_id="v",
        model="m",
        version=None,
        status=status,
        run_id=run_id,
        artifact_sha256=None,
        feature_set="f",
        metrics={},
        reasons=(),
        caused_by="",
        changed_at_ms=0,
    )


def folded(*events):
    """The state after these events."""
    state = core.State("m", "s")
    for event in events:
        state = core.evolve(state, event)
    return state


def window(rows):
    """A window of so many rows."""
    part = OffsetRange(topic=SAMPLES, partition=0, from_offset=0, until_offset=rows * 2)
    return Window((part,) if rows else (), tuple(Row(i, 0, 2 * i, (0.0,), 0.0) for i in range(rows)))


FIRST = [snapshot(100), run("STARTED", cause="s/0/100")]
CHANGED = [snapshot(500, feature_set="g"), deployment(feature_set="g"), snapshot(600)]
CASES = {
    "nothing known": ([], None),
    "too few rows": ([snapshot(99)], None),
    "enough rows": ([snapshot(100)], "s/0/100"),
    "partitions count together": ([snapshot(60), snapshot(40, partition=1)], "s/0/60"),
    "only the newest of a partition counts": ([snapshot(60), snapshot(90)], None),
    "an older one said again changes nothing": ([snapshot(110), snapshot(60)], "s/0/110"),
    "of another stream": ([snapshot(100, stream="t")], None),
    "of other features": ([snapshot(100, feature_set="g")], None),
    "a model serves already": ([snapshot(100), deployment()], None),
    "a model of other features serves": ([snapshot(100), deployment(feature_set="g")], "s/0/100"),
    "only rows of these features count": (
        [snapshot(500, feature_set="g"), deployment(feature_set="g"), snapshot(599)],
        None,
    ),
    "enough rows of these features": (CHANGED, "s/0/600"),
    "rows of these features in two partitions": (
        [snapshot(50, feature_set="g"), snapshot(70, 1, feature_set="g"), snapshot(90), snapshot(130, 1)],
        "s/1/130",
    ),
    "the count began anew": (
        [snapshot(500, until=900, feature_set="g"), snapshot(550, until=1000), snapshot(100, until=2000)],
        "s/0/100",
    ),
    "a run of other features is no attempt": (
        [run("STARTED", feature_set="g"), run("SUCCEEDED", feature_set="g"), snapshot(100)],
        "s/0/100",
    ),
    "too few new rows since an attempt with these features": (
        [*CHANGED, run("STARTED", cause="s/0/600"), run("SUCCEEDED"), rejected("r1"), snapshot(609)],
        None,
    ),
    "enough new rows since an attempt with these features": (
        [*CHANGED, run("STARTED", cause="s/0/600"), run("SUCCEEDED"), rejected("r1"), snapshot(610)],
        "s/0/610",
    ),
    "back to features whose model was retired": (
        [run("STARTED"), run("SUCCEEDED"), rejected("r1", "RETIRED"), *CHANGED],
        "s/0/600",
    ),
    "another model serves": ([snapshot(100), deployment(model="n")], "s/0/100"),
    "a run is open": (FIRST, core.Repeat),
    "another model's run is open": ([snapshot(100), run("STARTED", model="n")], "s/0/100"),
    "the registry has not decided": ([*FIRST, run("SUCCEEDED"), snapshot(200)], None),
    "rejected, too few new rows": ([*FIRST, run("SUCCEEDED"), rejected("r1"), snapshot(109)], None),
    "rejected, enough new rows": ([*FIRST, run("SUCCEEDED"), rejected("r1"), snapshot(110)], "s/0/110"),
    "registered": ([*FIRST, run("SUCCEEDED"), rejected("r1", "REGISTERED"), snapshot(110)], None),
    "failed, too few new rows": ([*FIRST, run("FAILED", cause="s/0/100"), snapshot(109)], None),
    "failed, enough new rows": ([*FIRST, run("FAILED", cause="s/0/100"), snapshot(110)], "s/0/110"),
    "failed with other code": (
        [snapshot(100), run("STARTED", cause="s/0/100", code="o"), run("FAILED", code="o"), snapshot(101)],
        "s/0/101",
    ),
    "a request": ([deployment(), request("a")], "a"),
    "another model's request": ([deployment(), request("a", model="n")], None),
    "the newest of several": ([deployment(), request("a"), request("b")], "b"),
    "a request before the first model": ([snapshot(100), request("a")], "a"),
    "answered": ([request("a"), run("STARTED", cause="a"), run("SUCCEEDED", cause="a")], None),
    "answered by a failure": ([request("a"), run("STARTED", cause="a"), run("FAILED", cause="a")], None),
    "refused before it started": ([request("a"), run("FAILED", cause="a")], None),
    "while a run is open": ([request("a"), run("STARTED", cause="a"), request("b", at_ms=200)], core.Repeat),
    "came while a run was open": (
        [request("a"), run("STARTED", cause="a"), request("b", at_ms=200), run("SUCCEEDED", cause="a")],
        "b",
    ),
    "came before it started": (
        [request("b"), request("a"), run("STARTED", cause="a"), run("SUCCEEDED", cause="a")],
        None,
    ),
    "a failed run covers nothing": (
        [request("b"), request("a"), run("STARTED", cause="a"), run("FAILED", cause="a")],
        "b",
    ),
    "its mark was reached": ([run("STARTED"), run("SUCCEEDED"), request("b", mark=200, at_ms=999)], None),
    "its mark was not reached": ([run("STARTED"), run("SUCCEEDED"), request("b", mark=201, at_ms=1)], "b"),
    "a mark of another topic is none": (
        [run("STARTED"), run("SUCCEEDED"), request("b", mark=1, at_ms=999, topic="t")],
        "b",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_done_next(name):
    """Each case: what is in the log, and the cause of the run that is begun."""
    events, expected = CASES[name]
    decision = core.decide(folded(*events), POLICY, NOW_MS)
    if isinstance(expected, type):
        assert isinstance(decision, expected)
    else:
        assert expected == getattr(decision, "caused_by", None)


def test_every_case_was_seen():
    """The table has not shrunk by accident."""
    assert 42 == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_folding_twice_changes_no_decision(name):
    """At least once: each topic told again from its beginning gives the same decision."""
    events, _ = CASES[name]
    runs = [event for event in events if isinstance(event, TrainingRunChanged)]
    others = [event for event in events if not isinstance(event, TrainingRunChanged)]
    assert core.decide(folded(*events), POLICY, NOW_MS) == core.decide(
        folded(*others, *runs, *others, *runs), POLICY, NOW_MS
    )


def test_the_first_run_reads_up_to_what_the_snapshots_name():
    """Marks of every partition; as many rows as the window has, or as the first model asks for."""
    begin = core.decide(folded(snapshot(60), snapshot(40, partition=1)), POLICY, NOW_MS)
    because = "100 labelled rows and no model of these features yet; the first one needs 100"
    assert core.Begin("FIRST_DATA", "s/0/60", {0: 120, 1: 80}, 100, because) == begin


def test_the_newest_epoch_wins():
    """A deployment told again, or late, never replaces a newer one."""
    state = folded(deployment(2, version=5), deployment(1, version=4))
    assert 5 == core.champion_for(state, POLICY).version


def test_a_champion_of_other_features_is_no_measure():
    """It cannot be scored on these rows."""
    assert core.champion_for(folded(deployment(feature_set="g")), POLICY) is None


def test_the_run_id_depends_on_what_the_model_depends_on():
    """Not on trigger, cause or time; on rows, features, code and seed."""
    from dataclasses import replace

    ranges = window(100).ranges
    base = opening.run_id_of(POLICY, ranges)
    seeded = replace(POLICY, training=POLICY.training.model_copy(update={"seed": 8}))
    others = [
        opening.run_id_of(replace(POLICY, code_hash="o"), ranges),
        opening.run_id_of(replace(POLICY, feature_set="o"), ranges),
        opening.run_id_of(seeded, ranges),
        opening.run_id_of(POLICY, window(99).ranges),
    ]
    begins = [core.Begin("DRIFT", "a", {}, 80), core.Begin("OPERATOR", "b", {}, 80)]
    same = {opening.open_or_refuse(folded(), POLICY, begin, window(100), at).run_id for at, begin in enumerate(begins)}
    assert {base} == same
    assert 5 == len({base, *others})


@pytest.mark.parametrize(
    ("trigger", "rows", "expected"),
    [("FIRST_DATA", 99, None), ("FIRST_DATA", 100, "STARTED"), ("DRIFT", 39, "FAILED"), ("DRIFT", 40, "STARTED")],
)
def test_how_many_rows_are_needed(trigger, rows, expected):
    """A first model waits for its rows; a request is answered at once, by a failure if nothing can be learnt."""
    change = opening.open_or_refuse(folded(), POLICY, core.Begin(trigger, "a", {}, 80), window(rows), 1)
    assert expected == (change and change.status)


def test_rows_that_gave_a_model_are_not_trained_on_again():
    """The request is answered under an id of its own; a run that failed may be tried again under the same one."""
    begin = core.Begin("OPERATOR", "b", {}, 80)
    run_id = opening.run_id_of(POLICY, window(100).ranges)
    done = folded(run("STARTED", run_id), run("SUCCEEDED", run_id))
    change = opening.open_or_refuse(done, POLICY, begin, window(100), 1)
    assert ("FAILED", True) == (change.status, change.run_id != run_id)
    failed = folded(run("STARTED", run_id), run("FAILED", run_id))
    change = opening.open_or_refuse(failed, POLICY, begin, window(100), 1)
    assert ("STARTED", run_id) == (change.status, change.run_id)


NEWS = {
    "first start": ([], run("STARTED"), True),
    "start while open": ([run("STARTED", "r0")], run("STARTED", cause="y"), False),
    "start of a cause that was answered": ([run("STARTED"), run("FAILED")], run("STARTED"), False),
    "start again after a failure": ([run("STARTED"), run("FAILED")], run("STARTED", cause="y"), True),
    "start again after a success": ([run("STARTED"), run("SUCCEEDED")], run("STARTED", cause="y"), False),
    "end": ([run("STARTED")], run("SUCCEEDED"), True),
    "end of another": ([run("STARTED")], run("SUCCEEDED", "r2"), False),
    "second end": ([run("STARTED"), run("SUCCEEDED")], run("SUCCEEDED"), False),
    "failure after success": ([run("STARTED"), run("SUCCEEDED")], run("FAILED"), False),
    "refusal": ([], run("FAILED", "r9", "z"), True),
    "refusal again": ([run("FAILED", "r9", "z")], run("FAILED", "r9", "z"), False),
}


@pytest.mark.parametrize("name", NEWS)
def test_nothing_is_said_twice(name):
    """What the log holds decides whether an event is still to be written."""
    events, change, expected = NEWS[name]
    assert expected == core.is_news(folded(*events), change)


def test_an_endless_error_is_cut():
    """A record has a largest size."""
    assert 2000 == len(endings.failed(run("STARTED"), "x" * 10_000, 1).error)


def test_a_veto_is_in_the_run_that_it_concerns():
    """Only what a judgement vetoes, of this stream, and where it meets the rows; another veto is another run."""
    state = folded(
        snapshot(100), judged(150, 250), judged(150, 250), judged(10, 20, vetoes=False), judged(300, 400),
        judged(0, 5, stream="other"),
    )  # fmt: skip
    begin = core.decide(state, POLICY, NOW_MS)
    opened = opening.open_or_refuse(state, POLICY, begin, window(100), 1)
    plain = opening.open_or_refuse(folded(snapshot(100)), POLICY, begin, window(100), 1)

    assert {0: ((150, 250), (300, 400))} == state.vetoes
    assert {0: ((150, 280),)} == folded(judged(150, 250), judged(250, 270), judged(260, 280)).vetoes
    assert [(150, 200)] == [(part.from_offset, part.until_offset) for part in opened.excluded]
    assert opened.run_id != plain.run_id
    assert () == plain.excluded


def test_a_run_names_the_snapshot_and_the_hash_of_its_rows():
    """What it was trained on can be found again, and seen to be the same."""
    state, rows = folded(snapshot(100)), window(100)
    opened = opening.open_or_refuse(state, POLICY, core.decide(state, POLICY, NOW_MS), rows, 1)

    assert ("s/0/100", rows.sha256) == (opened.snapshot_id, opened.rows_sha256)


def test_the_table_version_is_one_that_has_all_rows():
    """A run that reaches beyond its snapshots names none."""
    state = folded(snapshot(100).model_copy(update={"table_version": 4}))
    begin = core.decide(state, POLICY, NOW_MS)

    assert 4 == opening.open_or_refuse(state, POLICY, begin, window(100), 1).table_version
    assert opening.open_or_refuse(state, POLICY, begin, window(101), 1).table_version is None


def test_vetoes_are_read_after_the_snapshots_that_they_belong_to():
    """A veto that is on the log before a snapshot is known when the snapshot is answered."""
    assert topics.DATA_QUALITY.suffix == list(FOLDED)[-1]
