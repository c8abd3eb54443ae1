"""What a fit is made of: a run's rows, the champion's file, an imported file, put together into a task."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from millrace.contracts.codec import Codec
from millrace.contracts.errors import ArtifactError, ArtifactStoreUnavailableError, ContractError
from millrace.contracts.events import RetrainModel, Traffic, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.schemas import Schema
from millrace.telemetry.log import get_logger
from services.trainer import core
from services.trainer.asking import PatientStore
from services.trainer.imports import SAMPLE_ROWS_MIN, read_sample
from services.trainer.opening import IMPORTED, gap_rows, since_drift
from services.trainer.reader import SamplesReader
from services.trainer.sources import Sources
from services.trainer.state import Policy
from services.trainer.train.task import Choice, FitError, FitTask, Rows
from services.trainer.train.window import Row, Window, split

log = get_logger(__name__)
UNREADABLE_GROUP = "(unreadable)"


class Wanted(NamedTuple):
    """What a task depends on besides its rows. ``choice`` repeats a run, ``study`` is where a search is found again."""

    champion: bytes | None = None
    request: RetrainModel | None = None
    choice: Choice | None = None
    study: str | None = None
    vetoes: tuple[str, ...] = ()


class Material:
    """Gets it for one project."""

    def __init__(
        self,
        project: Project,
        policy: Policy,
        sources: Sources,
        codec: Codec,
        store: PatientStore,
        reader: SamplesReader,
        skops_allowed: tuple[str, ...] = (),
    ) -> None:
        self._project = project
        self._policy = policy
        self._sources = sources
        self._codec = codec
        self._store = store
        self._reader = reader
        self._skops_allowed = skops_allowed
        self._schema = Schema.of(project.event_schema)

    async def rows(self, started: TrainingRunChanged) -> Window:
        """The run's rows, read again.

        Raises:
            FitError: the project has changed since, or they are not the rows that the run began with.
        """
        why = core.outdated(self._policy, started)
        if why is not None:
            raise FitError(why)
        window = await self._reader.again(started.ranges, started.excluded)
        if started.ranges and len(window.rows) != started.train_rows + started.holdout_rows:
            raise FitError(
                f"the ranges hold {len(window.rows)} rows now, the run began with "
                f"{started.train_rows} and {started.holdout_rows}"
            )
        if window.rows and started.rows_sha256 not in {None, window.sha256}:
            raise FitError(f"the rows hash to {window.sha256} now, the run began with {started.rows_sha256}")
        return window

    async def champion(self, champion: Traffic | None) -> tuple[bytes | None, str | None]:
        """The champion's file, or why it is lost; neither without a champion."""
        if champion is None:
            return None, None
        try:
            return await self._store.get(champion.artifact_sha256), None
        except ArtifactStoreUnavailableError:
            raise
        except ArtifactError as error:
            log.error("the champion's file is lost", version=champion.version, error=str(error))  # noqa: TRY400  # the message is enough
            return None, str(error)

    async def task(self, started: TrainingRunChanged, window: Window, wanted: Wanted) -> FitTask:
        """The fit of this run.

        Raises:
            FitError: the sample that came with an imported file cannot be used.
            ArtifactError: the imported file, or its sample, is lost.
        """
        project, training, request = self._project, self._policy.training, wanted.request
        imported = sample = None
        if started.source == IMPORTED and (request is None or request.import_sha256 is None):
            raise FitError(f"the request {started.caused_by} is not known any more, so the imported file is not either")
        if request is not None and request.import_sha256 is not None:
            imported = await self._store.get(request.import_sha256)
            if request.sample_sha256 is not None:
                sample = read_sample(await self._store.get(request.sample_sha256), project)
        train, holdout = await self._parts(window, sample, imported=imported is not None)
        return FitTask(
            model=project.model,
            feature_set=project.feature_set,
            feature_names=project.feature_names,
            label=project.label,
            gates=project.gates,
            seed=training.seed,
            pipeline=self._sources.pipeline,
            train=train,
            holdout=holdout,
            champion=wanted.champion,
            rows_min=min(training.first_rows, training.window_rows) if imported is None else SAMPLE_ROWS_MIN,
            timeout_s=training.timeout_s,
            search=training.search,
            families=self._sources.families,
            since_drift=since_drift(self._policy, window, None if request is None else request.since_time_ms),
            gap_rows=gap_rows(self._policy, window, project.label.delay_s),
            fixed=wanted.choice,
            imported=imported,
            skops_allowed=self._skops_allowed,
            sample=sample if window.rows else None,
            study=wanted.study,
            run_id=started.run_id,
            vetoes=wanted.vetoes,
        )

    async def _parts(self, window: Window, sample: Rows | None, *, imported: bool) -> tuple[Rows, Rows]:
        """Training and hold-out rows. For an imported file the first are what the baselines learn from."""
        if not window.rows:
            if sample is None:
                raise FitError("there are no rows to train on, and no sample of records")
            return sample, sample
        holdout_rows = self._policy.training.holdout_rows
        train, holdout = split(window.rows, holdout_rows)
        if imported and len(train.y) < holdout_rows:
            train = holdout if sample is None else sample
        return train, replace(holdout, groups=await self._groups(window.rows[-holdout_rows:]))

    async def _groups(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Each row's value of the field that ``gates.fairness`` names; nothing where it names none."""
        rule = self._project.gates.fairness
        if rule is None:
            return ()
        found = []
        for row in rows:
            try:
                event = await self._codec.decode_record(row.event or b"", self._schema)
                found.append(str(event[rule.field]))
            except (ContractError, KeyError) as error:
                log.debug("a row's group is unknown", offset=row.offset, error=str(error))
                found.append(UNREADABLE_GROUP)
        return tuple(found)
