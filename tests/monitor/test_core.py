"""What is said about findings, and when a retrain is asked for."""

from dataclasses import replace
from functools import reduce
from itertools import permutations

import pytest

from millrace.contracts.events import (
    AlertRaised,
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelMetricsMeasured,
    ModelVersionChanged,
    OffsetMark,
    OffsetRange,
    RetrainModel,
    RolloutMeasured,
    RunProgress,
    Traffic,
    TrainingRunChanged,
)
from services.monitor.core import INITIAL, State, ask_again, decide, evolve, open_retrain
from services.monitor.detect import Change
from services.monitor.facts import Place, Unreadable
from services.monitor.measure import Measured
from services.monitor.policy import PERSISTING
from services.monitor.rollout import RolloutFinding
from services.monitor.watch import Drift

DAY_MS = 86_400_000
PLACE = Place("m", "s-samples", 0, DAY_MS)
NOW_MS = 1_000_000
ALARM = Drift(1, "error", "ADWIN", "ALARM", 77, "e9", 5000, Change(0.1, 0.3, 900, 90), {"delta": 0.002}, 4000)
PROGRESS = RunProgress(stage="fit", step=1, steps=2, message="", values={})
WARNING = replace(ALARM, subject="feature:price", severity="WARNING", since_time_ms=None)
REQUEST_ID = "retrain/m/0/77"


def requested(request_id: str = REQUEST_ID, at_ms: int = NOW_MS, mark: OffsetMark | None = None) -> RetrainModel:
    """A request, as anybody may have made it."""
    return RetrainModel(
        request_id=request_id, model="m", reason="OPERATOR", caused_by=None, message="", since_time_ms=None,
        until=() if mark is None else (mark,),
        requested_by="anna", requested_at_ms=at_ms,
    )  # fmt: skip


def at(offset: int, topic: str = "s-samples") -> OffsetMark:
    """A place in the samples log."""
    return OffsetMark(topic=topic, partition=0, offset=offset)


def run(
    status: str, caused_by: str = REQUEST_ID, run_id: str = "run-1", at_ms: int = NOW_MS, until: int | None = None
) -> TrainingRunChanged:
    """A change of a training run."""
    return TrainingRunChanged(
        run_id=run_id, model="m", status=status, trigger="DRIFT", caused_by=caused_by,
        ranges=() if until is None else (
            OffsetRange(topic="s-samples", partition=0, from_offset=0, until_offset=until),
        ),
        feature_set="", code_hash="", seed=0, train_rows=0, holdout_rows=0, duration_s=0.0, changed_at_ms=at_ms,
    )  # type: ignore[arg-type]  # fmt: skip


def version(status: str, number: int | None = 2, run_id: str = "run-1") -> ModelVersionChanged:
    """A change in a version's life."""
    return ModelVersionChanged(
        change_id="", model="m", version=number, status=status, run_id=run_id, artifact_sha256=None, feature_set="",
        metrics={}, reasons=(), caused_by=run_id, changed_at_ms=NOW_MS,
    )  # type: ignore[arg-type]  # fmt: skip


def deployed(number: int, epoch: int, at_ms: int = 0, tried: int | None = None) -> DeploymentDecided:
    """A deployment of one version; ``tried`` is another one that answers a part of the events."""
    part = Traffic(variant="champion", version=number, share=1.0, artifact_sha256="", feature_set="")
    parts: tuple[Traffic, ...] = (part,)
    if tried is not None:
        other = {"variant": "candidate", "version": tried, "share": 0.9}
        parts = part.model_copy(update={"share": 0.1}), part.model_copy(update=other)
    return DeploymentDecided(
        deployment_id="", model="m", epoch=epoch, traffic=parts, scoring_since_ms=0, caused_by="", reason="",
        decided_by="", decided_at_ms=at_ms, rollout_id=None if tried is None else "rollout/m/2",
    )  # fmt: skip


def fold(*events: Event) -> State:
    """The state after these events."""
    return reduce(evolve, events, INITIAL)


def requests(events: list[Event]) -> list[RetrainModel]:
    """The requests among the events."""
    return [event for event in events if isinstance(event, RetrainModel)]


def test_an_alarm_is_a_drift_an_alert_and_a_request() -> None:
    """Their ids are deterministic, and the request says why, since when, and how far was read."""
    drift, alert, request = decide(fold(deployed(1, 1)), PLACE, [ALARM], NOW_MS)

    assert isinstance(drift, DriftDetected)
    assert isinstance(alert, AlertRaised)
    assert isinstance(request, RetrainModel)
    assert "drift/m/error/0/77" == drift.drift_id == request.caused_by
    assert "alert/drift/m/error/0/77" == alert.alert_id
    assert (REQUEST_ID, "DRIFT", 4000, "monitor") == (
        request.request_id,
        request.reason,
        request.since_time_ms,
        request.requested_by,
    )
    assert (OffsetMark(topic="s-samples", partition=0, offset=78),) == request.until
    assert "error of version 1 rose from 0.1 (900 rows) to 0.3 (90 rows)" == request.message
    assert (0.1, 0.3, 900, 90) == (drift.before, drift.after, drift.before_rows, drift.after_rows)


def test_a_warning_is_a_drift_and_nothing_else() -> None:
    """Features that move are evidence; they ask for nothing."""
    (drift,) = decide(INITIAL, PLACE, [WARNING], NOW_MS)

    assert isinstance(drift, DriftDetected)
    assert "drift/m/feature:price/0/77" == drift.drift_id


def test_metrics_have_a_deterministic_id() -> None:
    """Model, version, partition, last offset."""
    (metrics,) = decide(INITIAL, PLACE, [Measured(3, 99, 100, 500, 5000, {"accuracy": 0.9})], NOW_MS)

    assert isinstance(metrics, ModelMetricsMeasured)
    assert "metrics/m/3/0/99" == metrics.metrics_id


def test_what_cannot_be_read_is_an_alert() -> None:
    """Its rows are missing from what is computed, so an operator hears of it."""
    (alert,) = decide(INITIAL, PLACE, [Unreadable("m-observations", 5, "garbage")], NOW_MS)

    assert isinstance(alert, AlertRaised)
    assert "unreadable-observations" == alert.reason


def test_a_drift_that_outlives_its_retrain_is_critical() -> None:
    """While the loop still handles it, it is a warning."""
    for detector, severity in (("ADWIN", "WARNING"), (PERSISTING, "CRITICAL")):
        _, alert, _ = decide(INITIAL, PLACE, [replace(ALARM, detector=detector)], NOW_MS)
        assert isinstance(alert, AlertRaised)
        assert severity == alert.severity


OPEN = {
    "just asked": (requested(),),
    "started": (requested(), run("STARTED")),
    "succeeded, not judged yet": (requested(), run("SUCCEEDED")),
    "registered, waits for approval": (requested(), run("SUCCEEDED"), version("REGISTERED")),
    "another run failed": (requested(), run("FAILED", caused_by="snapshot/1")),
    "covered by a run that has not ended": (requested(mark=at(80)), run("STARTED", "other", until=80)),
    "covered by a run that nobody has judged": (
        requested(mark=at(80)),
        run("STARTED", "other", until=80),
        run("SUCCEEDED", "other", until=80),
    ),
    "covered by a run that failed": (
        requested(mark=at(80)),
        run("STARTED", "other", until=80),
        run("FAILED", "other", until=80),
    ),
    "a rejected run did not reach its mark": (
        requested(mark=at(81)),
        run("STARTED", "other", until=80),
        version("REJECTED", None),
    ),
    "a rejected run started before it": (
        requested(),
        run("STARTED", "other", until=80),
        run("SUCCEEDED", "other", at_ms=NOW_MS + 9, until=80),
        version("REJECTED", None),
    ),
    "an old version was deployed again": (requested(), deployed(1, 1), deployed(1, 2, NOW_MS + 5)),
    "its version is a canary": (
        requested(),
        deployed(1, 1),
        run("SUCCEEDED"),
        version("REGISTERED"),
        deployed(1, 2, NOW_MS + 5, tried=2),
        deployed(1, 3, NOW_MS + 6, tried=2),
    ),
    "another run's version is a canary": (requested(), deployed(1, 1), deployed(1, 2, NOW_MS + 5, tried=2)),
    "a progress report of a run is not its start": (
        requested(),
        run("STARTED", "other", at_ms=NOW_MS - 1, until=80),
        run("STARTED", "other", at_ms=NOW_MS + 1, until=80).model_copy(update={"progress": PROGRESS}),
        version("REJECTED", None),
    ),
}
CANARY = (requested(), run("SUCCEEDED"), version("REGISTERED"), deployed(1, 2, NOW_MS + 5, tried=2))
ANSWERED = {
    "failed": (requested(), run("FAILED")),
    "rejected": (requested(), run("SUCCEEDED"), version("REJECTED", None)),
    "retired before it served": (requested(), run("SUCCEEDED"), version("REGISTERED"), version("RETIRED")),
    "deployed": (requested(), run("SUCCEEDED"), version("REGISTERED"), deployed(2, 2)),
    "promoted after a canary": (*CANARY, deployed(2, 3, NOW_MS + 9)),
    "rolled back from a canary": (*CANARY, version("RETIRED"), deployed(1, 3, NOW_MS + 9)),
    "another run's new version": (requested(), deployed(1, 1), deployed(2, 2, NOW_MS + 1)),
    "covered by a rejected run": (requested(mark=at(80)), run("STARTED", "other", until=80), version("REJECTED", None)),
    "covered by a run whose version serves": (
        requested(mark=at(80)),
        run("STARTED", "other", until=80),
        version("REGISTERED"),
        deployed(2, 2),
    ),
    "a rejected run started after it": (
        requested(),
        run("STARTED", "other", at_ms=NOW_MS + 1, until=80),
        version("REJECTED", None),
    ),
    "its mark is of another topic, a rejected run started after it": (
        requested(mark=at(80, "t")),
        run("STARTED", "other", at_ms=NOW_MS + 1, until=9),
        version("REJECTED", None),
    ),
    "one run for two requests": (requested(), run("STARTED", "other"), run("STARTED"), run("FAILED", "other")),
}


@pytest.mark.parametrize("case", OPEN)
def test_a_request_is_open_until_it_is_answered(case: str) -> None:
    """And while it is open, an alarm asks for nothing: the alert says so."""
    state = fold(*OPEN[case])

    assert REQUEST_ID == open_retrain(state, NOW_MS, DAY_MS)
    events = decide(state, PLACE, [replace(ALARM, offset=90)], NOW_MS)
    assert not requests(events)
    assert "is open already" in next(event.message for event in events if isinstance(event, AlertRaised))


@pytest.mark.parametrize("case", ANSWERED)
def test_an_answered_request_holds_nobody_back(case: str) -> None:
    """In whatever order the topics are read: the facts count, not their order."""
    for events in permutations(ANSWERED[case]):
        state = fold(*events)
        assert open_retrain(state, NOW_MS, DAY_MS) is None
        champion = state.champion or 1
        assert 1 == len(requests(decide(state, PLACE, [replace(ALARM, offset=90, version=champion)], NOW_MS)))


def test_a_request_that_nobody_answers_holds_back_for_a_limited_time() -> None:
    """A trainer that lost it must not stop the loop for ever."""
    state = fold(requested())

    assert open_retrain(state, NOW_MS + DAY_MS - 1, DAY_MS) is not None
    assert open_retrain(state, NOW_MS + DAY_MS, DAY_MS) is None


def test_a_canary_of_the_answer_holds_back_as_long_as_it_lasts() -> None:
    """However long its rollout takes: time alone ends a request only while nobody works on it."""
    late_ms = NOW_MS + 2 * DAY_MS

    assert REQUEST_ID == open_retrain(fold(deployed(1, 1), *CANARY), late_ms, DAY_MS)
    assert open_retrain(fold(deployed(1, 1), *CANARY[:-1]), late_ms, DAY_MS) is None


def test_a_canary_that_is_rolled_back_lets_the_alarm_ask_again() -> None:
    """An alarm during the canary asks for nothing; after the rollback it asks, once, and a promotion settles it."""
    alarm = replace(ALARM, offset=90)
    tried = fold(deployed(1, 1), *CANARY)
    rolled_back = reduce(evolve, (version("RETIRED"), deployed(1, 3, NOW_MS + 9)), tried)
    promoted = evolve(tried, deployed(2, 3, NOW_MS + 9))

    assert not requests(decide(tried, PLACE, [alarm], NOW_MS + 8))
    assert (None, False) == ask_again(tried, PLACE, alarm, NOW_MS + 8)
    request, _ = ask_again(rolled_back, PLACE, alarm, NOW_MS + 10)
    assert request is not None
    assert "retrain/m/0/90" == request.request_id
    assert (None, True) == ask_again(evolve(rolled_back, request), PLACE, alarm, NOW_MS + 11)
    assert (None, True) == ask_again(promoted, PLACE, alarm, NOW_MS + 10)


def test_the_champion_of_a_rollout_is_who_has_that_name() -> None:
    """Not who has the greater share: a canary that has nearly taken over is still one."""
    state = fold(deployed(1, 1), deployed(1, 2, tried=2))

    assert (1, {2}, {1: 0}) == (state.champion, state.tried, state.promoted)


def test_evidence_has_a_deterministic_id() -> None:
    """Model, rollout, epoch, partition, first offset that is not counted."""
    (measured,) = decide(INITIAL, PLACE, [RolloutFinding("rollout/m/2", 3, 99, 5000, (), ())], NOW_MS)

    assert isinstance(measured, RolloutMeasured)
    assert "evidence/m/rollout/m/2/3/0/99" == measured.evidence_id
    assert ("rollout/m/2", 3, 99, 5000) == (
        measured.rollout_id,
        measured.epoch,
        measured.until_offset,
        measured.until_time_ms,
    )


def test_a_request_in_the_log_is_never_sent_again() -> None:
    """The same place gives the same id, even long after the request was answered."""
    state = fold(requested(), run("FAILED"))

    assert not requests(decide(state, PLACE, [ALARM], NOW_MS))


def test_two_alarms_at_once_ask_once() -> None:
    """The first opens the retrain that holds the second back."""
    assert 1 == len(requests(decide(INITIAL, PLACE, [ALARM, replace(ALARM, offset=90)], NOW_MS)))


def test_an_alarm_about_a_version_that_was_replaced_asks_for_nothing() -> None:
    """A monitor that is behind, or another partition's late alarm: the new version is the answer already."""
    state = fold(deployed(1, 1), deployed(2, 2, NOW_MS))

    assert not requests(decide(state, PLACE, [ALARM], NOW_MS))
    assert requests(decide(state, PLACE, [replace(ALARM, version=2)], NOW_MS))


def test_the_newest_epoch_names_the_champion() -> None:
    """Not the newest record: epochs only grow."""
    assert 2 == fold(deployed(2, 5), deployed(1, 4)).champion


def test_an_alarm_that_found_a_retrain_open_asks_when_it_has_failed() -> None:
    """Not while the other is open; once it was rejected, with all data up to now; and only once."""
    other = "retrain/m/0/11"
    waiting = fold(deployed(1, 1), requested(other), run("STARTED", other))
    rejected = evolve(waiting, version("REJECTED", None))
    request, settled = ask_again(rejected, PLACE, ALARM, NOW_MS)

    assert (None, False) == ask_again(waiting, PLACE, ALARM, NOW_MS)
    assert request is not None
    assert (REQUEST_ID, "drift/m/error/0/77", (), False) == (
        request.request_id,
        request.caused_by,
        request.until,
        settled,
    )
    assert request.message.endswith("the retrain before brought no new version")
    assert (None, True) == ask_again(evolve(rejected, request), PLACE, ALARM, NOW_MS)


def test_an_alarm_that_found_a_retrain_open_is_settled_by_a_new_version() -> None:
    """The other retrain helped: nothing is asked."""
    other = "retrain/m/0/11"
    helped = fold(
        deployed(1, 1), requested(other), run("SUCCEEDED", other), version("REGISTERED"), deployed(2, 2, NOW_MS + 1)
    )

    assert (None, True) == ask_again(helped, PLACE, ALARM, NOW_MS)
