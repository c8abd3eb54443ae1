"""From event to prediction as one trace: ingest and serving on the memory bus, and a real collector."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import structlog

from millrace.bus.context import Context
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from millrace.telemetry.trace import HEADER, start
from services.ingest.shell import IngestService
from services.serving.shell import ServingService
from tests.onnx_models import classifier
from tests.serving.scene import deployment, part, rollout, write
from tests.support import EPOCH_MS, World, running, tiny_project, until
from tests.telemetry.collector import PATIENCE_S, CollectorServer, Seen, collecting

UPSTREAM = b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
UNSAMPLED = b"00-" + b"12" * 16 + b"-" + b"34" * 8 + b"-00"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """The tiny project on an empty log, with version 1 deployed."""
    made = await World.create(tiny_project(tmp_path / "project"))
    await write(made, deployment(made, 1, ArtifactStore(tmp_path / "artifacts").put(classifier())))
    return made


@pytest.fixture
def server() -> Iterator[CollectorServer]:
    """A real HTTP server on a free port."""
    with collecting() as made:
        yield made


async def send(world: World, *traceparents: bytes | None, first: int = 0) -> None:
    """Publish an event for each, with this header."""
    events = [await world.event(id=f"e{first + number}", at=EPOCH_MS + number) for number in range(len(traceparents))]
    records = [
        OutRecord("tiny-events", key.encode(), value, 0, () if context is None else ((HEADER, context),))
        for (key, value), context in zip(events, traceparents, strict=True)
    ]
    await (await world.transport().producer("test.upstream")).commit(records)


async def through(
    world: World, tmp_path: Path, server: CollectorServer | None, share: float, count: int, spans: int = 0
) -> None:
    """Run ingest and serving until there are so many predictions, and the collector has so many spans."""
    contexts: dict[str, Context] = {name: world.context(name) for name in ("ingest", "serving")}
    if server is not None:
        contexts = {name: replace(context, traces=server.traces(name)) for name, context in contexts.items()}
    ingest = IngestService(contexts["ingest"], max_records=50, trace_share=share)
    serving = ServingService(contexts["serving"], artifacts=str(tmp_path / "artifacts"), max_records=50)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(contexts["ingest"], ingest))
        await stack.enter_async_context(running(contexts["serving"], serving))
        await until(lambda: world.records(topics.PREDICTIONS), count)
        if server is not None:
            await until(lambda: seen(server), spans)
    for context in contexts.values():
        await asyncio.to_thread(context.traces.close, PATIENCE_S)


async def seen(server: CollectorServer) -> Sequence[Seen]:
    """What it has by now."""
    return server.spans


def of(spans: Sequence[Seen], name: str) -> list[Seen]:
    """The spans of that name, in the order of their offsets."""
    return sorted(
        (span for span in spans if span.name == name), key=lambda span: span.attributes["messaging.kafka.offset"]
    )


async def test_the_spans_of_an_event_are_one_trace(world: World, tmp_path: Path, server: CollectorServer) -> None:
    """Upstream's span is the parent of ingest's, that of serving's; the prediction's header names the last one."""
    await send(world, UPSTREAM)
    await through(world, tmp_path, server, 0.0, 1, spans=2)
    (ingest,), (predict,) = of(server.spans, "ingest tiny-events"), of(server.spans, "predict tiny")
    (sample,), (prediction,) = await world.records(topics.SAMPLES), await world.records(topics.PREDICTIONS)
    (said,) = await world.values(topics.PREDICTIONS)

    assert 2 == len(server.spans)
    assert {"ab" * 16} == {ingest.trace, predict.trace}
    assert ("cd" * 8, ingest.span) == (ingest.parent, predict.parent)
    assert f"00-{ingest.trace}-{ingest.span}-01".encode() == sample.header(HEADER)
    assert f"00-{predict.trace}-{predict.span}-01".encode() == prediction.header(HEADER)
    assert ("millrace-ingest", "millrace-serving") == (ingest.service, predict.service)
    assert ingest.start_ns <= ingest.end_ns <= predict.end_ns
    expected = {
        "messaging.system": "kafka", "messaging.destination.name": "tiny-samples", "messaging.kafka.offset": 0,
        "messaging.destination.partition.id": "0", "millrace.model": "tiny", "millrace.version": 1,
        "millrace.variant": "champion", "millrace.epoch": 1, "millrace.batch.rows": 1,
        "millrace.prediction.id": said["prediction_id"],
    }  # fmt: skip
    assert expected.items() <= predict.attributes.items()


async def test_only_sampled_events_have_spans(world: World, tmp_path: Path, server: CollectorServer) -> None:
    """Those of the share, whose trace begins here, and those that upstream samples; not those that it does not."""
    share = 0.3
    places = [f"tiny-events/0/{offset}" for offset in range(12)]
    sampled = [offset for offset in range(12) if offset == 3 or (offset != 5 and start(places[offset], share))]
    await send(world, *[{3: UPSTREAM, 5: UNSAMPLED}.get(number) for number in range(12)])
    await through(world, tmp_path, server, share, 12, spans=2 * len(sampled))
    ingest, predict = of(server.spans, "ingest tiny-events"), of(server.spans, "predict tiny")

    assert 3 < len(sampled) < 11
    assert sampled == [span.attributes["messaging.kafka.offset"] for span in ingest]
    assert [(span.trace, span.span) for span in ingest] == [(span.trace, span.parent) for span in predict]
    assert ["cd" * 8] == [span.parent for span in ingest if span.parent]


async def test_a_span_names_who_answered(world: World, tmp_path: Path, server: CollectorServer) -> None:
    """In a rollout that splits the events each span has the variant and the version of its prediction."""
    digest = ArtifactStore(tmp_path / "artifacts").put(classifier(flipped=True))
    champion = (await world.values(topics.DEPLOYMENTS))[0]["traffic"][0]["artifact_sha256"]
    parts = part(world, champion, 1, 0.5), part(world, digest, 2, 0.5, variant="b")
    await write(world, rollout(2, *parts, strategy="ab", unit="event"))
    await send(world, *[None] * 12)
    await through(world, tmp_path, server, 1.0, 12, spans=24)
    predictions = {one["prediction_id"]: one for one in await world.values(topics.PREDICTIONS)}
    predict = of(server.spans, "predict tiny")

    assert 12 == len(predict)
    assert {1, 2} == {span.attributes["millrace.version"] for span in predict}
    for span in predict:
        said = predictions[span.attributes["millrace.prediction.id"]]
        assert (said["version"], said["variant"]) == (
            span.attributes["millrace.version"], span.attributes["millrace.variant"],
        )  # fmt: skip


async def test_nothing_is_exported_when_unconfigured(world: World, tmp_path: Path) -> None:
    """Contexts are carried all the same; there is no thread, and no span is made."""
    context = world.context()
    await send(world, UPSTREAM)
    await through(world, tmp_path, None, 0.0, 1)
    (prediction,) = await world.records(topics.PREDICTIONS)

    assert (False, None) == (context.traces.on, context.traces._thread)
    assert prediction.header(HEADER).startswith(b"00-" + b"ab" * 16)


async def test_a_dead_collector_holds_no_event_up(world: World, tmp_path: Path, server: CollectorServer) -> None:
    """Every event is predicted while it hangs."""
    server.go_on.clear()
    await send(world, *[UPSTREAM] * 30)
    contexts = {name: replace(world.context(name), traces=server.traces(name)) for name in ("ingest", "serving")}
    ingest = IngestService(contexts["ingest"], max_records=5, trace_share=1.0)
    serving = ServingService(contexts["serving"], artifacts=str(tmp_path / "artifacts"), max_records=5)
    async with running(contexts["ingest"], ingest), running(contexts["serving"], serving):
        await until(lambda: world.records(topics.PREDICTIONS), 30)
        assert await asyncio.to_thread(server.asked.wait, PATIENCE_S)
        await send(world, *[UPSTREAM] * 30, first=30)
        await until(lambda: world.records(topics.PREDICTIONS), 60)
    for context in contexts.values():
        await asyncio.to_thread(context.traces.close, 0.1)


async def test_latencies_have_a_trace_for_an_example(world: World, tmp_path: Path) -> None:
    """Who accepts OpenMetrics gets exemplars, on the buckets of sampled events; the text format has none."""
    await send(world, UPSTREAM, None)
    await through(world, tmp_path, None, 0.0, 2)
    app = build_app("test", dict)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        openmetrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        text = await client.get("/metrics")
    with_example = [line for line in openmetrics.text.splitlines() if f'# {{trace_id="{"ab" * 16}"}}' in line]

    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")
    assert {
        "millrace_event_to_sample_seconds_bucket", "millrace_event_to_prediction_seconds_bucket",
        "millrace_batch_seconds_bucket",
    } == {line.partition("{")[0] for line in with_example}  # fmt: skip
    assert "trace_id" not in text.text


async def test_the_log_names_the_trace_of_a_dead_letter(world: World, tmp_path: Path) -> None:
    """Where the event is sampled; nothing is said of a trace where it is not."""
    bad = OutRecord("tiny-events", b"w", b"not avro", 0, ((HEADER, UPSTREAM),))
    await (await world.transport().producer("test.bad")).commit([bad])
    await send(world, None)
    with structlog.testing.capture_logs() as lines:
        await through(world, tmp_path, None, 0.0, 1)
    (line,) = [line for line in lines if line["event"] == "dead letters"]

    assert "ab" * 16 == line["trace_id"]
