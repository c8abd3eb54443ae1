"""``millrace retrain``: an operator's request to train again, with the audit record that says who asked and why."""

import asyncio
import getpass
from pathlib import Path

import click

from millrace.bus.transport import Transport
from millrace.bus.types import OutRecord
from millrace.cli.options import address_options, json_option, project_argument
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, UnclearError
from millrace.contracts.events import AuditRecorded, Event, RetrainModel
from millrace.contracts.project import Project
from millrace.contracts.topics import AUDIT_EVENTS, RETRAIN_REQUESTS, topic_name

TRIES = 3


@click.command("retrain")
@project_argument
@click.option("--reason", metavar="TEXT", required=True, help="Why, in words; kept in the audit log for ever.")
@address_options
@json_option
def command(
    project: Path, reason: str, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """Ask for a retrain of PROJECT's model on its newest rows.

    The trainer answers as soon as it is free. Whether the result is deployed is decided by the gates, as always.
    """
    from millrace.bus.clock import SystemClock

    operator, now_ms = getpass.getuser(), SystemClock().now_ms()

    async def ask() -> RetrainModel:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            request, audit = requested(clients.project.model, operator, reason, now_ms)
            await publish(clients.transport, clients.codec, clients.project, request, audit)
            return request

    request = asyncio.run(ask())
    if as_json:
        click.echo(request.model_dump_json())
    else:
        click.echo(f"Asked for a retrain of {request.model}: {request.request_id}")
        click.echo("Follow it: millrace models shows the version that comes of it, and why it serves or not.")


def requested(model: str, operator: str, reason: str, now_ms: int) -> tuple[RetrainModel, AuditRecorded]:
    """The request and its audit record. The same arguments give the same ids."""
    request_id = f"retrain/{model}/operator/{operator}/{now_ms}"
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


async def publish(
    transport: Transport, codec: Codec, project: Project, request: RetrainModel, audit: AuditRecorded
) -> None:
    """Write both in one transaction, exactly once.

    The transactional id is the operator's, so that two operators do not fence each other. After an unclear commit the
    log is asked whether it happened.
    """
    await codec.prepare(project, RETRAIN_REQUESTS, AUDIT_EVENTS)
    messages: tuple[tuple[str, str, Event], ...] = (
        (topic_name(RETRAIN_REQUESTS, project), request.model, request),
        (topic_name(AUDIT_EVENTS, project), audit.actor, audit),
    )
    records = [OutRecord(topic, key.encode(), codec.encode(topic, event)) for topic, key, event in messages]
    start = (await transport.bounds(records[0].topic, 0)).end
    for _ in range(TRIES):
        producer = await transport.producer(f"millrace.operator.{request.requested_by}.{request.model}")
        try:
            if not await _is_written(transport, records[0], start):
                await producer.commit(records)
        except UnclearError:
            continue
        else:
            return
        finally:
            await producer.close()
    raise BusError(f"{request.request_id} could not be written: the log does not answer clearly; try again later")


async def _is_written(transport: Transport, record: OutRecord, start: int) -> bool:
    """Whether the record is in the log at or after ``start``."""
    _, end = await transport.bounds(record.topic, 0)
    if start >= end:
        return False
    return any(
        [found.value == record.value async for batch in transport.read(record.topic, 0, start, end) for found in batch]
    )
