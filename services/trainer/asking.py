"""The artefact store, asked again for a while when it does not answer."""

import asyncio
from collections.abc import Callable
from typing import Any

from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread
from millrace.contracts.errors import ArtifactStoreUnavailableError
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


class PatientStore:
    """Puts and gets beside the event loop. ``tries`` is how often the store is asked before it has failed."""

    def __init__(self, artifacts: ArtifactStore, in_thread: InThread, tries: int) -> None:
        self._artifacts = artifacts
        self._in_thread = in_thread
        self._tries = tries

    async def put(self, content: bytes) -> str:
        """Keep it; its SHA-256. Raises ``ArtifactStoreUnavailableError`` when there was no answer for a while."""
        digest: str = await self._ask(self._artifacts.put, content)
        return digest

    async def get(self, digest: str) -> bytes:
        """What is kept. Raises ``ArtifactError`` if it is lost or damaged, or as ``put`` does."""
        content: bytes = await self._ask(self._artifacts.get, digest)
        return content

    async def _ask(self, call: Callable[..., Any], argument: bytes | str) -> Any:
        attempt = 1
        while True:
            try:
                return await self._in_thread(call, argument)
            except ArtifactStoreUnavailableError as error:
                if attempt >= self._tries:
                    raise
                log.warning("the artefact store does not answer, trying again", attempt=attempt, error=str(error))
                await asyncio.sleep(backoff_s(attempt))
                attempt += 1
