"""The evidence of an erasure in the audit log: once when it begins, once when it is complete. It names nobody.

Its subject is the pseudonym, and its ids follow from it, so that an erasure which was killed and is run again leaves
the same two records as one that was not. What was found is JSON in ``reason``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from millrace.bus.transport import Transport
from millrace.bus.types import OutRecord
from millrace.cli.erase_survey import Found
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, UnclearError
from millrace.contracts.events import AuditRecorded
from millrace.contracts.project import Project
from millrace.contracts.topics import AUDIT_EVENTS, topic_name

ACTION = "erase-subject"
LISTED_MAX = 2_000  # of one kind: a record has to stay below the size that the log takes
TRIES = 3

Phase = Literal["begun", "done"]


def evidence(
    project: Project, found: Found, phase: Phase, actor: str, reason: str, now_ms: int, more: Mapping[str, Any]
) -> AuditRecorded:
    """The audit record of a phase; ``more`` is what only this phase knows."""
    said = {"phase": phase, "reason": reason, "stream": project.stream, **more, "found": _short(asdict(found))}
    return AuditRecorded(
        audit_id=_id(project, found, phase),
        actor=actor,
        action=ACTION,
        subject=found.pseudonym,
        reason=json.dumps(said),
        caused_by=_id(project, found, "begun") if phase == "done" else None,
        recorded_at_ms=now_ms,
    )


def _id(project: Project, found: Found, phase: Phase) -> str:
    return f"erase/{project.stream}/{found.pseudonym}/{phase}"


def _short(value: Any) -> Any:
    """The same, without what is past the first so many of a list; how many there were is said instead."""
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        listed = [_short(one) for one in value[:LISTED_MAX]]
        return listed if len(value) <= LISTED_MAX else [*listed, f"and {len(value) - LISTED_MAX} more"]
    return value


async def record(transport: Transport, codec: Codec, project: Project, audit: AuditRecorded) -> bool:
    """Write the audit record unless one of its id is in the log; whether it was written now.

    The transactional id is the erasure's: of two who do the same, the second one fences the first and sees what it
    wrote. After an unclear commit the log is asked whether it happened.
    """
    await codec.prepare(project, AUDIT_EVENTS)
    topic = topic_name(AUDIT_EVENTS, project)
    out = OutRecord(topic, audit.actor.encode(), codec.encode(topic, audit))
    position, written = (await transport.bounds(topic, 0)).begin, False
    for _ in range(TRIES):
        producer = await transport.producer(f"millrace.erase.{project.stream}.{audit.subject}")
        try:
            position, found = await _find(transport, codec, topic, position, audit.audit_id)
            if found:
                return written
            written = True
            await producer.commit([out])
        except UnclearError:
            continue
        else:
            return True
        finally:
            await producer.close()
    raise BusError(f"{audit.audit_id} could not be written: the log does not answer clearly; run the command again")


async def _find(transport: Transport, codec: Codec, topic: str, start: int, audit_id: str) -> tuple[int, bool]:
    """Whether the record is in the log at or after ``start``; if not, how far the log goes."""
    end = (await transport.bounds(topic, 0)).end
    if start < end:
        async for batch in transport.read(topic, 0, start, end):
            for one in batch:
                if (await codec.decode(AuditRecorded, one.value)).audit_id == audit_id:
                    return start, True
    return end, False
