"""``millrace retrain``: the request and its audit record, together and once."""

import asyncio
import json
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import Record
from millrace.cli.prepare import command as prepare
from millrace.cli.retrain import command
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError
from millrace.contracts.events import AuditRecorded, RetrainModel
from millrace.contracts.registry_client import SchemaRegistry
from millrace.operating.retrain import publish, requested
from tests.conftest import Broker
from tests.support import EPOCH_MS, World, tiny_project


def test_the_same_request_has_the_same_ids() -> None:
    """Model, operator and time name it; the audit record points to it."""
    request, audit = requested("tiny", "ada", "new sensors", EPOCH_MS)

    assert (request, audit) == requested("tiny", "ada", "new sensors", EPOCH_MS)
    assert f"retrain/tiny/operator/ada/{EPOCH_MS}" == request.request_id == audit.caused_by
    assert ("OPERATOR", "ada", "new sensors") == (request.reason, request.requested_by, request.message)


@pytest.mark.parametrize("faults", [[], ["lost"], ["unanswered"], ["lost", "unanswered"], ["lost", "lost"]])
async def test_both_are_written_once_however_commits_end(
    tmp_path: Path, faults: list[Literal["lost", "unanswered"]]
) -> None:
    """After a commit without a clear answer the log decides whether to write again."""
    world = await World.create(tiny_project(tmp_path))
    request, audit = requested("tiny", "ada", "new sensors", EPOCH_MS)
    for fault in faults:
        world.log.fail_next_commit(fault)

    await publish(world.transport(), Codec(world.schemas), request, audit)

    written = await world.values(topics.RETRAIN_REQUESTS)
    assert [request] == [RetrainModel.model_validate(value) for value in written]
    assert [audit.model_dump()] == await world.values(topics.AUDIT_EVENTS)
    assert [b"tiny"] == [record.key for record in await world.records(topics.RETRAIN_REQUESTS)]


async def test_a_log_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """The operator is told, and nothing was written."""
    world = await World.create(tiny_project(tmp_path))
    request, audit = requested("tiny", "ada", "new sensors", EPOCH_MS)
    for _ in range(3):
        world.log.fail_next_commit("lost")

    with pytest.raises(BusError, match="could not be written"):
        await publish(world.transport(), Codec(world.schemas), request, audit)

    assert [] == await world.values(topics.RETRAIN_REQUESTS)


@pytest.mark.broker
def test_the_command_asks_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """Prepared with ``millrace prepare``; what was printed is what stands in the log."""
    tiny_project(tmp_path, stream="asked", model="asked")
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()

    prepared = json.loads(runner.invoke(prepare, [str(tmp_path), *at, "--json"], catch_exceptions=False).output)
    answer = runner.invoke(command, [str(tmp_path), "--reason", "seen drift", *at, "--json"], catch_exceptions=False)
    words = runner.invoke(command, [str(tmp_path), "--reason", "again", *at], catch_exceptions=False)

    request = RetrainModel.model_validate_json(answer.output)
    requests, audits = asyncio.run(_written(broker))
    assert "asked-events" in prepared["topics"]
    assert "Asked for a retrain of asked: retrain/asked/operator/" in words.output
    assert [request, "again"] == [requests[0], requests[1].message]
    assert [f"audit/{one.request_id}" for one in requests] == [audit.audit_id for audit in audits]


async def _written(broker: Broker) -> tuple[list[RetrainModel], list[AuditRecorded]]:
    """The requests for the model, and the audit records about it."""
    transport = KafkaTransport(broker.bootstrap_servers, "test")
    async with SchemaRegistry(broker.schema_registry_url) as registry:
        codec = Codec(registry)
        requests = [await codec.decode(RetrainModel, one.value) for one in await _read(transport, "retrain-requests")]
        audits = [await codec.decode(AuditRecorded, one.value) for one in await _read(transport, "audit-events")]
    await transport.close()
    return [one for one in requests if one.model == "asked"], [one for one in audits if one.subject == "asked"]


async def _read(transport: KafkaTransport, topic: str) -> list[Record]:
    begin, end = await transport.bounds(topic, 0)
    return [record async for batch in transport.read(topic, 0, begin, end) for record in batch]
