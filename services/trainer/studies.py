"""Where searches keep their trials until their run has ended, so that one that is cut short goes on where it was."""

import shutil
from collections.abc import Collection
from pathlib import Path

from millrace.bus.tasks import InThread

FILE = "trials.log"


class Studies:
    """One folder for each run that searches. Without a folder for them nothing is kept."""

    def __init__(self, folder: Path | None, in_thread: InThread) -> None:
        self._folder = folder
        self._in_thread = in_thread

    async def file(self, run_id: str) -> str | None:
        """The file of this run's search."""
        if self._folder is None:
            return None
        folder = self._folder / run_id
        await self._in_thread(folder.mkdir, parents=True, exist_ok=True)
        return str(folder / FILE)

    async def forget(self, run_ids: Collection[str]) -> None:
        """Remove what these runs have left: it would only be taken up by one that begins anew. Others' is untouched."""
        if self._folder is not None and run_ids:
            await self._in_thread(_remove, self._folder, frozenset(run_ids))


def _remove(folder: Path, run_ids: frozenset[str]) -> None:
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.name in run_ids:
            shutil.rmtree(one, ignore_errors=True)
