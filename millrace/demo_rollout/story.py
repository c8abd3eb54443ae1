"""What the demo does, on any transport: a first model, five bad ones, a good one, and a rollback under full load.

The bad models come in by the front door: as ONNX files that somebody asks to be judged and deployed (``millrace models
import`` does the same), while events go on. The tampered one does not: it is a deployment that somebody who can write
to the log has forged, with a file of his own.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from millrace.bus.clock import Clock
from millrace.bus.transport import Transport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DeploymentDecided,
    Event,
    ManageModel,
    RetrainModel,
    ServingStatusReported,
)
from millrace.contracts.feature_spec import Value as ValueFeature
from millrace.contracts.project import Project
from millrace.contracts.topics import TopicRow, topic_name
from millrace.demo.dataset import DatasetFile
from millrace.demo.measure import Run
from millrace.demo.publish import Publisher
from millrace.demo_rollout.ending import ending, is_judged
from millrace.demo_rollout.models import BAD, to_onnx
from millrace.demo_rollout.region import Band, blind_bands
from millrace.stores.artifacts import ArtifactStore

STALLED_S = 120.0  # nothing new on any topic for this long
LOOK_S = 0.05
LOOK_AHEAD_ROWS = 3_000  # in which the blind bands are looked for
BANDS = 4
CHUNK_ROWS = 50
FIT_ROWS = 6_000
BETWEEN_ROWS = 500  # good rows between two cases, so that each begins with new hold-out rows
LOAD_ROWS_PER_S = 5_000.0


class StalledError(Exception):
    """Nothing happened for too long; the message says what was waited for."""


@dataclass(frozen=True, slots=True)
class Means:
    """All that the story is told with."""

    project: Project
    file: DatasetFile
    transport: Transport
    codec: Codec
    store: ArtifactStore
    publisher: Publisher
    live: Run
    clock: Clock
    say: Callable[[str], None]


@dataclass(slots=True)
class Told:
    """What was tried: for each case the request or the forged deployment, and the rollback's request."""

    requests: dict[str, str] = field(default_factory=dict)
    forged_epoch: int | None = None
    forged_digest: str | None = None
    rollback_id: str | None = None
    rollback_at_ms: int | None = None


class Story:
    """One telling. ``rate`` is rows per second while a case is under way."""

    def __init__(self, means: Means, rate: float) -> None:
        self._means = means
        self._rate = rate
        self.told = Told()

    async def tell(self) -> str | None:
        """Do it all. Returns what never happened, or None if all is well."""
        first = self._means.project.training.first_rows
        try:
            await self._means.codec.prepare(
                self._means.project, topics.RETRAIN_REQUESTS, topics.REGISTRY_REQUESTS, topics.DEPLOYMENTS
            )
            self._means.say(f"sending {first:,} rows, and waiting for the first model")
            await self._send(first)
            await self._until(lambda: bool(self._means.live.control.first_offsets()), "a first version that serves")
            for name in BAD:
                await self._send(BETWEEN_ROWS)
                await self._case(name)
            await self._forge()
            await self._good()
            await self._roll_back()
            await self._until(self._is_scored, "a prediction for every event")
        except StalledError as error:
            return str(error)
        finally:
            await self._means.publisher.close()
        return None

    async def _case(self, name: str) -> None:
        """Have a bad model judged and deployed, and let events come until it is decided about."""
        request_id = await self._brought_in(name)
        await self._flow(lambda: self._is_over(request_id), f"an end of the case {name}")

    async def _good(self) -> None:
        """A sound model goes the same way, and through."""
        request_id = await self._brought_in("sound")
        await self._flow(lambda: self._is_over(request_id), "an end of the sound model's canary")

    async def _brought_in(self, name: str) -> str:
        """Ask for it, and wait for its judgement without new events: it knows the rows on which it will be judged."""
        await self._until(self._is_scored, "a prediction for every event")
        content = await asyncio.to_thread(self._content, name)
        self._means.say(f"{name}: asks to be deployed")
        request_id = self.told.requests[name] = await self._import(name, content)
        await self._until(lambda: is_judged(self._means.live, request_id), f"a judgement of the model {name!r}")
        return request_id

    async def _import(self, name: str, content: bytes) -> str:
        digest = await asyncio.to_thread(self._means.store.put, content)
        request = RetrainModel(
            request_id=f"import/demo-rollout/{name}/{digest[:12]}",
            model=self._means.project.model,
            reason="OPERATOR",
            caused_by=None,
            message=f"the demo's model {name!r}",
            since_time_ms=None,
            until=(),
            requested_by="demo-rollout",
            requested_at_ms=self._means.clock.now_ms(),
            import_sha256=digest,
        )
        await self._write(topics.RETRAIN_REQUESTS, request)
        return request.request_id

    async def _forge(self) -> None:
        """Write a deployment that no registry decided, of a file that no registry admitted."""
        self._means.say("tampered: a forged deployment is written to the log")
        content = await asyncio.to_thread(self._content, "worse")
        digest = await asyncio.to_thread(self._means.store.put, content)
        newest = max(self._means.live.control.of(DeploymentDecided), key=lambda one: one.epoch)
        part = newest.traffic[0]
        forged = newest.model_copy(update={
            "deployment_id": f"deployment/{newest.model}/{newest.epoch + 1}",
            "epoch": newest.epoch + 1,
            "traffic": (part.model_copy(update={"version": part.version + 1000, "artifact_sha256": digest}),),
            "decided_at_ms": self._means.clock.now_ms(),
        })  # fmt: skip
        self.told.forged_epoch, self.told.forged_digest = forged.epoch, digest
        await self._write(topics.DEPLOYMENTS, forged)
        await self._flow(lambda: self._serves_after(forged.epoch), "the champion's return after the forged deployment")

    async def _roll_back(self) -> None:
        """Send as fast as the file gives, and ask for the version before in the middle of it."""
        control = self._means.live.control
        newest = max(control.of(DeploymentDecided), key=lambda one: one.epoch)
        self._means.say(f"rolling back from version {newest.traffic[0].version}, {LOAD_ROWS_PER_S:,.0f} rows/s")
        request = ManageModel(
            request_id="manage/demo-rollout/rollback",
            model=newest.model,
            action="ROLLBACK",
            version=None,
            space=None,
            expected_epoch=None,
            immediate=True,
            reason="the demo measures how long it takes",
            requested_by="demo-rollout",
            requested_at_ms=self._means.clock.now_ms(),
        )
        self.told.rollback_id = request.request_id
        sent = self._means.publisher.sent
        load = asyncio.create_task(self._send(int(LOAD_ROWS_PER_S), LOAD_ROWS_PER_S))
        try:
            await self._until(lambda: self._means.publisher.sent > sent + LOAD_ROWS_PER_S / 4, "a quarter of the load")
            self.told.rollback_at_ms = self._means.clock.now_ms()
            await self._write(topics.REGISTRY_REQUESTS, request)
            await self._until(lambda: self._serves_after(newest.epoch), "the version before, in force again")
            await load
        finally:
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load

    def _content(self, name: str) -> bytes:
        """A model fitted on all rows that are there, the hold-out included; damaged, unless it is the sound one."""
        columns = self._means.live.ledger.columns()
        rows = np.flatnonzero(~np.isnan(columns.label))[-FIT_ROWS:]
        trees = HistGradientBoostingClassifier(random_state=7, max_iter=150)
        features = columns.features[rows].astype(np.float32)
        with threadpool_limits(1):  # the services need the other cores
            trees.fit(features, columns.label[rows].astype(np.int64))
        model = to_onnx(trees, features.shape[1])
        return model if name == "sound" else BAD[name](model, self._bands())

    def _bands(self) -> list[Band]:
        """Where the rows that a candidate is judged on are blind to those that come next."""
        project, columns = self._means.project, self._means.live.ledger.columns()
        named = {spec.field: place for place, spec in enumerate(project.features) if isinstance(spec, ValueFeature)}
        sent = self._means.publisher.sent
        later = np.full((min(LOOK_AHEAD_ROWS, self._means.file.rows - sent), len(project.features)), np.nan)
        for place, row in enumerate(self._means.file.slice(sent, sent + len(later))):
            for field_name, column in named.items():
                value = row.event[field_name]
                later[place, column] = np.nan if value is None else value
        checked = columns.features[-2 * project.training.holdout_rows :]
        return blind_bands(checked, later, sorted(named.values()), BANDS)

    async def _flow(self, condition: Callable[[], bool], what: str) -> None:
        """Send rows until the condition holds."""
        seen, since_s = self._seen(), self._means.clock.monotonic_s()
        while not condition():
            if self._means.publisher.sent >= self._means.file.rows:
                raise StalledError(f"the file has no more rows, and there was no {what}")
            await self._send(CHUNK_ROWS)
            if self._seen() != seen:
                seen, since_s = self._seen(), self._means.clock.monotonic_s()
            elif self._means.clock.monotonic_s() - since_s > STALLED_S:
                raise StalledError(f"there was no {what}")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        seen, since_s = self._seen(), self._means.clock.monotonic_s()
        while not condition():
            await asyncio.sleep(LOOK_S)
            if self._seen() != seen:
                seen, since_s = self._seen(), self._means.clock.monotonic_s()
            elif self._means.clock.monotonic_s() - since_s > STALLED_S:
                raise StalledError(f"there was no {what}")

    async def _send(self, rows: int, rate: float | None = None) -> None:
        begin = self._means.publisher.sent
        await self._means.publisher.send(self._means.file, begin, begin + rows, self._rate if rate is None else rate)

    async def _write(self, row: TopicRow, event: Event) -> None:
        topic = topic_name(row, self._means.project)
        key = self._means.project.model.encode()
        producer = await self._means.transport.producer(f"millrace.demo-rollout.{row.suffix}")
        try:
            await producer.commit([OutRecord(topic, key, self._means.codec.encode(topic, event))])
        finally:
            await producer.close()

    def _is_over(self, request_id: str) -> bool:
        """Whether the request's run failed, was rejected, or its version's rollout ended and that is served."""
        return ending(self._means.live, request_id) is not None

    def _serves_after(self, epoch: int) -> bool:
        statuses = self._means.live.control.of(ServingStatusReported)
        serving = {one.partition for one in statuses if one.status == "SERVING" and one.epoch > epoch}
        return len(serving) == self._means.project.partitions

    def _is_scored(self) -> bool:
        ledger, control = self._means.live.ledger, self._means.live.control
        scored = ledger.predictions >= ledger.events - ledger.before(control.first_offsets())
        return ledger.events >= self._means.publisher.sent and scored

    def _seen(self) -> tuple[int, int, int]:
        ledger = self._means.live.ledger
        return ledger.events, ledger.predictions, len(self._means.live.control.said)
