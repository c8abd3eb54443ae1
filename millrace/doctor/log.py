"""The log: broker, schema registry, the project's topics, and what comes in."""

from collections.abc import AsyncIterator

from millrace.bus.deadletter import why
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import MillraceError
from millrace.contracts.project import Project
from millrace.contracts.topics import TopicRow, specs, topic_name
from millrace.doctor.finding import Finding, well

LETTERS_READ = 1_000  # the newest ones
DAY_MS = 24 * 3600 * 1000
PREPARE = "millrace prepare PROJECT creates what is missing; millrace up does it by itself"


async def check_log(project: Project, transport: Transport, codec: Codec, now_ms: int) -> AsyncIterator[Finding]:
    """Each topic with its partitions, the schemas, how old the newest event and label are, and what was refused."""
    missing = []
    for spec in specs(project):
        try:
            for partition in range(spec.partitions):
                await transport.bounds(spec.name, partition)
        except MillraceError as error:
            missing.append(spec.name)
            if len(missing) == 1:
                yield Finding("topics", "trouble", f"{spec.name} cannot be read: {error}", PREPARE)
    if missing:
        return
    yield well(
        "topics", f"all {len(list(specs(project)))} are there, with {project.partitions} partitions for the stream"
    )
    try:
        await codec.prepare(project, topics.EVENTS, topics.SAMPLES, topics.PREDICTIONS)
    except MillraceError as error:
        yield Finding("schemas", "trouble", str(error), PREPARE)
    else:
        yield well("schemas", "the registry has them")
    yield await _arrivals(project, transport, topics.EVENTS, now_ms)
    yield await _arrivals(project, transport, topics.LABELS, now_ms)
    yield await _letters(project, transport, now_ms)


async def newest(project: Project, transport: Transport, row: TopicRow) -> tuple[Record | None, int]:
    """The newest record of a topic by its log time, and how many there are in all."""
    topic, found, count = topic_name(row, project), None, 0
    for partition in range(row.partitions or project.partitions):
        begin, end = await transport.bounds(topic, partition)
        count += end - begin
        async for records in transport.read(topic, partition, max(begin, end - 10), end):
            for record in records:
                if found is None or record.timestamp_ms > found.timestamp_ms:
                    found = record
    return found, count


async def _arrivals(project: Project, transport: Transport, row: TopicRow, now_ms: int) -> Finding:
    topic = topic_name(row, project)
    record, count = await newest(project, transport, row)
    if record is None:
        mend = f"send some: millrace publish PROJECT, or any Kafka producer to {topic}"
        return Finding(row.suffix, "warning", f"{topic} is empty", mend)
    age = _age(now_ms - record.timestamp_ms)
    if now_ms - record.timestamp_ms > DAY_MS:
        mend = "if they should come all the time, look at whoever sends them"
        return Finding(row.suffix, "warning", f"the newest of {count} in {topic} came {age} ago", mend)
    return well(row.suffix, f"the newest of {count} in {topic} came {age} ago")


async def _letters(project: Project, transport: Transport, now_ms: int) -> Finding:
    """How many records were refused within a day, among the newest thousand, and for what."""
    topic, reasons = topic_name(topics.DEAD_LETTERS, project), dict[str, int]()
    for partition in range(project.partitions):
        begin, end = await transport.bounds(topic, partition)
        async for records in transport.read(topic, partition, max(begin, end - LETTERS_READ), end):
            for record in records:
                if now_ms - record.timestamp_ms < DAY_MS:
                    reason = why(record)["reason"]
                    reasons[reason] = reasons.get(reason, 0) + 1
    if not reasons:
        return well("dead letters", "none within a day")
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda one: -one[1]))
    mend = "millrace dead-letters list PROJECT shows them; replay sends them again once the cause is mended"
    return Finding("dead letters", "warning", f"{sum(reasons.values())} within a day: {told}", mend)


def _age(ms: int) -> str:
    seconds = max(0, ms) / 1000
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
