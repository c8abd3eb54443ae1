"""What every demo does around its story: a folder of its own, work that ends with its platform, whole reports."""

import asyncio
import shutil
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from millrace.local.atomic import write_text
from millrace.local.errors import DataFolderInUseError, LocalError
from millrace.local.runfile import is_locked

MARKER = ".millrace-demo"


async def work_while(work: Coroutine[Any, Any, str | None], *others: Coroutine[Any, Any, None]) -> str | None:
    """Do the work while the others go on for ever; if one of them fails, so does this."""
    main = asyncio.ensure_future(work)
    tasks = [asyncio.ensure_future(other) for other in others]
    try:
        done, _ = await asyncio.wait({main, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {main}:
            task.result()
        if main not in done:
            raise LocalError("the platform stopped in the middle of the demo")
        return main.result()
    finally:
        for task in (main, *tasks):
            task.cancel()
        for task in (main, *tasks):
            with suppress(asyncio.CancelledError, Exception):  # the first error is being raised already
                await task


def empty_folder(data: Path) -> None:
    """Make the folder new. What is not an earlier demo's is never deleted."""
    if is_locked(data):
        raise DataFolderInUseError(data, None)
    if data.exists():
        if any(data.iterdir()) and not (data / MARKER).exists():
            raise LocalError(f"{data} holds something that no demo wrote; choose another --data folder, or remove it")
        shutil.rmtree(data)
    write_text(data / MARKER, "The demo empties this folder at each start.\n")


def write_whole(folder: Path, content: Mapping[str, str]) -> list[Path]:
    """Replace the files of these names, each whole or not at all, and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        temporary = folder / f".{name}.partial"  # readable by all, as the umask says: reports are shared
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
    return [folder / name for name in content]
