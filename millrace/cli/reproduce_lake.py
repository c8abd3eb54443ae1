"""A run done again from the lake, where retention has removed its rows from the samples log."""

from typing import Any

from millrace.bus.tasks import inline
from millrace.cli.data_rows import Records
from millrace.cli.data_source import LakeSource
from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.project import Project
from millrace.stores.artifacts import ArtifactStore
from services.registry.commands import Log
from services.trainer.asking import PatientStore
from services.trainer.fitter import Fitter
from services.trainer.material import Material, Wanted
from services.trainer.reader import SamplesReader
from services.trainer.reproduce import choice_of
from services.trainer.sources import Sources, policy_of
from services.trainer.train.task import FitResult


class LakeReader(SamplesReader):
    """Reads a run's samples from the lake. They have no event: it is needed for groups of fairness alone."""

    def __init__(self, project: Project, log: Log, lake: LakeSource, run: TrainingRunChanged) -> None:
        super().__init__(project, log.transport, log.codec)
        self._lake = lake
        self._run = run
        self._found: Records | None = None

    async def _fetch(self, partition: int, start: int, stop: int) -> list[tuple[int, dict[str, Any]]]:
        """The samples in this range, as of the run's version of the table. Raises ``LakeError``."""
        if self._found is None:
            self._found = await self._lake.rows_of(self._run)
        return [(offset, dict(one)) for offset, one in self._found.get(partition, ()) if start <= offset < stop]


async def repeat_from_lake(
    project: Project, log: Log, artifacts: ArtifactStore, run: TrainingRunChanged, fit: Fitter, lake: LakeSource
) -> FitResult:
    """What ``services.trainer.reproduce.repeat`` does, with rows from the lake.

    Raises:
        FitError: as there.
        LakeError: the lake does not have the rows.
    """
    sources = Sources.read(project)
    policy = policy_of(project, sources)
    store = PatientStore(artifacts, inline, 1)
    reader = LakeReader(project, log, lake, run)
    material = Material(project, policy, sources, log.codec, store, reader)
    return await fit(await material.task(run, await material.rows(run), Wanted(choice=choice_of(run))))
