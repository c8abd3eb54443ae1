"""Facts about a model as the control topics tell them, and an alarm to decide about."""

from dataclasses import replace
from functools import reduce

from millrace.contracts.events import (
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    OffsetMark,
    OffsetRange,
    RetrainModel,
    RunProgress,
    Traffic,
    TrainingRunChanged,
)
from services.monitor.core import INITIAL, State, decide, evolve
from services.monitor.detect import Change
from services.monitor.facts import Place
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


def alarm_at(day: float, offset: int) -> Drift:
    """An alarm of its own at this day of event time."""
    return replace(ALARM, offset=offset, time_ms=round(day * DAY_MS), since_time_ms=round((day - 0.1) * DAY_MS))


def spent_by(*alarms: Drift) -> State:
    """What the log says after these alarms have asked and their retrains failed."""
    events: list[Event] = [deployed(1, 1)]
    for alarm in alarms:
        events += decide(INITIAL, PLACE, [alarm], NOW_MS)
        events.append(run("FAILED", f"retrain/m/0/{alarm.offset}", f"run-{alarm.offset}"))
    return fold(*events)
