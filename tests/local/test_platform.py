"""The real thing: Kafka and the schema registry start, keep what they were given, and answer this machine only."""

import asyncio
import http.client
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from millrace.local.embedded import start_embedded
from millrace.local.errors import DataFolderInUseError, ProcessFailedError
from millrace.local.platform import CONSOLE, SERVICES, Platform
from millrace.local.probe import http_get
from millrace.local.runfile import running
from millrace.local.supervisor import BackOff, Change

PATIENCE_S = 60
# So many, one after the other and then killed, that with H2's own delay the last ones were lost (28 of 30 were kept).
SCHEMAS = 30

# A service that shows its environment at /env and answers /readyz.
SERVICE = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({k: v for k, v in os.environ.items() if k[:9] in ("MILLRACE_", "PYTHONUNB")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
address = os.environ["MILLRACE_HTTP_HOST"], int(os.environ["MILLRACE_HTTP_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
"""


def service(_name: str) -> tuple[str, ...]:
    """A stand-in for every service."""
    return (sys.executable, "-c", SERVICE)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition is about other processes
            await asyncio.sleep(0.02)


def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    """Write values with a client that is not ours, and wait until the broker has them."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "message.timeout.ms": PATIENCE_S * 1000})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(PATIENCE_S) == 0


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    """Read values from the beginning."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [message.value() for message in consumer.consume(count, timeout=PATIENCE_S)]
    consumer.close()
    return values


def schema(number: int) -> Schema:
    """A schema like no other."""
    return Schema(json.dumps({"type": "record", "name": f"R{number}", "fields": []}), "AVRO")


def registered_ids(url: str) -> dict[str, int | None]:
    """The id of the latest schema of every subject."""
    with SchemaRegistryClient({"url": url}) as client:
        return {subject: client.get_latest_version(subject).schema_id for subject in client.get_subjects()}


def addresses(pid: int) -> set[str]:
    """The addresses on which a process listens."""
    listening = (
        each.laddr for each in psutil.Process(pid).net_connections("inet") if each.status == psutil.CONN_LISTEN
    )
    return {address.ip.removeprefix("::ffff:") for address in listening}


@pytest.mark.broker
@pytest.mark.slow
def test_broker_and_registry_keep_their_data(tmp_path: Path) -> None:
    """Write, kill both without warning, read what the restarted ones have; stop and start everything, read again."""
    with start_embedded(tmp_path) as embedded:
        first = (embedded.bootstrap_servers, embedded.schema_registry_url)
        admin = AdminClient({"bootstrap.servers": first[0]})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(PATIENCE_S)
        produce(first[0], "kept", [b"1", b"2"])
        for state in embedded.processes().values():
            assert addresses(state.pid or 0) == {"127.0.0.1"}
        with SchemaRegistryClient({"url": first[1]}) as client:
            ids = {f"s{number}": client.register_schema(f"s{number}", schema(number)) for number in range(SCHEMAS)}
        for state in embedded.processes().values():
            psutil.Process(state.pid).kill()
        asyncio.run(until(lambda: all(now.ready and now.restarts == 1 for now in embedded.processes().values())))

        assert consume(first[0], "kept", 2) == [b"1", b"2"]
        assert registered_ids(first[1]) == ids

    with start_embedded(tmp_path) as embedded:
        assert first == (embedded.bootstrap_servers, embedded.schema_registry_url)
        assert consume(first[0], "kept", 2) == [b"1", b"2"]
        assert registered_ids(first[1]) == ids


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[tuple[Platform, list[Change]]]:
    """A platform with stand-in services on a broker and registry that somebody else runs."""
    changes: list[Change] = []

    async def on_change(change: Change) -> None:
        changes.append(change)

    platform = Platform(
        tmp_path / "data", project=tmp_path, bootstrap_servers="kafka:1", schema_registry_url="http://registry:2",
        command=service, on_change=on_change, back_off=BackOff(first_s=0.01),
    )  # fmt: skip
    async with platform:
        yield platform, changes


async def test_services_get_their_environment(platform: tuple[Platform, list[Change]], tmp_path: Path) -> None:
    """Addresses, project, data folder and a port of its own reach every service; the console is told all of them."""
    started, _changes = platform
    info = started.info()

    assert list(started.processes()) == list(info.services) == [*SERVICES, CONSOLE]
    told = {"MILLRACE_CONSOLE_SERVICES": json.dumps({name: info.services[name].url for name in SERVICES})}
    for name, service_info in info.services.items():
        status, body = await asyncio.to_thread(http_get, f"{service_info.url}/env")
        assert status == http.client.OK
        assert json.loads(body) == {
            "MILLRACE_BOOTSTRAP_SERVERS": "kafka:1",
            "MILLRACE_SCHEMA_REGISTRY_URL": "http://registry:2",
            "MILLRACE_PROJECT": str(tmp_path),
            "MILLRACE_DATA": str(tmp_path / "data"),
            "MILLRACE_HTTP_HOST": "127.0.0.1",
            "MILLRACE_HTTP_PORT": service_info.url.rpartition(":")[2],
            "PYTHONUNBUFFERED": "1",
            "MILLRACE_RESTARTS": "0",
            **(told if name == CONSOLE else {}),
        }


async def test_the_run_file_follows_a_restart(platform: tuple[Platform, list[Change]]) -> None:
    """After a kill the run file has the new process id and the count, under the same address."""
    started, changes = platform
    before = running(started.data)
    assert before is not None
    psutil.Process(before.services["serving"].pid).kill()
    await until(lambda: changes and changes[-1].what == "ready")
    after = running(started.data)

    assert after == started.info()
    assert after.services["serving"].restarts == 1
    assert after.services["serving"].pid != before.services["serving"].pid
    assert after.services["serving"].url == before.services["serving"].url


async def test_one_platform_per_data_folder(platform: tuple[Platform, list[Change]]) -> None:
    """A second one is refused, and the first keeps its run file."""
    started, _changes = platform
    with pytest.raises(DataFolderInUseError, match="is in use by process"):
        await Platform(started.data, bootstrap_servers="kafka:1", schema_registry_url="http://registry:2").start()

    assert running(started.data) == started.info()


async def test_prepare_comes_before_the_services(tmp_path: Path) -> None:
    """The hook gets the addresses and the project; when it fails, nothing was started and the folder is free."""
    seen: list[tuple[str, str, Path]] = []

    async def prepare(bootstrap_servers: str, schema_registry_url: str, project: Path) -> None:
        seen.append((bootstrap_servers, schema_registry_url, project))
        assert not failing.processes()
        raise ProcessFailedError("x", "failed on purpose", tmp_path, "")

    failing = Platform(
        tmp_path / "data", project=tmp_path, bootstrap_servers="k:1", schema_registry_url="http://r:2",
        command=service, prepare=prepare,
    )  # fmt: skip
    with pytest.raises(ProcessFailedError, match="on purpose"):
        await failing.start()

    assert seen == [("k:1", "http://r:2", tmp_path)]
    assert running(tmp_path / "data") is None
    assert not (tmp_path / "data" / "run.json").exists()
