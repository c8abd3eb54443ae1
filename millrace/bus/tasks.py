"""Several pieces of work that stand and fall together."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all at once until each has returned, or one fails.

    Then, and on cancellation, the others are cancelled and awaited; the first error is raised as it is. (A
    ``TaskGroup`` would wrap it, and callers decide by the error's type.)
    """
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
