"""``millrace dead-letters replay``: after a fix, send refused records back to where they came from, each exactly once.

What was sent back is remembered in the audit log, one event for each letter, in the same transaction as the record. So
the rules are:

1. One transactional id for a stream. Becoming its owner ends the transaction of a run that died, and fences one that
   is still at work: from then on nobody else writes.
2. *Then* the audit log is read. It may hold other writers' open transactions, and what lies behind one of them is
   hidden. So an audit event of this run is written first, and the log is read up to it: once that one is visible, so
   is everything before it.
3. A chunk of letters is one transaction: records and audit events together or not at all.
4. After a commit without a clear answer the producer is thrown away, and all begins again at 1.

Repeats (``duplicate-event``, ``duplicate-label``) are left out unless they are asked for by reason or place: their
first copy was admitted, and once its id is forgotten a second one would be too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from millrace.bus.deadletter import Origin, origin_of, place_of, replay_of, why
from millrace.bus.transport import Producer, Transport
from millrace.bus.types import RECORD_BYTES_MAX, OutRecord, Record
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, FencedError, MillraceError, OffsetGoneError, UnclearError
from millrace.contracts.events import AuditRecorded
from millrace.contracts.project import Project
from millrace.contracts.topics import AUDIT_EVENTS, EVENTS, LABELS, topic_name
from millrace.operating.letters import (
    NotThereError,
    Replayed,
    Span,
    chosen,
    letter_at,
    replayed_before,
    spans,
)
from millrace.operating.replay_run import Impossible, Report, Run

CHUNK_LETTERS = 1_000
CHUNK_BYTES = 8_000_000  # letters may be of a megabyte each
TRIES = 3
PATIENCE_S = 120.0  # for other writers' transactions in the audit log: twice the broker's usual timeout for them
REPEATS = frozenset({"duplicate-event", "duplicate-label"})


class ImpossibleError(MillraceError):
    """One letter cannot be sent back. The message says why."""


class Sendable(NamedTuple):
    """A letter, where its record came from, and the record to be written there."""

    letter: Record
    origin: Origin
    record: OutRecord


Write = Callable[[Sequence[Sendable]], Awaitable[None]]


class Replay:
    """One run: either :meth:`dry` or :meth:`go`, once. ``report`` may be looked at meanwhile."""

    def __init__(
        self, transport: Transport, codec: Codec, project: Project, run: Run, *, chunk_letters: int = CHUNK_LETTERS,
        patience_s: float = PATIENCE_S,
    ) -> None:  # fmt: skip
        self.report = Report()
        self._transport = transport
        self._codec = codec
        self._project = project
        self._run = run
        self._chunk_letters = chunk_letters
        self._patience_s = patience_s
        self._audit_topic = topic_name(AUDIT_EVENTS, project)
        self._targets = {topic_name(EVENTS, project), topic_name(LABELS, project)}

    async def dry(self) -> Report:
        """What a run would do now. Nothing is written, and no other run is disturbed."""

        async def pretend(_: Sequence[Sendable]) -> None:
            pass

        before = await replayed_before(self._transport, self._codec, self._project)
        await self._go(before, await spans(self._transport, self._project, self._run.choice), pretend)
        return self.report

    async def go(self) -> Report:
        """Send back what is meant and was not sent back before.

        Raises:
            FencedError: another replay of this stream has taken over.
            BusError: the log does not answer clearly; what was sent back is remembered, so the run can be repeated.
        """
        await self._codec.prepare(self._project, AUDIT_EVENTS)
        what = await spans(self._transport, self._project, self._run.choice)
        for _ in range(TRIES):
            producer = await self._transport.producer(f"millrace-replay-{self._project.stream}")
            with suppress(UnclearError):
                try:
                    return await self._own(producer, what)
                except FencedError as error:
                    raise FencedError(
                        f"another replay of {self._project.stream} has taken over after this one had sent back "
                        f"{self.report.replayed} letters; nothing is sent twice, so simply let it finish"
                    ) from error
                finally:
                    await producer.close()
        raise BusError(
            f"the log does not answer clearly: of the replay of {self._project.stream} at least {self.report.replayed} "
            "letters were sent back; run it again, what was sent back is remembered"
        )

    async def _own(self, producer: Producer, what: Sequence[Span]) -> Report:
        """All of it, from the log on, as the owner of the id."""
        [mark] = await producer.commit([self._out(self._run.audit(self._project))])
        try:
            async with asyncio.timeout(self._patience_s):
                before = await replayed_before(self._transport, self._codec, self._project, mark + 1)
        except TimeoutError:
            raise BusError(
                f"{self._audit_topic} is not readable up to offset {mark}: somebody else's transaction has been open "
                f"there for {self._patience_s:g} s. Run this again later; nothing is sent back twice"
            ) from None
        self.report = Report()

        async def write(chunk: Sequence[Sendable]) -> None:
            audits = [self._out(self._run.audit_of(one.letter, one.origin, self._project)) for one in chunk]
            await producer.commit([*(one.record for one in chunk), *audits])

        await self._go(before, what, write)
        return self.report

    def _out(self, audit: AuditRecorded) -> OutRecord:
        return OutRecord(self._audit_topic, audit.actor.encode(), self._codec.encode(self._audit_topic, audit))

    async def _go(self, before: Mapping[str, Replayed], what: Sequence[Span], write: Write) -> None:
        """Judge each letter; hand those to be sent over in chunks."""
        chunk: list[Sendable] = []
        size = 0
        async for letter in self._letters(what):
            sendable = await self._judge(letter, before)
            if sendable is None:
                continue
            chunk.append(sendable)
            size += sendable.record.size_bytes
            if len(chunk) >= self._chunk_letters or size >= CHUNK_BYTES:
                await self._write(chunk, write)
                chunk, size = [], 0
        if chunk:
            await self._write(chunk, write)

    async def _write(self, chunk: Sequence[Sendable], write: Write) -> None:
        await write(chunk)
        self.report.replayed += len(chunk)
        self.report.reasons.update(why(one.letter)["reason"] for one in chunk)

    async def _letters(self, what: Sequence[Span]) -> AsyncIterator[Record]:
        for span in what:
            async for letters in chosen(self._transport, self._project, self._run.choice, span):
                for letter in letters:
                    yield letter

    async def _judge(self, letter: Record, before: Mapping[str, Replayed]) -> Sendable | None:
        """The letter with the record to be sent, or None; then the report has been told."""
        place, choice, reason = place_of(letter), self._run.choice, why(letter)["reason"]
        sent_back = before.get(place)
        if sent_back is not None and sent_back.run == self._run.audit_id(self._project):
            self.report.replayed += 1  # before a commit without a clear answer
            self.report.reasons[reason] += 1
        elif sent_back is not None:
            self.report.skipped += 1
        elif reason in REPEATS and not (choice.reason or choice.places):
            self.report.repeats += 1
        else:
            try:
                return await self._sendable(letter)
            except ImpossibleError as error:
                self.report.impossible.append(Impossible(f"{letter.partition}/{letter.offset}", str(error)))
        return None

    async def _sendable(self, letter: Record) -> Sendable:
        origin = origin_of(letter)
        if origin is None:
            raise ImpossibleError("its headers do not say where it came from: no service of ours refused it")
        if origin.topic not in self._targets:
            raise ImpossibleError(
                f"it came from {origin.topic}, which is computed from {' and '.join(sorted(self._targets))}; only "
                "records of these are sent back"
            )
        if origin.partition >= self._project.partitions:
            raise ImpossibleError(
                f"it came from partition {origin.partition} of {origin.topic}, which has {self._project.partitions}"
            )
        source = None if origin.bytes_cut is None else await self._whole(letter, origin)
        record = replay_of(letter, origin, source)
        if record.size_bytes > RECORD_BYTES_MAX:
            raise ImpossibleError(
                f"with its headers it has {record.size_bytes} bytes, at most {RECORD_BYTES_MAX} can be written"
            )
        return Sendable(letter, origin, record)

    async def _whole(self, letter: Record, origin: Origin) -> Record:
        """The refused record itself, of which the letter holds only the beginning."""
        place = f"{origin.topic}/{origin.partition}/{origin.offset}"
        lost = f"the letter holds only a part of it, and the whole record is no longer at {place}"
        try:
            source = await letter_at(self._transport, origin.topic, origin.partition, origin.offset)
        except (NotThereError, OffsetGoneError) as error:
            raise ImpossibleError(f"{lost}: {error}") from error
        value = source.value or b""
        if len(value) != origin.bytes_cut or not value.startswith(letter.value or b""):
            raise ImpossibleError(f"{lost}: what is there is another one, of {len(value)} bytes")
        return source
