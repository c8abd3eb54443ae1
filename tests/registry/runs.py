"""Training runs to judge, and a registry to judge them, for the tests of this folder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import CheckResult, Event, TrainingRunChanged
from millrace.contracts.topics import TopicRow
from millrace.stores.artifacts import ArtifactStore
from services.registry.shell import RegistryService
from tests.support import EPOCH_MS, World

GIVE_UP_S = 20.0
PASSED = CheckResult(name="onnx-parity", passed=True, value=0.0, limit=0.001, message="0 of 500 rows differ")
FAILED = CheckResult(name="onnx-parity", passed=False, value=0.02, limit=0.001, message="10 of 500 rows differ")


def make_run(run_id: str = "run-1", *, against: int | None = None, **changes: Any) -> TrainingRunChanged:
    """A succeeded run of accuracy 0.9; compared with version ``against`` of accuracy 0.8, if that is given."""
    fields: dict[str, Any] = {
        "run_id": run_id,
        "model": "tiny",
        "status": "SUCCEEDED",
        "trigger": "FIRST_DATA" if against is None else "DRIFT",
        "caused_by": "tiny/0/100" if against is None else "retrain/tiny/1",
        "ranges": (),
        "feature_set": "3f9a",
        "code_hash": "77aa",
        "seed": 7,
        "train_rows": 4500,
        "holdout_rows": 500,
        "artifact_sha256": "ab" * 32,
        "artifact_bytes": 3,
        "metrics": {"accuracy": 0.9},
        "champion_version": against,
        "champion_metrics": {} if against is None else {"accuracy": 0.8},
        "checks": (PASSED,),
        "duration_s": 2.5,
        "changed_at_ms": EPOCH_MS,
    }
    return TrainingRunChanged(**{**fields, **changes})


async def append(world: World, row: TopicRow, *events: Event) -> None:
    """Append events to a control topic, as their writer would."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, row)
    await world.send(row, *((event.model_dump()["model"], codec.encode(world.topic(row), event)) for event in events))


@contextlib.asynccontextmanager
async def registry(world: World, folder: Path, *, name: str = "registry", **changes: Any) -> AsyncIterator[Any]:
    """A running registry with its files in ``folder``; its task is at ``.task``."""
    context = world.context(name)
    url = changes.pop("database_url", f"sqlite:///{folder / 'registry.db'}")
    store = changes.pop("artifacts", None) or ArtifactStore(folder / "artifacts")
    service = RegistryService(context, artifacts=store, database_url=url, **{"in_thread": inline, **changes})
    task = asyncio.create_task(service.run())
    service.task = task  # type: ignore[attr-defined]
    try:
        yield service
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await context.transport.close()


async def until(what: Callable[[], Any]) -> Any:
    """Poll until the answer is true, and return it."""
    async with asyncio.timeout(GIVE_UP_S):
        while not (answer := what()):  # noqa: ASYNC110  # what is waited for is a log's content, which has no event
            await asyncio.sleep(0.005)
    return answer


async def ready(service: RegistryService) -> None:
    """Wait until every check passes."""
    await until(lambda: set(service.checks().values()) == {None})


async def until_decided(world: World, count: int) -> list[Mapping[str, Any]]:
    """Wait until so many runs are decided; returns all version changes."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            changes = await world.values(topics.MODEL_VERSIONS)
            if sum(change["status"] in {"REGISTERED", "REJECTED"} for change in changes) >= count:
                return changes
            await asyncio.sleep(0.005)
