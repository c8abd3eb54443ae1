"""What happens, as it happens, for pages that listen: server-sent events with ids to resume from.

Rules:

- The newest events are kept in memory, each with a number. An id is ``<generation>-<number>``; the generation is the
  time at which this process began, so that an id of an earlier process is told from one of this.
- Who comes back with an id gets what followed it. If that is not kept any more, or the id is of another process, they
  get ``reset``, and begin again by asking for everything.
- A tick tells how the services do, every two seconds. It has no id: who missed one has missed nothing.
- A comment is sent when nothing happens, so that a dead connection is noticed.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

from millrace.console.answers import plain
from millrace.console.telling import Told

KEPT = 5_000
HEARTBEAT_S = 10.0
RETRY_MS = 1_000
NOTHING = b": nothing new\n\n"


class Item(NamedTuple):
    """One thing to be told; ``number`` 0 has no id."""

    number: int
    kind: str
    data: Told


class Feed:
    """What happened lately, and who listens."""

    def __init__(self, generation: int, *, kept: int = KEPT, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._generation = generation
        self._items: deque[Item] = deque(maxlen=kept)
        self._number = 0
        self._heartbeat_s = heartbeat_s
        self._listeners: set[asyncio.Queue[Item | None]] = set()
        self._closed = False

    @property
    def cursor(self) -> str:
        """The id after which everything is news."""
        return f"{self._generation}-{self._number}"

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def add(self, happened: Iterable[Told]) -> None:
        """Tell what happened."""
        for data in happened:
            self._number += 1
            item = Item(self._number, str(data["kind"]), data)
            self._items.append(item)
            self._tell(item)

    def tick(self, kind: str, data: Told) -> None:
        """Tell what need not be told again."""
        self._tell(Item(0, kind, data))

    def _tell(self, item: Item) -> None:
        for queue in self._listeners:
            if queue.qsize() > KEPT:  # it does not read; let it come back with its last id
                queue.put_nowait(None)
            else:
                queue.put_nowait(item)

    def close(self) -> None:
        """Let everybody go."""
        self._closed = True
        for queue in self._listeners:
            queue.put_nowait(None)

    async def stream(self, after: str | None, model: str | None = None) -> AsyncIterator[bytes]:
        """What happens after an id, for ever; without one, what happens next. Of one model, if one is named."""
        queue: asyncio.Queue[Item | None] = asyncio.Queue()
        missed = self._missed(after)  # and from here on it listens: nothing is between
        self._listeners.add(queue)
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            if missed is None:
                yield self._sent(Item(self._number, "reset", {"why": "what followed that id is not kept any more"}))
            for item in missed or ():
                if _concerns(item, model):
                    yield self._sent(item)
            while not self._closed:
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        item_or_end = await queue.get()
                except TimeoutError:
                    yield NOTHING
                    continue
                if item_or_end is None:
                    return
                if _concerns(item_or_end, model):
                    yield self._sent(item_or_end)
        finally:
            self._listeners.discard(queue)

    def _missed(self, after: str | None) -> list[Item] | None:
        """What followed an id; None if that cannot be told."""
        if after is None:
            return []
        generation, _, number = after.partition("-")
        if generation != str(self._generation) or not number.isdecimal() or int(number) > self._number:
            return None
        first = self._items[0].number if self._items else self._number + 1
        if int(number) + 1 < first:
            return None
        return [item for item in self._items if item.number > int(number)]

    def _sent(self, item: Item) -> bytes:
        identity = f"id: {self._generation}-{item.number}\n" if item.number else ""
        if item.kind == "reset":
            identity = f"id: {self.cursor}\n"
        return f"{identity}event: {item.kind}\ndata: {_json(item.data)}\n\n".encode()


def _json(data: Any) -> str:
    return json.dumps(plain(data), allow_nan=False, separators=(",", ":"))


def _concerns(item: Item, model: str | None) -> bool:
    return model is None or not item.number or item.data.get("model") in {None, model}
