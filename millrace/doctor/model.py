"""The model: whether it serves, and what keeps it from it, by the registry's own facts."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator

from millrace.bus.transport import Transport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError, MillraceError
from millrace.contracts.events import AlertRaised
from millrace.contracts.project import Project
from millrace.doctor.finding import Finding, Level, well
from millrace.stores.artifacts import ArtifactStore
from services.registry.history import Life
from services.registry.history_at import served
from services.registry.history_views import OtherView, ServedView

HOUR_MS = 3600 * 1000
SHOWN_ALERTS = 5
LEVELS: dict[str, Level] = {"waiting": "warning", "failed": "trouble", "rejected": "warning"}


def check_model(project: Project, life: Life, store: ArtifactStore) -> Iterator[Finding]:
    """What serves, whether each partition serves it, whether its file is there, and what waits for somebody."""
    now = served(life, None, project.spaces)
    if now.epoch is None:
        yield from _never_deployed(project, life, now)
        return
    champion = next((part for part in now.traffic if part.variant == "champion"), now.traffic[0])
    yield well(project.model, f"version {champion.version} serves (epoch {now.epoch}): {now.reason}")
    yield from _partitions(project, now)
    yield from _files(life, now, store)
    if now.frozen is not None:
        mend = f"millrace unfreeze {project.model} lets things happen by themselves again"
        yield Finding("freeze", "warning", f"frozen by {now.frozen.by}: {now.frozen.reason}", mend)
    for other in now.others:
        if other.state == "waiting":
            yield _waits(project, other)


def _never_deployed(project: Project, life: Life, now: ServedView) -> Iterator[Finding]:
    for other in now.others[:3]:
        if other.state == "waiting":
            yield _waits(project, other)
        else:
            named = f"version {other.version}" if other.version is not None else f"run {other.run_id}"
            mend = f"millrace runs show {project.model} {other.run_id} has the checks; millrace retrain tries again"
            yield Finding(
                project.model, LEVELS.get(other.state, "warning"), f"{named}: {other.state}: {other.why}", mend
            )
    if not life.runs:
        mend = (
            f"send events with labels: a first model needs training.first_rows of them ({project.training.first_rows})"
        )
        yield Finding(project.model, "warning", "nothing was trained yet, so nothing serves", mend)
    elif not now.others:
        yield Finding(
            project.model, "warning", "no version was deployed yet", "millrace history MODEL says what was decided"
        )


def _waits(project: Project, other: OtherView) -> Finding:
    mend = f"millrace approve {project.model} {other.version} --reason WHY, or millrace reject"
    return Finding("approval", "warning", f"version {other.version}: {other.why}", mend)


def _partitions(project: Project, now: ServedView) -> Iterator[Finding]:
    behind = [row for row in now.partitions if row.status == "FAILED"]
    for row in behind:
        mend = f"millrace rollback {project.model}, or promote a version that can be loaded"
        yield Finding(
            "serving", "trouble", f"partition {row.partition} could not load version {row.version}: {row.reason}", mend
        )
    serving = {row.partition for row in now.partitions if row.status == "SERVING"}
    silent = [number for number in range(project.partitions) if number not in serving]
    if silent and not behind:
        mend = "it does so with the next event; if events come, see whether serving is ready (above)"
        yield Finding("serving", "warning", f"partitions {silent} have not reported that they serve anything", mend)
    elif not behind:
        yield well("serving", f"all {project.partitions} partitions serve it")


def _files(life: Life, now: ServedView, store: ArtifactStore) -> Iterator[Finding]:
    deployment = next(one for one in reversed(life.deployments) if one.epoch == now.epoch)
    for part in deployment.traffic:
        try:
            content = store.get(part.artifact_sha256)
        except (MillraceError, OSError) as error:
            mend = "restore it from a copy of the artefact store: a restarted serving process cannot load it"
            yield Finding("artefact", "trouble", f"the file of version {part.version} cannot be read: {error}", mend)
        else:
            yield well("artefact", f"the file of version {part.version} is whole ({len(content):,} bytes)")


async def check_alerts(project: Project, transport: Transport, codec: Codec, now_ms: int) -> AsyncIterator[Finding]:
    """The alerts of the last hour, by reason, with the newest message of each."""
    topic, counts, newest = topics.ALERTS.suffix, Counter[str](), dict[str, AlertRaised]()
    begin, _ = await transport.bounds(topic, 0)
    start = max(begin, await transport.offset_at(topic, 0, now_ms - HOUR_MS))
    async for records in transport.read(topic, 0, start, (await transport.bounds(topic, 0)).end):
        for record in records:
            try:
                alert = await codec.decode(AlertRaised, record.value)
            except ContractError:
                counts["unreadable"] += 1
                continue
            if alert.model in {None, project.model}:
                counts[alert.reason] += 1
                newest[alert.reason] = alert
    if not counts:
        yield well("alerts", "none within an hour")
    for reason, count in counts.most_common(SHOWN_ALERTS):
        known = newest.get(reason)
        level: Level = "trouble" if known is not None and known.severity == "CRITICAL" else "warning"
        what = f"{count} of {reason} within an hour"
        told = what if known is None else f"{what}, the newest: {known.message}"
        yield Finding("alerts", level, told, "see docs/runbooks.md")
