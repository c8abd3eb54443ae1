"""Refused records: a list of them, one in whole, and sending them back after what refused them was mended."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from millrace.bus.deadletter import place_of
from millrace.console.actions import Preview, User
from millrace.console.answers import LIMIT, LIMIT_MAX, Answer
from millrace.console.asker import Asker
from millrace.console.bodies import Replay as Body
from millrace.console.queries import letters
from millrace.contracts.errors import OffsetGoneError
from millrace.contracts.project import Project
from millrace.contracts.topics import DEAD_LETTERS, topic_name
from millrace.operating.detail import detail
from millrace.operating.letters import Choice, NotThereError, Place, Replayed, letter_at
from millrace.operating.replay import Replay
from millrace.operating.replay_run import Report, Run
from services.registry.commands import Log
from services.registry.queries import NotKnownError

SHOWN = 20


def add_routes(app: FastAPI, ask: Asker, log: Log, projects: Mapping[str, Project]) -> None:
    """Add what is asked and done about refused records; ``projects`` are those of the streams, by stream."""

    def project_of(stream: str | None) -> Project:
        if stream is None and len(projects) == 1:
            return next(iter(projects.values()))
        if stream is None or stream not in projects:
            raise NotKnownError(f"no stream {stream!r} is known here; known are {sorted(projects)}")
        return projects[stream]

    @app.get("/api/dead-letters", tags=["dead letters"])
    async def show(
        stream: str | None = None,
        reason: str | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT,
    ) -> Answer:
        """The refused records of a stream, newest first, and how many there are of each reason."""
        project = project_of(stream)
        found = await ask(letters.letters, topic_name(DEAD_LETTERS, project), reason, cursor, limit)
        return Answer({"stream": project.stream, **found})

    @app.get("/api/dead-letters/{stream}/{partition}/{offset}", tags=["dead letters"])
    async def show_one(stream: str, partition: int, offset: int) -> Answer:
        """One refused record, with its headers and its value."""
        return Answer(await _detail(ask, log, project_of(stream), Place(partition, offset)))

    @app.post("/api/dead-letters/replay", tags=["dead letters"])
    async def replay(body: Body, preview: Preview = False, user: User = None) -> Answer:  # noqa: FBT002  # a query
        """Send refused records back to where they came from, each once; with `preview=1`, say which."""
        project = project_of(body.stream)
        run = Run(user or body.actor, log.clock.now_ms(), _choice(body), body.comment)
        work = Replay(log.transport, log.codec, project, run)
        try:
            report = await (work.dry() if preview else work.go())
        except NotThereError as error:
            raise HTTPException(404, str(error)) from error
        told = {**report.to_json(), "replay": report.replayed, "impossible": report.to_json()["impossible"][:SHOWN]}
        words = _words(project, report, preview=preview)
        return Answer({**told, "words": words} if preview else {"outcome": "ACCEPTED", **told, "words": words})


def _choice(body: Body) -> Choice:
    places = tuple(Place(*(int(part) for part in place.split("/"))) for place in body.places)
    return Choice(reason=body.reason, since_ms=body.since_ms, until_ms=body.until_ms, places=places)


async def _detail(ask: Asker, log: Log, project: Project, place: Place) -> dict[str, Any]:
    topic = topic_name(DEAD_LETTERS, project)
    if place.partition >= project.partitions:
        raise NotKnownError(f"{topic} has {project.partitions} partitions, there is no partition {place.partition}")
    try:
        record = await letter_at(log.transport, topic, *place)
    except (NotThereError, OffsetGoneError) as error:
        raise NotKnownError(str(error)) from error
    sent = await ask(letters.sent_back, [place_of(record)])
    before = {where: Replayed(at_ms, None) for where, at_ms in sent.items()}
    found = await detail(record, log.codec, before)
    times = {"at_ms": record.timestamp_ms, "replayed_at_ms": sent.get(place_of(record))}
    numbers = {name: int(found[name]) if str(found[name]).isdecimal() else None for name in ("partition", "offset")}
    return {"stream": project.stream, **found, **numbers, **times}


def _words(project: Project, report: Report, *, preview: bool) -> str:
    many = report.replayed
    they, them = ("it", "it") if many == 1 else ("they", "them")
    records, go = "record" if many == 1 else "records", "would go" if preview else "went"
    said = [f"{many:,} {records} {go} back to where {they} came from, and ingest reads {them} again."]
    if report.skipped:
        said.append(f"{report.skipped:,} were sent back before and are left alone.")
    if report.repeats:
        said.append(f"{report.repeats:,} are repeats of what was admitted, and are left alone.")
    if report.impossible:
        said.append(f"{len(report.impossible):,} cannot be sent back: {report.impossible[0].why}.")
    said.append(f"The dead letters stay in {topic_name(DEAD_LETTERS, project)}.")
    return " ".join(said)
