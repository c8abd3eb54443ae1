"""The companion of an ingest lane: brings the samples of its partition into the lake, exactly once.

It follows the samples topic from where the table ends, so it needs no position of its own and no word from the lane;
if it dies, or the store is away for an hour, it goes on from there. Samples become rows some seconds after they were
written: ``commit_rows`` of them, or what has come within ``commit_s``, are one commit.

A lane that was fenced has a successor, and so has its companion. For a moment both may append the same rows: the lake
takes them from one, and refuses the other. Which of the two is the zombie the lake cannot know, and if the rightful one
gave up, nobody would go on. So whoever is refused looks where the table ends now, and goes on from there; the zombie
ends when its lane does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa

from millrace.bus.context import Context
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import MillraceError, OffsetGoneError
from millrace.contracts.schemas import Schema
from millrace.contracts.topics import topic_name
from millrace.stores.lake import COLUMNS, Lake, LakeError, LakeFencedError
from millrace.telemetry.log import get_logger
from services.ingest.lake_rows import LakeRows

log = get_logger(__name__)
POLLS = 10  # how often it looks for new samples within ``commit_s``
POLL_S_MAX = 0.5
HURRY_S = 0.02  # the same, while somebody waits for samples that are not visible yet
ORPHANS_MS = 24 * 3600 * 1000  # files that belong to no version for so long are no append in hand
GIVES_WAY_S = 60.0  # a lane that catches up after an outage has the processor to itself; load that stays is shared
READ_RECORDS = 10_000  # decoded at once: enough to be quick by the column


class LakeWriter:
    """Appends the samples of one partition to the lake.

    Args:
        context: of ingest.
        number: the partition.
        lake: the table of the stream; another writer may use the same one.
        in_thread: how calls that block are made.

    While ``gives_way`` is set, because the lane is behind, commits wait for a while unless somebody waits for the rows.
    """

    def __init__(self, context: Context, number: int, lake: Lake, *, in_thread: InThread = asyncio.to_thread) -> None:
        self._context = context
        self.gives_way = False
        self._number = number
        self._lake = lake
        self._in_thread = in_thread
        self._topic = topic_name(topics.SAMPLES, context.project)
        self._policy = context.project.data.lake
        self._rows = LakeRows(context.codec, Schema.of(context.project.event_schema), in_thread)
        self._position = 0
        self._version: int | None = None
        self._wanted = 0  # below here somebody waits for the samples
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._trouble: str | None = "the lake has not answered yet"
        self._commits = 0
        self._failures = 0
        self._compaction: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        """Samples below this offset are in the lake, as far as this writer knows; 0 until the lake has answered."""
        return self._position

    @property
    def version(self) -> int | None:
        """A version of the table that has them; None while it has none."""
        return self._version

    def hurry(self, until_offset: int) -> None:
        """Somebody waits for the samples below this offset: commit them without waiting for more. From any thread."""
        self._wanted = max(self._wanted, until_offset)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def trouble(self) -> str | None:
        """What keeps samples out of the lake; None if nothing does."""
        return self._trouble

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            OffsetGoneError: retention removed samples that the lake does not have.
            LakeError: the lake has more than the topic; it is that of another log.
            ContractError: a record of the samples topic is no sample.
        """
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    await self._follow()
                except LakeFencedError as error:
                    log.info("another lake writer was here", partition=self._number, detail=str(error))
                    await asyncio.sleep(backoff_s(1))
                except MillraceError as error:
                    self._trouble = str(error)
                    if not error.retryable:
                        raise
                    self._failures += 1
                    wait_s = backoff_s(self._failures)
                    log.warning(
                        "lake waits", partition=self._number, attempt=self._failures, wait_s=wait_s, error=str(error)
                    )
                    await asyncio.sleep(wait_s)
        finally:
            if self._compaction is not None:
                self._compaction.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._compaction

    # ---- following the log ---------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """From where the table ends, for ever."""
        await self._find_place()
        since_s: float | None = None
        while True:
            end = (await self._context.transport.bounds(self._topic, self._number)).end
            now_s = self._context.clock.monotonic_s()
            waiting = end - self._position
            since_s = (now_s if since_s is None else since_s) if waiting > 0 else None
            due = since_s is not None and now_s - since_s >= self._policy.commit_s
            due = due or waiting >= self._policy.commit_rows
            if due and since_s is not None and self.gives_way:
                due = now_s - since_s >= GIVES_WAY_S
            if due or self._position < self._wanted <= end:
                await self._take(end)
                since_s = None
            else:
                self._trouble = None
                await self._pause()

    async def _pause(self) -> None:
        """Until it may be worth while to look again, or somebody waits: their samples will be visible very soon."""
        usual_s = min(self._policy.commit_s / POLLS, POLL_S_MAX)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HURRY_S if self._wanted > self._position else usual_s):
                await self._woken.wait()
        self._woken.clear()

    async def _find_place(self) -> None:
        position = await self._in_thread(self._lake.position, self._number)
        version = await self._in_thread(self._lake.version)
        begin, end = await self._context.transport.bounds(self._topic, self._number)
        if position is not None and position > end:
            raise LakeError(
                f"{self._topic}/{self._number} ends at offset {end}, and the lake {self._lake.uri} has the samples "
                f"below {position}: it is that of another log. Move the table away, or name another lake; then start "
                f"ingest again"
            )
        if position is not None and position < begin:
            raise OffsetGoneError(
                f"{self._topic}/{self._number}: the lake {self._lake.uri} has the samples below offset {position}, and "
                f"retention has removed those below {begin}. Restore the topic, or move the table away to begin a new "
                f"one at {begin}; then start ingest again"
            )
        self._position = begin if position is None else position
        self._version = version
        log.info("lake writer ready", partition=self._number, position=self._position, version=version)

    async def _take(self, end: int) -> None:
        """Bring the samples below that offset into the lake."""
        tables: list[Any] = []
        rows = 0
        async for records in _chunks(self._context.transport.read(self._topic, self._number, self._position, end)):
            if rows >= self._policy.commit_rows:
                await self._append(tables, records[0].offset)
                tables, rows = [], 0
            tables.append(await self._rows.of(records))
            rows += len(records)
        # Up to the end, also where only markers of transactions stand: should retention take those, none is missed.
        await self._append(tables, end)

    async def _append(self, tables: list[Any], until_offset: int) -> None:
        version = await self._in_thread(self._append_now, tables, until_offset)
        self._version = version  # before the position: who reads both from another thread takes the position first
        self._position, self._trouble, self._failures = until_offset, None, 0
        self._commits += 1
        if self._commits >= self._policy.compact_every and (self._compaction is None or self._compaction.done()):
            self._commits = 0
            self._compaction = asyncio.create_task(self._compact())

    def _append_now(self, tables: list[Any], until_offset: int) -> int:
        # Those without an event have no columns of events; where there are none at all, the position moves on alone.
        rows = pa.concat_tables([*tables, COLUMNS.empty_table()], promote_options="permissive")
        return self._lake.append(rows, self._number, self._position, until_offset)

    async def _compact(self) -> None:
        """Beside the appends. What fails here has changed nothing, and is tried again with later commits."""
        try:
            await self._in_thread(self._lake.compact)
            await self._in_thread(self._lake.vacuum, self._context.clock.now_ms() - ORPHANS_MS)
        except Exception as error:  # noqa: BLE001  # housekeeping: whatever ails it must not keep rows out of the lake
            log.warning("the lake was not compacted", partition=self._number, error=repr(error))


async def _chunks(batches: AsyncIterator[list[Record]]) -> AsyncIterator[list[Record]]:
    """The same records in fewer batches."""
    chunk: list[Record] = []
    async for records in batches:
        chunk += records
        if len(chunk) >= READ_RECORDS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
