"""A model's life with everything in it, decided by the registry's own core, and who tells of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx

from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DriftDetected,
    Event,
    ManageModel,
    RetrainModel,
    RolloutMeasured,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_policy import Rollout, Space, Spaces
from millrace.telemetry.health import build_app
from services.registry import api
from services.registry.core import Policy, State, decide, evolve
from services.registry.follow import FOLLOWED, Follower
from services.registry.projection import Projection
from services.registry.rollout.examples import arm, pair
from tests.registry.runs import make_run, until
from tests.support import EPOCH_MS, World

SPACES = Spaces(production=Space(approvals=1))
POLICY = Policy(Gates(first=0.6), Rollout(strategy="canary", steps=(0.1, 0.5), step_rows=50), SPACES)
MINUTE_MS = 60_000


class Lived:
    """A log that grows event by event; what the registry decides is added. ``at`` are times that tests ask for."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.now_ms = EPOCH_MS
        self.state = State("tiny")
        self.log: list[Event] = []
        self.at: dict[str, int] = {}

    def happens(self, *events: Event) -> None:
        """These events, and all that the registry decides because of them, a minute later."""
        self.now_ms += MINUTE_MS
        self._write(*events)
        while found := decide(self.state, self.policy, self.now_ms, dict.fromkeys(self.state.pending)):
            self._write(*found)

    def mark(self, name: str) -> None:
        """Give the present time a name."""
        self.at[name] = self.now_ms + MINUTE_MS // 2

    def asks(self, verb: str, version: int | None = None, **changes: Any) -> ManageModel:
        """A request, and its consequences."""
        request = asked(verb, version, requested_at_ms=self.now_ms, **changes)
        self.happens(request)
        return request

    def serves(self, *, failed: str | None = None, partition: int = 0, from_offset: int = 0) -> None:
        """A partition reports about the epoch in force."""
        assert self.state.deployment is not None
        self.happens(
            ServingStatusReported(
                model="tiny", process="serving@host", partition=partition, epoch=self.state.epoch,
                version=self.state.champion or 0, status="FAILED" if failed else "SERVING", from_offset=from_offset,
                reason=failed, reported_at_ms=self.now_ms,
            )
        )  # fmt: skip

    def measures(self, *, worse: int = 0, better: int = 0, rows: int = 60, errors: int = 0) -> None:
        """A measurement of the rollout under way."""
        version = self.state.tried[0].version
        rollout_id, epoch = self.state.rollout_id or "", self.state.epoch
        ours = pair(rows, worse=worse, better=better).model_copy(update={"version": version})
        tried = arm("candidate", version=version, scored_rows=rows, answered_rows=rows, error_rows=errors)
        champion = arm("champion", version=self.state.champion, scored_rows=rows, labelled_rows=rows, loss_sum=6.0)
        self.happens(
            RolloutMeasured(
                evidence_id=f"evidence/tiny/{rollout_id}/{epoch}/0/{rows}", model="tiny", rollout_id=rollout_id,
                epoch=epoch, partition=0, until_offset=rows, arms=(champion, tried), pairs=(ours,), until_time_ms=0,
                measured_at_ms=self.now_ms,
            )
        )  # fmt: skip

    def _write(self, *events: Event) -> None:
        for event in events:
            self.state = evolve(self.state, event)
            self.log.append(event)


def asked(verb: str, version: int | None = None, **changes: Any) -> ManageModel:
    """A request of Ada's."""
    fields: dict[str, Any] = {
        "request_id": f"request/tiny/{verb}/{version}", "model": "tiny", "action": verb.upper(), "version": version,
        "space": None, "expected_epoch": None, "immediate": False, "reason": "looks good", "requested_by": "ada",
        "requested_at_ms": EPOCH_MS,
    }  # fmt: skip
    return ManageModel(**{**fields, **changes})


def drift_and_request() -> tuple[DriftDetected, RetrainModel]:
    """What run-2 goes back to."""
    drift = DriftDetected(
        drift_id="drift/tiny/1", model="tiny", version=1, subject="loss", detector="adwin", severity="ALARM",
        partition=0, sample_offset=5, event_id="e5", time_ms=EPOCH_MS, before=0.1, after=0.4, before_rows=100,
        after_rows=20, parameters={}, detected_at_ms=EPOCH_MS + 1,
    )  # fmt: skip
    request = RetrainModel(
        request_id="retrain/tiny/1", model="tiny", reason="DRIFT", caused_by="drift/tiny/1", message="loss grew",
        since_time_ms=None, until=(), requested_by="monitor", requested_at_ms=EPOCH_MS + 2,
    )  # fmt: skip
    return drift, request


def run(number: int, against: int | None = None, **changes: Any) -> TrainingRunChanged:
    """A succeeded run with a file of its own."""
    return make_run(
        f"run-{number}",
        against=against,
        artifact_sha256=f"{number:02d}" * 32,
        changed_at_ms=EPOCH_MS + number,
        **changes,
    )


def whole_life() -> Lived:
    """A first model, a canary that wins, a rejected run, one that fails a guardrail, one that waits, and a freeze."""
    life = Lived()
    life.happens(run(1, ranges=({"topic": "tiny-samples", "partition": 0, "from_offset": 0, "until_offset": 900},)))
    life.mark("waiting")
    life.asks("approve", 1)
    life.serves(from_offset=100)
    life.mark("first")
    life.happens(*drift_and_request())
    life.happens(run(2, 1, family="logistic", params={"C": "1.0"}, baselines={"majority": 0.5}))
    life.asks("approve", 2)
    life.serves(from_offset=200)
    life.mark("canary")
    life.measures(better=20, worse=2, rows=60)
    life.measures(better=300, worse=20, rows=1200)
    life.serves(from_offset=300)
    life.mark("second")
    life.happens(run(3, 2, metrics={"accuracy": 0.1}, champion_metrics={"accuracy": 0.9}))
    life.happens(run(4, 2))
    life.asks("approve", 3)
    life.measures(rows=200, errors=150)
    life.mark("stopped")
    life.asks("freeze", reason="a holiday")
    life.happens(run(5, 2))
    life.asks("retire", 2, reason="why not")
    life.mark("end")
    return life


async def append_all(world: World, log: Iterable[Event]) -> None:
    """Write a log to the topics, each event to its own, as its writer would."""
    rows = {kind: row for row, kind in FOLLOWED.items()} | {DriftDetected: topics.DRIFT_EVENTS}
    codec = Codec(world.schemas)
    for kind, row in rows.items():
        events = [event for event in log if isinstance(event, kind)]
        if events:
            await codec.prepare(world.project, row)
            await world.send(row, *(("tiny", codec.encode(world.topic(row), event)) for event in events))


@contextlib.asynccontextmanager
async def following(world: World, url: str) -> AsyncIterator[tuple[Projection, Follower]]:
    """A projection that follows the log, without anybody who decides."""
    projection, context = Projection(url), world.context("follower")
    follower = Follower(context, projection, inline)
    task = asyncio.create_task(follower.run())
    try:
        await until(lambda: follower.fault is None)
        yield projection, follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await context.transport.close()
        projection.close()


def client(world: World, projection: Projection, follower: Follower) -> httpx.AsyncClient:
    """A client of the API, without a network."""
    app = build_app("registry", dict)
    api.add_routes(app, projection, inline, context=world.context("api"), news=follower.news)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry")
