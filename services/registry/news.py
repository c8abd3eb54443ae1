"""Wakes those who wait for the projection to change: a counter that only grows, and a bell."""

import asyncio


class News:
    """``number`` grows with each change. Once ``closed``, nobody waits any more."""

    def __init__(self) -> None:
        self.number = 0
        self.closed = False
        self._bell = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self.number += 1
        self._ring()

    def close(self) -> None:
        """Nothing will change any more: everybody who waits is let go."""
        self.closed = True
        self._ring()

    async def after(self, seen: int, timeout_s: float) -> bool:
        """Wait until the number is greater than ``seen``. False if it is not in time, or never will be."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.number <= seen and not self.closed:
                    await self._bell.wait()
        except TimeoutError:
            return False
        return self.number > seen

    def _ring(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()
