"""Which deployment serves: follows the decisions, loads the newest one that can be served, keeps the last good one."""

import asyncio
from dataclasses import dataclass

from millrace.bus.context import Context
from millrace.bus.tasks import InThread, run_together
from millrace.contracts import topics
from millrace.contracts.errors import ArtifactError
from millrace.contracts.events import DeploymentDecided
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import MODEL_EPOCH, MODEL_LOAD_FAILURES, MODEL_VERSION
from services.serving import core
from services.serving.score import Model

log = get_logger(__name__)
RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A deployment whose model is in memory."""

    deployment: DeploymentDecided
    model: Model

    @property
    def version(self) -> int:
        """The champion's version."""
        return self.deployment.traffic[0].version


class Deployments:
    """Follows the deployments of one model and keeps the newest one that can be served in memory.

    A file that breaks the rules is refused for good. One that the artefact store does not give, because it does not
    answer, or the file is missing or damaged there, is reported too, and asked for again every ``RETRY_S``.
    """

    def __init__(self, context: Context, store: ArtifactStore, *, threads: int, in_thread: InThread) -> None:
        self._context = context
        self._store = store
        self._threads = threads
        self._in_thread = in_thread
        self._state = core.INITIAL
        self._position = 0
        self._loading = asyncio.Lock()
        self._not_given: DeploymentDecided | None = None
        self.serving: Loaded | None = None
        self.failures: dict[int, tuple[DeploymentDecided, str]] = {}

    @property
    def trouble(self) -> str | None:
        """Why nothing can be served although something was deployed."""
        if self.serving is not None or not self.failures:
            return None
        return self.failures[max(self.failures)][1]

    async def catch_up(self) -> None:
        """Read what was decided so far and load it."""
        bounds = await self._context.transport.bounds(topics.DEPLOYMENTS.suffix, 0)
        self._position = bounds.begin
        await self._read(bounds.begin, bounds.end)
        await self._load_newest()

    async def follow(self) -> None:
        """Load each new deployment as it is decided, for ever."""
        await run_together(self._read(self._position, None), self._ask_again())

    async def _read(self, start: int, stop: int | None) -> None:
        async for records in self._context.transport.read(topics.DEPLOYMENTS.suffix, 0, start, stop):
            for record in records:
                self._position = record.offset + 1
                deployment = await self._context.codec.decode(DeploymentDecided, record.value)
                if deployment.model == self._context.project.model:
                    self._state = core.evolve(self._state, deployment)
            if stop is None:
                await self._load_newest()

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if self._not_given is not None:
                self._state = core.wished_again(self._state, self._not_given)
                self._not_given = None
                await self._load_newest()

    async def _load_newest(self) -> None:
        """Load the newest wish; if it cannot be served, the one before it."""
        async with self._loading:
            while (deployment := core.next_to_load(self._state)) is not None:
                try:
                    content = await self._in_thread(self._store.get, deployment.traffic[0].artifact_sha256)
                except ArtifactError as error:
                    if self._not_given is None or deployment.epoch > self._not_given.epoch:
                        self._not_given = deployment
                    self._refuse(deployment, error)
                    continue
                try:
                    model = await self._in_thread(self._load, deployment, content)
                except ArtifactError as error:
                    self._refuse(deployment, error)
                    continue
                self._state = core.loaded(self._state, deployment)
                self.serving = Loaded(deployment, model)
                MODEL_VERSION.labels(deployment.model).set(self.serving.version)
                MODEL_EPOCH.labels(deployment.model).set(deployment.epoch)
                log.info("model loaded", epoch=deployment.epoch, version=self.serving.version)

    def _refuse(self, deployment: DeploymentDecided, error: ArtifactError) -> None:
        self._state = core.refused(self._state, deployment, str(error))
        if deployment.epoch not in self.failures:
            log.error("model refused", epoch=deployment.epoch, error=str(error))
            MODEL_LOAD_FAILURES.labels(deployment.model).inc()
        self.failures[deployment.epoch] = (deployment, str(error))

    def _load(self, deployment: DeploymentDecided, content: bytes) -> Model:
        project = self._context.project
        traffic = deployment.traffic[0]
        if traffic.feature_set != project.feature_set:
            raise ArtifactError(
                f"version {traffic.version} needs the feature set {traffic.feature_set}, "
                f"ingest computes {project.feature_set}: a model of these is trained when there are enough rows"
            )
        classes = len(project.label.classes)
        return Model(content, width=len(project.features), classes=classes, threads=self._threads)
