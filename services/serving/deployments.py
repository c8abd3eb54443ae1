"""Which deployment serves: follows the decisions, loads the newest one that can be served, keeps the last good one."""

import asyncio
from collections.abc import Mapping

from millrace.bus.context import Context
from millrace.bus.tasks import InThread, run_together
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError
from millrace.contracts.events import DeploymentDecided
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import MODEL_EPOCH, MODEL_LOAD_FAILURES, MODEL_VERSION, VARIANT_SHARE
from millrace.telemetry.model_metrics import forget_old_versions
from services.serving import core
from services.serving.models import Loaded, Models, RefusedError, Trust
from services.serving.score import Model

log = get_logger(__name__)
RETRY_S = 5.0
TRACES = 10  # deployments that are remembered with their trace
PATIENCE = 3  # tries before a store or a key that does not answer is reported, and an older deployment comes back


class Deployments:
    """Follows the deployments of one model and keeps the newest one that can be served in memory.

    A version that breaks the rules is refused for good. What is not there, because the artefact store does not answer,
    the file is missing or damaged there, or a key is not trusted yet, is reported too, and asked for again every
    ``RETRY_S``. A deployment whose models are all in memory waits for no other one that is being loaded: a rollback
    takes effect while the candidate still keeps its probe busy.
    """

    def __init__(
        self, context: Context, store: ArtifactStore, *, threads: int, in_thread: InThread, trust: Trust | None = None
    ) -> None:
        self._context = context
        self._models = Models(context, store, trust or Trust(), threads=threads, in_thread=in_thread)
        self._state = core.INITIAL
        MODEL_LOAD_FAILURES.labels(context.project.model)  # from the start, so that the first one is an increase
        self._position = 0
        self._loading = asyncio.Lock()
        self._news = asyncio.Event()
        self._not_given: dict[int, DeploymentDecided] = {}
        self._tries: dict[int, int] = {}
        self._traces: dict[int, bytes] = {}  # of the newest deployments, by epoch
        self.serving: Loaded | None = None
        self.failures: dict[int, tuple[DeploymentDecided, int, str]] = {}

    @property
    def trouble(self) -> str | None:
        """Why nothing can be served although something was deployed."""
        if self.serving is not None or not self.failures:
            return None
        return self.failures[max(self.failures)][2]

    @property
    def versions(self) -> Mapping[int, Model]:
        """All models in memory, those before the one in force too."""
        return self._models.versions

    def trace_of(self, deployment: DeploymentDecided) -> bytes | None:
        """The trace that the registry gave it."""
        return self._traces.get(deployment.epoch)

    async def catch_up(self) -> None:
        """Read what was decided so far and load it."""
        bounds = await self._context.transport.bounds(topics.DEPLOYMENTS.suffix, 0)
        self._position = bounds.begin
        await self._read(bounds.begin, bounds.end)
        await self._load_newest()

    async def follow(self) -> None:
        """Load each new deployment as it is decided, for ever."""
        await run_together(self._read(self._position, None), self._load_news(), self._ask_again())

    async def _read(self, start: int, stop: int | None) -> None:
        async for records in self._context.transport.read(topics.DEPLOYMENTS.suffix, 0, start, stop):
            for record in records:
                self._position = record.offset + 1
                await self._take(record)
            if stop is None:
                newest = core.next_to_load(self._state)
                if newest is not None and self._models.has(newest):
                    await self._try(newest)
                self._news.set()

    async def _take(self, record: Record) -> None:
        """A record is about the model that its key names: the registry reads no others, so it could not answer them."""
        if record.key != self._context.project.model.encode():
            return
        try:
            deployment = await self._context.codec.decode(DeploymentDecided, record.value)
        except ContractError as error:  # whoever wrote it, the last good one goes on
            log.error("deployment left out", offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
            return
        if deployment.model == self._context.project.model:
            self._state = core.evolve(self._state, deployment)
            if (context := record.header(trace.HEADER)) is not None:
                self._traces[deployment.epoch] = context
                for epoch in sorted(self._traces)[:-TRACES]:
                    del self._traces[epoch]

    async def _load_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._load_newest()

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if self._not_given:
                for deployment in self._not_given.values():
                    self._state = core.wished_again(self._state, deployment)
                self._not_given.clear()
                await self._load_newest()

    async def _load_newest(self) -> None:
        """Load the newest wish; if it cannot be served, the one before it."""
        async with self._loading:
            while (deployment := core.next_to_load(self._state)) is not None:
                await self._try(deployment)
                if self._not_given.keys() - self.failures.keys():
                    return  # the store does not answer: nothing is decided, so nothing older comes back either

    async def _try(self, deployment: DeploymentDecided) -> None:
        # While a newer one cannot be had, an older one goes on without its candidate: that may have been rolled back.
        alone = any(epoch > deployment.epoch for epoch in self._not_given)
        try:
            loaded = await self._models.load(deployment, alone=alone)
        except RefusedError as error:
            self._refuse(deployment, error)
            return
        self._state = core.loaded(self._state, deployment)
        before = None if self.serving is None else self.serving.deployment
        if self._state.serving is not deployment or before is deployment:
            return  # a newer one took effect meanwhile, or the same one by the other way
        self.serving = loaded
        self.failures.pop(deployment.epoch, None)  # it is not to be reported again after a rebalance
        self._measure(loaded)
        log.info("model loaded", epoch=deployment.epoch, version=loaded.version, parts=len(deployment.traffic))

    def _measure(self, loaded: Loaded) -> None:
        deployment = loaded.deployment
        MODEL_VERSION.labels(deployment.model).set(loaded.version)
        MODEL_EPOCH.labels(deployment.model).set(deployment.epoch)
        VARIANT_SHARE.clear()  # of variants that are no more
        for part in deployment.traffic:
            VARIANT_SHARE.labels(deployment.model, part.variant).set(part.share)
        forget_old_versions(deployment.model)

    def _refuse(self, deployment: DeploymentDecided, error: RefusedError) -> None:
        if error.again:
            self._not_given[deployment.epoch] = deployment
        self._state = core.refused(self._state, deployment, str(error))
        self._tries[deployment.epoch] = self._tries.get(deployment.epoch, 0) + 1
        if error.later and self._tries[deployment.epoch] < PATIENCE:
            log.warning("model not given", epoch=deployment.epoch, version=error.version, error=str(error))
            return
        if deployment.epoch not in self.failures:
            log.error("model refused", epoch=deployment.epoch, version=error.version, error=str(error))
            MODEL_LOAD_FAILURES.labels(deployment.model).inc()
        self.failures[deployment.epoch] = (deployment, error.version, str(error))
