"""TLS and SASL: what is set reaches every client that a process opens, Faust's too."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from millrace.bus.kafka import KafkaTransport
from millrace.bus.streams import CLIENT_OPTIONS, _credentials
from millrace.bus.types import Record
from millrace.contracts.errors import BusError
from millrace.local.embedded import start_embedded
from millrace.local.ports import HOST, PortBook
from tests.transports import PATIENCE_S, Listener, fetch_all, fresh, topic, write

PASSWORD = "millrace-secret"
JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="millrace" password="{PASSWORD}" user_millrace="{PASSWORD}";'
)
SASL: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "millrace",
    "sasl_plain_password": PASSWORD,
}
CONTEXT = ssl.create_default_context()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """Where a broker lets nobody in without a password. It has an open door too, for the platform's own question."""
    folder = tmp_path / "platform"
    ports = PortBook(folder / "ports.json").choose(("kafka", "kafka-controller", "guarded"))
    doors = {"PLAINTEXT": ports["kafka"], "GUARDED": ports["guarded"], "CONTROLLER": ports["kafka-controller"]}
    listeners = [f"{name}://{HOST}:{port}" for name, port in doors.items()]
    settings = {
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(listeners[:2]),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": JAAS,
    }
    with start_embedded(folder, kafka_overrides=settings):
        yield f"{HOST}:{ports['guarded']}"


@pytest.mark.broker
@pytest.mark.slow
async def test_every_client_gives_the_password(guarded: str) -> None:
    """Administrator, producer, member, reader and subscription work; without the password nothing does."""
    transport = KafkaTransport(guarded, "test", client_options=SASL)
    name = await topic(transport)
    await write(transport, name, [b"0"])
    member = await transport.join(fresh("group"), [name], Listener())
    member.seek(name, 0, 0)
    fetched = await fetch_all(member, 0, [name], 1)
    handed: asyncio.Future[Record] = asyncio.get_running_loop().create_future()

    async def handle(record: Record) -> None:
        handed.set_result(record)

    task = asyncio.create_task(transport.subscribe(fresh("group"), [name], handle))
    await asyncio.wait([task, handed], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    assert handed.done(), task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await transport.close()
    stranger = KafkaTransport(guarded, "test", call_timeout_ms=1000, close_timeout_ms=500)
    with pytest.raises(BusError):
        await stranger.bounds(name, 0)
    await stranger.close()

    assert fetched == [handed.result()]


@pytest.mark.parametrize(
    "options",
    [
        {"security_protocol": "PLAINTEXT"},
        {"security_protocol": "SSL", "ssl_context": CONTEXT},
        {**SASL, "ssl_context": None},
        {**SASL, "security_protocol": "SASL_SSL", "ssl_context": CONTEXT, "sasl_mechanism": "SCRAM-SHA-512"},
    ],
    ids=["plaintext", "ssl", "sasl", "sasl-ssl"],
)
def test_faust_passes_the_same_on(options: dict[str, Any]) -> None:
    """What Faust gives to its aiokafka clients is what the others are given."""
    assert options == credentials_to_aiokafka_auth(_credentials(options), None)


def test_what_faust_cannot_be_told_is_refused() -> None:
    """When the transport is made, naming what can be told."""
    with pytest.raises(ValueError, match=r"\['metadata_max_age_ms'\].*ssl_context"):
        KafkaTransport("127.0.0.1:1", "test", client_options={"metadata_max_age_ms": 1})

    assert set(SASL) | {"ssl_context"} == CLIENT_OPTIONS
