"""A person's request to train again, with the audit record that says who asked and why."""

from millrace.bus.transport import Transport
from millrace.bus.write_once import Message, write_once
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import AuditRecorded, RetrainModel


def requested(
    model: str, operator: str, reason: str, now_ms: int, request_id: str | None = None
) -> tuple[RetrainModel, AuditRecorded]:
    """The request and its audit record. The same arguments give the same ids."""
    request_id = request_id or f"retrain/{model}/operator/{operator}/{now_ms}"
    request = RetrainModel(
        request_id=request_id,
        model=model,
        reason="OPERATOR",
        caused_by=None,
        message=reason,
        since_time_ms=None,
        until=(),
        requested_by=operator,
        requested_at_ms=now_ms,
    )
    audit = AuditRecorded(
        audit_id=f"audit/{request_id}",
        actor=operator,
        action="retrain",
        subject=model,
        reason=reason,
        caused_by=request_id,
        recorded_at_ms=now_ms,
    )
    return request, audit


async def publish(transport: Transport, codec: Codec, request: RetrainModel, audit: AuditRecorded) -> None:
    """Write both in one transaction, exactly once.

    The transactional id is the operator's, so that two operators do not fence each other.
    """
    name = f"millrace.operator.{request.requested_by}.{request.model}"
    asked = Message(topics.RETRAIN_REQUESTS, request.model, request)
    await write_once(transport, codec, name, [asked, Message(topics.AUDIT_EVENTS, audit.actor, audit)])
