"""The schema registry's client against the real registry, and against servers that misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.errors import (
    IncompatibleSchemaError,
    ProjectError,
    RegistryUnavailableError,
    UndecodableError,
    UnknownSchemaError,
)
from millrace.contracts.events import LabelObserved
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.schemas import Level

LABEL = schemas.load("label-observed")
Ask = Callable[[SchemaRegistry], Awaitable[object]]
QUESTIONS: list[Ask] = [
    lambda registry: registry.register("a-value", LABEL),
    lambda registry: registry.schema_by_id(7),
    lambda registry: registry.set_compatibility("a-value", "FULL_TRANSITIVE"),
    lambda registry: registry.latest("a-value"),
    lambda registry: registry.check_compatibility("a-value", LABEL),
    lambda registry: registry.versions("a-value"),
    lambda registry: registry.level("a-value"),
]


def changed(kind: Any) -> dict[str, Any]:
    """The label's schema with another type of label."""
    schema = schemas.load("label-observed")
    schema["fields"][1]["type"] = kind
    return schema


@pytest.fixture
async def registry(broker: Any) -> AsyncIterator[SchemaRegistry]:
    """A client of the embedded registry."""
    async with SchemaRegistry(broker.schema_registry_url) as client:
        yield client


@pytest.mark.broker
async def test_register_is_idempotent_and_found_by_id(registry: SchemaRegistry) -> None:
    """The same schema has one id, under every subject, and comes back word for word: docs and units too."""
    first = await registry.register("idempotent-value", LABEL)

    assert first == await registry.register("idempotent-value", LABEL)
    assert first == await registry.register("idempotent-too-value", LABEL)
    assert await registry.schema_by_id(first) == LABEL
    assert await registry.latest("idempotent-value") == LABEL


@pytest.mark.broker
async def test_unknown_ids_are_the_records_fault(registry: SchemaRegistry) -> None:
    """Small ones, and the largest that four bytes can hold."""
    for schema_id in (999_999, 2**32 - 1):
        with pytest.raises(UnknownSchemaError, match=str(schema_id)):
            await registry.schema_by_id(schema_id)


@pytest.mark.broker
async def test_a_level_set_before_the_first_version_holds(registry: SchemaRegistry) -> None:
    """The second version is refused; the error names the field and the way out, and nothing has changed."""
    await registry.set_compatibility("strict-value", "FULL_TRANSITIVE")
    await registry.register("strict-value", LABEL)

    with pytest.raises(IncompatibleSchemaError, match=r"strict-value .*field label: .*Way out") as caught:
        await registry.register("strict-value", changed("boolean"))
    assert caught.value.retryable is False
    assert await registry.latest("strict-value") == LABEL


@pytest.mark.broker
async def test_levels_differ(registry: SchemaRegistry) -> None:
    """Removing a field is fine for new readers (BACKWARD), and breaks old ones (FULL)."""
    less = schemas.load("label-observed")
    less["fields"].pop()
    levels: dict[str, Level] = {"back-value": "BACKWARD_TRANSITIVE", "full-value": "FULL_TRANSITIVE"}
    for subject, level in levels.items():
        await registry.set_compatibility(subject, level)
        await registry.register(subject, LABEL)

    assert await registry.check_compatibility("back-value", less) == []
    (said,) = await registry.check_compatibility("full-value", less)
    assert said.startswith("version 1: field label_time_ms: expected by the reader but not written; keep it as it was")


@pytest.mark.broker
async def test_transitive_looks_at_every_version(registry: SchemaRegistry) -> None:
    """The newest version alone would allow it; the first does not."""
    add = {"name": "note", "type": "string", "doc": "Note.", "default": ""}
    demand = {"name": "note", "type": "string", "doc": "Note."}
    second, third = schemas.load("label-observed"), schemas.load("label-observed")
    second["fields"].append(add)
    third["fields"].append(demand)
    await registry.set_compatibility("history-value", "BACKWARD_TRANSITIVE")
    await registry.register("history-value", LABEL)
    await registry.register("history-value", second)

    with pytest.raises(
        IncompatibleSchemaError, match=r"BACKWARD_TRANSITIVE: version 1: field note: expected .*; give it a default"
    ):
        await registry.register("history-value", third)


@pytest.mark.broker
async def test_a_level_is_the_subjects_or_else_the_registrys(registry: SchemaRegistry) -> None:
    """Also of a subject that does not exist; its versions are then none."""
    await registry.register("plain-value", LABEL)

    assert await registry.level("plain-value") == await registry.level("never-seen-value") == "NONE"
    await registry.set_compatibility("plain-value", "FULL_TRANSITIVE")
    assert await registry.level("plain-value") == "FULL_TRANSITIVE"
    assert await registry.versions("plain-value") == {1: LABEL}
    assert await registry.versions("never-seen-value") == {}


BID: dict[str, Any] = {
    "type": "record",
    "name": "Bid",
    "fields": [
        {"name": "price", "type": "double"},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
    ],
}
SIDES = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL", "HOLD"]}


@pytest.mark.broker
@pytest.mark.parametrize(
    ("price", "side", "said"),
    [
        ({"type": "string"}, {}, "versions 1, 2: field price: type changed from double to string; keep double"),
        ({"type": "int"}, {}, "versions 1, 2: field price: type changed from double to int; keep double: numbers may"),
        ({"name": "cost"}, {}, "versions 1, 2: field cost: expected by the reader but not written; give it a default"),
        (
            {},
            {"type": SIDES | {"symbols": ["SELL", "BUY"]}},
            "version 2: field side: the reader's enum lacks HOLD and has no default symbol; put HOLD back",
        ),
        ({}, {"type": SIDES | {"name": "Way"}}, "versions 1, 2: field side: enum renamed from Side to Way without an"),
    ],
    ids=["type", "narrowed", "renamed", "symbol", "name"],
)
async def test_a_409_is_explained(registry: SchemaRegistry, price: Any, side: Any, said: str, request: Any) -> None:
    """By version, field, both types and the way out, wherever the registry itself refuses a change."""
    subject = f"explained-{request.node.callspec.id}-value"
    second = {**BID, "fields": [BID["fields"][0], BID["fields"][1] | {"type": SIDES}]}
    third = {**BID, "fields": [BID["fields"][0] | price, second["fields"][1] | side]}
    await registry.set_compatibility(subject, "BACKWARD_TRANSITIVE")
    await registry.register(subject, BID)
    await registry.register(subject, second)

    with pytest.raises(IncompatibleSchemaError) as caught:
        await registry.register(subject, third)
    assert str(caught.value).startswith(
        f"{subject} cannot take this schema, because its level is BACKWARD_TRANSITIVE: {said}"
    )


@pytest.mark.broker
async def test_a_new_subject_has_no_latest_and_takes_anything(registry: SchemaRegistry) -> None:
    """Nothing is not an error."""
    assert await registry.latest("never-seen-value") is None
    assert await registry.check_compatibility("never-seen-value", LABEL) == []


@pytest.mark.broker
async def test_what_is_no_schema_is_the_projects_fault(registry: SchemaRegistry) -> None:
    """The registry's 422 becomes an error that its owner can act on."""
    with pytest.raises(ProjectError, match="wrong-value"):
        await registry.register("wrong-value", {"type": "rekord"})


@pytest.mark.broker
async def test_subjects_are_quoted(registry: SchemaRegistry) -> None:
    """A slash in a subject is no path."""
    await registry.register("odd/name value", LABEL)

    assert await registry.latest("odd/name value") == LABEL


@pytest.mark.broker
async def test_confluents_own_client_understands_us(registry: SchemaRegistry, broker: Any) -> None:
    """Its serializer's bytes are an event to us, its deserializer reads ours: ids and framing are the standard's."""
    from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    codec = Codec(registry)
    await codec.prepare_topic("theirs", LABEL)
    label = LabelObserved(event_id="a", label="up", label_time_ms=831427200000)
    context = SerializationContext("theirs", MessageField.VALUE)

    def theirs() -> tuple[bytes, dict[str, Any]]:
        with SchemaRegistryClient({"url": broker.schema_registry_url}) as client:
            conf = {"subject.name.strategy": topic_subject_name_strategy}
            written = AvroSerializer(client, json.dumps(LABEL), conf=conf)(label.to_record(), context)
            return written, AvroDeserializer(client)(codec.encode("theirs", label), context)

    written, read = await asyncio.to_thread(theirs)

    assert label == await codec.decode(LabelObserved, written)
    assert read["label_time_ms"].timestamp() == 831427200


@asynccontextmanager
async def serve(answer: bytes, delay_s: float = 0.0) -> AsyncIterator[str]:
    """A server that answers every request with these bytes, after a while; gives its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay_s)
            writer.write(answer)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/apis"


def http(status: str, body: Any, kind: str = "application/json") -> bytes:
    """An HTTP answer."""
    text = body if isinstance(body, str) else json.dumps(body)
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return (head + text).encode()


ANSWERED = {"200 empty": (2,), "200 list": (5,)}  # where that is an answer: a level was set, there are no versions
NO_ANSWERS = {
    "500": http("500 Internal Server Error", {"error_code": 50001, "message": "store"}),
    "503 page": http("503 Unavailable", "<html>", "text/html"),
    "200 page": http("200 OK", "<html>log in</html>", "text/html"),
    "200 list": http("200 OK", []),
    "200 empty": http("200 OK", {}),
    "401": http("401 Unauthorized", {"error_code": 401, "message": "who are you"}),
    "429": http("429 Too Many Requests", {"message": "slower"}),
    "wrong path": http("404 Not Found", {"status": 404, "message": "HTTP 404 Not Found"}),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "no http": b"hello\r\n\r\n",
    "hang up": b"",
}


@pytest.mark.parametrize("case", NO_ANSWERS)
async def test_no_answer_is_retryable(case: str) -> None:
    """Whatever is not an answer decides nothing, for each question; and the password is not in the message."""
    async with serve(NO_ANSWERS[case]) as url, SchemaRegistry(url, 5.0) as registry:
        answered = ANSWERED.get(case, ())
        for ask in (question for place, question in enumerate(QUESTIONS) if place not in answered):
            with pytest.raises(RegistryUnavailableError) as caught:
                await ask(registry)
            assert caught.value.retryable
            assert "secret" not in str(caught.value)


async def test_a_slow_registry_is_given_up() -> None:
    """The time limit is for the whole call."""
    async with serve(http("200 OK", {"id": 1}), delay_s=1.0) as url, SchemaRegistry(url, 0.05) as registry:
        with pytest.raises(RegistryUnavailableError, match="Timeout"):
            await registry.register("a-value", LABEL)


async def test_nobody_listens() -> None:
    """A refused connection is no answer either."""
    async with SchemaRegistry("http://127.0.0.1:1", 1.0) as registry:
        with pytest.raises(RegistryUnavailableError, match="ConnectError"):
            await registry.schema_by_id(1)


async def test_unknown_is_forgotten_and_known_is_kept() -> None:
    """An id may become known a moment later; from then on it is never asked for again."""
    async with serve(http("404 Not Found", {"error_code": 40403, "message": "no"})) as url:
        registry = SchemaRegistry(url, 5.0)
        for _ in range(2):
            with pytest.raises(UnknownSchemaError):
                await registry.schema_by_id(7)
        await registry.aclose()
    async with serve(http("200 OK", {"schema": json.dumps(LABEL)})) as url:
        registry = SchemaRegistry(url, 5.0)
        assert await registry.schema_by_id(7) == LABEL
    assert await registry.schema_by_id(7) == LABEL, "the server is gone, the answer is not"
    await registry.aclose()


async def test_other_kinds_of_schema_are_undecodable() -> None:
    """A record written with a Protobuf schema is not ours to read; a bare Avro type is no event."""
    for schema in ('"string"', '["null", "string"]', 'syntax = "proto3"; message A {}'):
        async with serve(http("200 OK", {"schema": schema})) as url, SchemaRegistry(url, 5.0) as registry:
            with pytest.raises(UndecodableError):
                await Codec(registry).decode_record(b"\x00\x00\x00\x00\x07\x02a")
