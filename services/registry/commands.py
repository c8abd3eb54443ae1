"""What people ask of the registry: the request is written to the log, and the answer is looked for in the log.

The API and the command line do it in the same way, with or without a registry at work: a request waits in the topic
until one reads it. Rules:

- A request is written once, however its commit ended: after an unclear one the log is asked.
- Its answer is the audit record whose cause it is. There is exactly one; none in time means that none came yet.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from millrace.bus.clock import Clock
from millrace.bus.transport import Transport
from millrace.bus.write_once import Message, write_once
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.events import AuditRecorded, DeploymentDecided, Event, ManageAction, ManageModel
from millrace.contracts.topics import TopicRow

E = TypeVar("E", bound=Event)
VERBS: Mapping[str, ManageAction] = {
    "promote": "PROMOTE",
    "rollback": "ROLLBACK",
    "abort": "ABORT",
    "approve": "APPROVE",
    "reject": "REJECT",
    "freeze": "FREEZE",
    "unfreeze": "UNFREEZE",
    "kill": "KILL",
    "retire": "RETIRE",
}
"""The verbs of the API and the command line, and the actions that they ask for."""
OF_A_VERSION = frozenset({"promote", "approve", "reject", "retire"})
OF_NO_VERSION = frozenset({"abort", "freeze", "unfreeze", "kill"})
ANSWER_S = 10.0  # a registry at work answers in milliseconds
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Log:
    """A connection to the log, and what reads and writes its records."""

    transport: Transport
    codec: Codec
    clock: Clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request; ``audit`` None is no answer in time."""

    request: ManageModel
    audit: AuditRecorded | None

    @property
    def accepted(self) -> bool:
        """Whether the registry did what was asked."""
        return self.audit is not None and self.audit.outcome == "ACCEPTED"


def fault(verb: str, version: int | None) -> str | None:
    """What is wrong with asking this of this version, in words; None if nothing is."""
    if verb in OF_A_VERSION and version is None:
        return f"{verb} is about a version: name it"
    if verb in OF_NO_VERSION and version is not None:
        return f"{verb} is about the whole model, not about version {version}: leave the version out"
    return None


def topic(row: TopicRow) -> str:
    """The name of a topic that all models share."""
    return row.name(stream="", model="")


async def ask(log: Log, request: ManageModel, *, timeout_s: float = ANSWER_S) -> Outcome:
    """Write a request that is new, and wait for its answer.

    Raises ``BusError`` if it could not be written: then nobody will answer it.
    """
    start = (await log.transport.bounds(topic(topics.AUDIT_EVENTS), 0)).end
    await write(log, request)
    return Outcome(request, await answer(log, request.request_id, start, timeout_s))


async def write(log: Log, request: ManageModel) -> None:
    """Write a request, once. Its transactional id is its own, so that nobody fences anybody else."""
    transactional_id = f"millrace.request.{request.model}.{request.request_id}"
    message = Message(topics.REGISTRY_REQUESTS, request.model, request)
    await write_once(log.transport, log.codec, transactional_id, [message], request.request_id)


async def answer(log: Log, request_id: str, start: int, timeout_s: float) -> AuditRecorded | None:
    """The audit record that answers a request, looked for from an offset of the audit log on; None if not in time."""
    name, give_up_s = topic(topics.AUDIT_EVENTS), log.clock.monotonic_s() + timeout_s
    while True:
        end = (await log.transport.bounds(name, 0)).end
        async for audit in _events(log, AuditRecorded, name, start, end):
            if audit.caused_by == request_id:
                return audit
        start = max(start, end)
        if log.clock.monotonic_s() >= give_up_s:
            return None
        await asyncio.sleep(_LOOK_S)


async def epoch_in_force(log: Log, model: str) -> int:
    """Epoch of a model's newest deployment, by the log; 0 before the first."""
    name, epoch = topic(topics.DEPLOYMENTS), 0
    begin, end = await log.transport.bounds(name, 0)
    async for deployment in _events(log, DeploymentDecided, name, begin, end):
        if deployment.model == model:
            epoch = max(epoch, deployment.epoch)
    return epoch


async def _events(log: Log, kind: type[E], name: str, start: int, end: int) -> AsyncIterator[E]:
    """The events in a range of a topic; a record that is none is left to those whose topic it is."""
    if start >= end:
        return
    async for batch in log.transport.read(name, 0, start, end):
        for record in batch:
            try:
                event = await log.codec.decode(kind, record.value)
            except ContractError:
                continue
            yield event
