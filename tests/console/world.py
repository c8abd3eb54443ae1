"""A console on the memory bus, with a model's whole life in the log, and a client without a network."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx

from millrace.bus.clock import LoopClock
from millrace.bus.tasks import inline
from millrace.console.follow import FOLLOWED
from millrace.console.http import Reply
from millrace.console.service import ConsoleService, Options
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    AlertHandled,
    AlertRaised,
    AuditRecorded,
    DataSnapshotTaken,
    DriftDetected,
    Event,
    ModelMetricsMeasured,
    RunProgress,
    TrainingRunChanged,
)
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from tests.registry.lives import run
from tests.registry.runs import until
from tests.support import EPOCH_MS, World, tiny_project

RULES: dict[str, Any] = {
    "gates": {"first": 0.6},
    "rollout": {"strategy": "canary", "steps": [0.1, 0.5], "step_rows": 50},
    "spaces": {"production": {"approvals": 1}},
}
DAY_MS = 86_400_000
GIVE_UP_S = 30.0


async def new_world(folder: Path, **changes: Any) -> World:
    """A log for the tiny model, with the rules by which ``tests/registry/lives.py`` lives."""
    world = await World.create(tiny_project(folder, **{**RULES, **changes}))
    world.clock = LoopClock(EPOCH_MS + DAY_MS)
    return world


async def append(world: World, events: Iterable[Event]) -> None:
    """Write events to their topics, in their order within each, as their writers would."""
    rows = {kind: row for row, kind in FOLLOWED.items()}
    codec, records = Codec(world.schemas), {}
    for event in events:
        records.setdefault(rows[type(event)], []).append(event)
    for row, ours in records.items():
        await codec.prepare(world.project, row)
        name = world.topic(row)
        await world.send(row, *((getattr(one, "model", None) or "tiny", codec.encode(name, one)) for one in ours))


class Nobody:
    """No service answers."""

    async def __call__(self, url: str, timeout_s: float, headers: Any) -> Reply:
        """What a closed port says."""
        del timeout_s, headers
        raise ConnectionRefusedError(f"nobody answers at {url}")


@contextlib.asynccontextmanager
async def console(
    world: World, folder: Path, *, fetch: Any = None, **options: Any
) -> AsyncIterator[tuple[ConsoleService, httpx.AsyncClient]]:
    """A console that has read the log, and a client of its pages."""
    context = world.context("console")
    store = ArtifactStore(folder / "artifacts")
    chosen = Options(
        data=folder, database=folder / "console.db", artifacts=store, **{"answer_s": 0.05, "actor": "ada", **options}
    )
    service = ConsoleService(context, chosen, fetch=fetch or Nobody(), in_thread=inline)
    app = build_app("console", service.checks)
    service.add_routes(app)
    task = asyncio.create_task(service.run())
    try:
        await until(lambda: task.done() or service.follower.fault is None)
        if task.done():
            await task
        async with client_of(app) as client:
            yield service, client
        assert not task.done(), "it works until it is stopped"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await context.transport.close()


def client_of(app: Any) -> httpx.AsyncClient:
    """A client that is no browser."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080")


async def get(client: httpx.AsyncClient, path: str, expected: int = 200) -> Any:
    """The JSON answer of that status."""
    response = await client.get(path)
    assert expected == response.status_code, response.text
    return response.json()


async def post(client: httpx.AsyncClient, path: str, body: Any, expected: int = 200) -> Any:
    """The JSON answer of that status to what is sent."""
    response = await client.post(path, json=body)
    assert expected == response.status_code, response.text
    return response.json()


async def eventually(client: httpx.AsyncClient, path: str, holds: Any) -> Any:
    """The answer, once it is so."""
    found = None
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while not holds(found := await get(client, path)):  # noqa: ASYNC110  # an API is polled
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"it stays so: {found}") from None
    return found


def measured(offset: int, accuracy: float, **changes: Any) -> ModelMetricsMeasured:
    """A window of 100 labelled rows that ends at that offset; a minute of event time for each ten."""
    fields: dict[str, Any] = {
        "metrics_id": f"metrics/tiny/1/0/{offset}", "model": "tiny", "version": 1, "partition": 0,
        "until_offset": offset, "window_rows": 100, "total_rows": offset,
        "until_time_ms": EPOCH_MS + offset * 6_000, "metrics": {"accuracy": accuracy, "log_loss": 0.3},
        "measured_at_ms": EPOCH_MS + DAY_MS + offset * 10,
        "low": {"accuracy": accuracy - 0.05}, "high": {"accuracy": accuracy + 0.05},
    }  # fmt: skip
    return ModelMetricsMeasured(**{**fields, **changes})


def drifted(number: int, **changes: Any) -> DriftDetected:
    """A drift of feature x with its histograms."""
    fields: dict[str, Any] = {
        "drift_id": f"drift/tiny/feature:x/0/{number}", "model": "tiny", "version": 1, "subject": "feature:x",
        "detector": "ks", "severity": "WARNING", "partition": 0, "sample_offset": number, "event_id": f"e{number}",
        "time_ms": EPOCH_MS + number * 1000, "before": 0.1, "after": 0.4, "before_rows": 100, "after_rows": 20,
        "parameters": {"alpha": 0.01}, "detected_at_ms": EPOCH_MS + DAY_MS + number, "compared_with": "training",
        "statistic": 0.5, "threshold": 0.2, "p_value": 1e-6, "bins": (0.0, 1.0, 2.0), "before_counts": (90, 10),
        "after_counts": (5, 15), "message": "x moved",
    }  # fmt: skip
    return DriftDetected(**{**fields, **changes})


def alerted(number: int, **changes: Any) -> AlertRaised:
    """An alert of ingest about partition 0."""
    fields: dict[str, Any] = {
        "alert_id": f"alert/{number}", "service": "ingest", "severity": "WARNING", "reason": "late-labels",
        "subject": "tiny/0", "message": f"labels are late ({number})", "raised_at_ms": EPOCH_MS + DAY_MS + number,
        "model": "tiny",
    }  # fmt: skip
    return AlertRaised(**{**fields, **changes})


def handled(action: str, **changes: Any) -> AlertHandled:
    """What Ada did about alerts."""
    fields: dict[str, Any] = {
        "handling_id": f"handling/{action}/{json.dumps(changes, sort_keys=True)}", "action": action, "actor": "ada",
        "comment": "I look", "handled_at_ms": EPOCH_MS + DAY_MS + 1_000,
    }  # fmt: skip
    return AlertHandled(**{**fields, **changes})


def progressed(number: int, step: int, *, against: int | None = None, loss: float = 0.5) -> TrainingRunChanged:
    """How far a run is."""
    progress = RunProgress(stage="fit", step=step, steps=10, message="fitting", values={"loss": loss})
    return begun(number, against=against, progress=progress, changed_at_ms=EPOCH_MS + DAY_MS + step)


def begun(number: int, *, against: int | None = None, **changes: Any) -> TrainingRunChanged:
    """A run that has begun."""
    fields: dict[str, Any] = {
        "status": "STARTED", "metrics": {}, "checks": (), "artifact_bytes": None, "duration_s": 0.0,
        "because": "loss grew",
    }  # fmt: skip
    whole = run(number, against).model_copy(update={"artifact_sha256": None})
    return TrainingRunChanged.model_validate(whole.model_copy(update={**fields, **changes}).model_dump())


def audited(number: int, **changes: Any) -> AuditRecorded:
    """An audit record."""
    fields: dict[str, Any] = {
        "audit_id": f"audit/{number}", "actor": "ada", "action": "note", "subject": "tiny", "reason": "why not",
        "caused_by": None, "recorded_at_ms": EPOCH_MS + DAY_MS + number, "model": "tiny",
    }  # fmt: skip
    return AuditRecorded(**{**fields, **changes})


def snapshot(number: int) -> DataSnapshotTaken:
    """A snapshot of the tiny stream."""
    return DataSnapshotTaken(
        snapshot_id=f"tiny/0/{number}", stream="tiny", feature_set="3f9a", ranges=(), table_version=number, rows=10,
        labelled_rows=9, from_time_ms=EPOCH_MS, until_time_ms=EPOCH_MS + 1, profile=(), taken_at_ms=EPOCH_MS + number,
    )  # fmt: skip
