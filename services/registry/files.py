"""Whether the files of a run are whole, asked of the store beside everything else."""

import asyncio

from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread
from millrace.contracts.errors import ArtifactError, ArtifactStoreUnavailableError
from millrace.contracts.events import TrainingRunChanged
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


class Files:
    """Looks at one run's files at a time. ``fault`` says what keeps it from it.

    ``checked`` is what was found: by run what is wrong with its files, in words; None if they are whole.
    """

    def __init__(self, artifacts: ArtifactStore, in_thread: InThread) -> None:
        self.fault: str | None = None
        self.checked: dict[str, str | None] = {}
        self._artifacts = artifacts
        self._in_thread = in_thread
        self._check: tuple[str, asyncio.Task[str | None]] | None = None

    async def look(self, run: TrainingRunChanged, patience_s: float) -> bool:
        """Look at a run's files, or go on with it, for so long; whether ``checked`` tells now."""
        if self._check is None or self._check[0] != run.run_id:
            self.close()
            self._check = run.run_id, asyncio.create_task(self._fault_of(run))
        run_id, check = self._check
        await asyncio.wait([check], timeout=patience_s)
        if not check.done():
            return False
        self._check = None
        self.checked = {run_id: check.result()}
        return True

    def close(self) -> None:
        """Give up what was begun."""
        if self._check is not None:
            self._check[1].cancel()

    async def _fault_of(self, run: TrainingRunChanged) -> str | None:
        """What is wrong with the artefact or its golden records. A store that does not answer is asked again."""
        failures = 0
        for digest in (run.artifact_sha256, run.golden_sha256):
            while digest is not None:
                try:
                    await self._in_thread(self._artifacts.get, digest)
                    break
                except ArtifactStoreUnavailableError as error:
                    failures += 1
                    self.fault = str(error)
                    log.warning("waiting for the artefact store", error=str(error), attempt=failures)
                    await asyncio.sleep(backoff_s(failures))
                except ArtifactError as error:
                    self.fault = None
                    return str(error)
        self.fault = None
        return None
