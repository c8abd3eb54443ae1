"""From a deployment to models in memory: verified, tried elsewhere, loaded once, and kept for a way back."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from millrace.bus.context import Context
from millrace.bus.tasks import InThread
from millrace.contracts.errors import ArtifactError
from millrace.contracts.events import DeploymentDecided, Traffic
from millrace.contracts.model_file import DEFAULT, Limits
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.metrics import MODEL_LOAD_SECONDS
from services.serving.guard import Guard, SetAlarm
from services.serving.probe import Probe, Task, try_model
from services.serving.score import Model
from services.serving.variants import Part, Rollout
from services.serving.verify import PAIRED, Verifies, check_part, check_traffic

REASON_MAX = 2000  # characters; names in a model file are as long as their maker likes, a record is not
KEPT = 4  # models: champion, candidate, and two to go back to without a load
Key = tuple[str, str | None]  # SHA-256 of the artefact and of its golden records


class RefusedError(ArtifactError):
    """A version of the deployment cannot be served; ``again`` if that may not be for good."""

    def __init__(self, version: int, reason: str, *, again: bool, later: bool = False) -> None:
        super().__init__(reason[:REASON_MAX])
        self.later = later
        self.version = version
        self.again = again


@dataclass(frozen=True, slots=True)
class Loaded:
    """A deployment whose models are all in memory. ``model`` is the champion's."""

    deployment: DeploymentDecided
    model: Model
    rollout: Rollout | None = None

    @property
    def version(self) -> int:
        """The champion's version."""
        return self.deployment.traffic[0].version


@dataclass(frozen=True, slots=True)
class Trust:
    """How much a model is believed before it is loaded.

    ``verifier`` of None asks for no signature, ``probe`` of None tries a model in this process, ``alarm`` of None ends
    no call that takes too long (where time is virtual).
    """

    verifier: Verifies | None = None
    probe: Probe | None = None
    alarm: SetAlarm | None = None
    limits: Limits = DEFAULT


class Models:
    """Loads the models of deployments, each once, and keeps those used last."""

    def __init__(
        self, context: Context, store: ArtifactStore, trust: Trust, *, threads: int, in_thread: InThread
    ) -> None:
        self._context = context
        self._store = store
        self._trust = trust
        self._threads = threads
        self._in_thread = in_thread
        self._models: dict[Key, Model] = {}
        self._versions: dict[int, Key] = {}

    @property
    def versions(self) -> Mapping[int, Model]:
        """What is in memory, by version."""
        models = dict(self._models)
        return {version: models[key] for version, key in sorted(self._versions.items()) if key in models}

    def has(self, deployment: DeploymentDecided) -> bool:
        """Whether nothing needs to be fetched and tried for it."""
        return all(_key(part) in self._models for part in deployment.traffic)

    async def load(self, deployment: DeploymentDecided, *, alone: bool = False) -> Loaded:
        """All models of the deployment, each verified for it, those that are not in memory loaded.

        ``alone`` leaves all but the champion out, whatever their share.

        Raises:
            RefusedError: one of them may not or cannot be served; nothing has changed.
        """
        version = deployment.traffic[0].version if deployment.traffic else 0
        parts = deployment.traffic[:1] if alone else deployment.traffic
        models: list[Model] = []
        try:
            check_traffic(deployment)
            for part in parts:
                version = part.version
                models.append(await self._in_thread(self._model, deployment, part))
        except RefusedError:
            raise
        except ArtifactError as error:
            raise RefusedError(version, str(error), again=error.retryable, later=error.retryable) from error
        self._keep(parts, models)
        return Loaded(deployment, models[0], None if alone else self._rollout(deployment, models))

    def _model(self, deployment: DeploymentDecided, part: Traffic) -> Model:
        """Blocks. What is in memory is verified again: the deployment may claim it for another version."""
        check_part(self._context.project, deployment, part, self._trust.verifier)
        known = self._models.get(_key(part))
        if known is not None:
            return known
        try:
            content = self._store.get(part.artifact_sha256)
            golden = None if part.golden_sha256 is None else self._store.get(part.golden_sha256)
        except ArtifactError as error:  # missing or damaged there too: somebody may put it back
            raise RefusedError(part.version, str(error), again=True, later=error.retryable) from error
        width, classes = len(self._context.project.features), len(self._context.project.label.classes)
        task = Task(content, golden, width, classes, self._trust.limits)
        with MODEL_LOAD_SECONDS.labels(self._context.project.model).time():
            return self._tried(task)

    def _tried(self, task: Task) -> Model:
        if self._trust.probe is None:
            return try_model(task, self._threads)
        self._trust.probe(task)
        model = Model(task.content, width=task.width, classes=task.classes, threads=self._threads, probed=True)
        model.warm_up()
        return model

    def _keep(self, parts: Sequence[Traffic], models: list[Model]) -> None:
        """Newest last; of those not in this deployment the oldest go."""
        for part, model in zip(parts, models, strict=True):
            self._models.pop(_key(part), None)
            self._models[_key(part)] = model
            self._versions[part.version] = _key(part)
        for key in list(self._models)[: max(0, len(self._models) - max(KEPT, len(models)))]:
            del self._models[key]
        self._versions = {version: key for version, key in self._versions.items() if key in self._models}

    def _rollout(self, deployment: DeploymentDecided, models: list[Model]) -> Rollout | None:
        if len(deployment.traffic) == 1:
            return None
        project, timer = self._context.project, asyncio.get_running_loop().time
        assert deployment.rollout_id is not None, "check_traffic"
        parts = tuple(
            Part(
                part.variant, part.version, part.share, part.mode,
                Guard(
                    model, name=f"{part.variant} (version {part.version})", classes=len(project.label.classes),
                    deadline_s=project.rollout.guardrails.scoring_ms_max / 1000, timer=timer, alarm=self._trust.alarm,
                ),
            )
            for part, model in zip(deployment.traffic[1:], models[1:], strict=True)
        )  # fmt: skip
        return Rollout(
            deployment.rollout_id, cast(Literal["entity", "event"], deployment.unit), deployment.strategy in PAIRED,
            deployment.traffic[0].version, parts, timer,
        )  # fmt: skip


def _key(part: Traffic) -> Key:
    return part.artifact_sha256, part.golden_sha256
