"""The registry as a service: decides, keeps the projection, answers questions; see ``decider``, ``follow``, ``api``."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from fastapi import FastAPI

from millrace.bus.context import Context
from millrace.bus.tasks import InThread, run_together
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import Signer, Verifier
from services.registry import api
from services.registry.decider import Decider
from services.registry.follow import Follower
from services.registry.projection import Projection


class RegistryService:
    """One model's registry.

    Args:
        context: project, transport, codec, clock and the name of this process.
        artifacts: where model files are looked for before a version is admitted.
        database_url: SQLAlchemy URL of the projection; a SQLite file is made, folder and all.
        in_thread: how blocking calls (database, artefacts) are made. ``inline`` makes them in the event loop,
            which keeps a simulation's virtual time still meanwhile.
        signers: by space, who signs what enters it; without one, it is not signed.
        known: all keys that have ever signed here, by which its own deployments are told; the signers' if left out.
    """

    def __init__(
        self,
        context: Context,
        *,
        artifacts: ArtifactStore,
        database_url: str,
        in_thread: InThread = asyncio.to_thread,
        signers: Mapping[str, Signer] = MappingProxyType({}),
        known: Verifier | None = None,
    ) -> None:
        self._context = context
        self._in_thread = in_thread
        self._projection = Projection(database_url)
        self._decider = Decider(context, artifacts, in_thread, signers, known)
        self._follower = Follower(context, self._projection, in_thread)

    async def run(self) -> None:
        """Work until cancelled, or until a newer process has taken over (``FencedError``)."""
        try:
            await run_together(self._decide(), self._follower.run())
        finally:
            await self._decider.close()
            self._projection.close()

    async def _decide(self) -> None:
        await self._decider.start()
        group = f"millrace-registry-{self._context.project.model}"
        await run_together(
            self._context.transport.subscribe(group, self._decider.topics, self._decider.handle),
            self._decider.watch(),
        )

    def checks(self) -> Mapping[str, str | None]:
        """Ready when the log is read and writable, artefacts can be looked at, and the projection is up to date."""
        return {
            "bus": self._decider.bus_fault,
            "artifacts": self._decider.artifacts_fault,
            "database": self._follower.fault,
        }

    def add_routes(self, app: FastAPI) -> None:
        """The API: which versions there are, what serves, what served and why."""
        api.add_routes(app, self._projection, self._in_thread, context=self._context, news=self._follower.news)
