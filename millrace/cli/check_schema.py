"""``millrace check PROJECT --schema NEW.avsc``: what a changed schema would do, said before anybody registers it.

Two questions are answered. Would the schema registry take it: asked of the registry itself where one is reachable, else
worked out against the project's own ``event.avsc``, which is the only version known then. And what would it do to the
model: see ``schema_impact.py``. Nothing is changed anywhere.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from millrace.cli.address import resolve
from millrace.cli.schema_impact import Impact, impact
from millrace.contracts.compatibility import explain_change, level_of
from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.schemas import JsonSchema, Schema
from millrace.contracts.topics import EVENTS, subject, topic_name
from millrace.local.errors import LocalError

COLORS = {"breaking": "red", "harmful": "yellow", "harmless": "green"}
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the registry would take the schema. ``asked`` says who answered; ``reasons`` are empty if it would."""

    asked: str
    subject: str
    level: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """What is known about a change of the events' schema."""

    project: str
    schema: str
    verdict: Verdict
    impacts: tuple[Impact, ...]

    @property
    def ok(self) -> bool:
        """Whether it can be registered, and nothing that the model needs is touched."""
        return not self.verdict.reasons and all(one.severity == "harmless" for one in self.impacts)


def examine_schema(
    folder: Path,
    schema_file: Path,
    *,
    data: Path,
    bootstrap: str | None = None,
    schema_registry: str | None = None,
) -> SchemaReport:
    """Compare a new schema with the project's, and ask the registry at the address, if one is there.

    The address is that of ``millrace.cli.address.resolve``; a ``schema_registry`` alone is enough here.

    Raises:
        ProjectError: the project or the schema cannot be read.
        RegistryUnavailableError: the registry that was named does not answer.
    """
    project, new = load_project(folder), read_schema(schema_file)
    url = _url(data, bootstrap, schema_registry)
    verdict = _offline(project, new) if url is None else asyncio.run(_asked(url, project, new))
    return SchemaReport(str(folder), str(schema_file), verdict, impact(project, new))


def read_schema(path: Path) -> JsonSchema:
    """The schema in a file. Raises ``ProjectError`` naming the file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read: {error.strerror}; --schema names a file with an Avro schema"
        ) from error
    except ValueError as error:
        raise ProjectError(f"{path} cannot be parsed: {error}") from error
    if not isinstance(raw, dict):
        raise ProjectError(f"{path} holds {type(raw).__name__}, an Avro record is needed: {{'type': 'record', …}}")
    try:
        Schema.of(raw)
    except ProjectError as error:
        raise ProjectError(f"{path}: {error}") from error
    return raw


def show(report: SchemaReport, *, as_json: bool) -> None:
    """Print it, as one JSON object or for people."""
    if as_json:
        click.echo(json.dumps({"ok": report.ok, **asdict(report)}))
        return
    for line in _lines(report):
        click.echo(line)


def _url(data: Path, bootstrap: str | None, schema_registry: str | None) -> str | None:
    """The registry's address; None if nothing was named, and nothing runs on the data folder."""
    if schema_registry and not bootstrap:
        return schema_registry
    try:
        return resolve(data, bootstrap, schema_registry).schema_registry_url
    except LocalError:
        if bootstrap or schema_registry:
            raise
        return None


def _offline(project: Project, new: JsonSchema) -> Verdict:
    level = level_of(EVENTS)
    reasons = explain_change(new, project.event_schema, level)
    asked = f"{project.event.schema_file} alone; no registry was asked, which may have other versions"
    return Verdict(asked, subject(topic_name(EVENTS, project)), level, tuple(reasons))


async def _asked(url: str, project: Project, new: JsonSchema) -> Verdict:
    name = subject(topic_name(EVENTS, project))
    async with SchemaRegistry(url, TIMEOUT_S) as registry:
        versions = await registry.versions(name)
        level = await registry.level(name) if versions else level_of(EVENTS)
        reasons = await registry.check_compatibility(name, new)
    many = f"{len(versions)} version{'s' * (len(versions) != 1)}"
    if not versions:
        reasons = explain_change(new, project.event_schema, level)
        many = f"no version; judged by {project.event.schema_file}"
    return Verdict(f"the schema registry at {url}, which has {many}", name, level, tuple(reasons))


def _lines(report: SchemaReport) -> Iterator[str]:
    verdict = report.verdict
    mark = click.style("REFUSED", fg="red") if verdict.reasons else click.style("taken", fg="green")
    yield f"{mark} as the next version of {verdict.subject} ({verdict.level}), says {verdict.asked}"
    yield from (f"  - {reason}" for reason in verdict.reasons)
    for field, change in dict.fromkeys((one.field, one.change) for one in report.impacts):  # the worst first
        yield f"{field}: {change}" if field else change
        group = [one for one in report.impacts if (one.field, one.change) == (field, change)]
        for one in group:
            yield f"  {click.style(f'{one.severity:8}', fg=COLORS[one.severity])} {_effect(one)}"
        yield from (
            f"           way out: {way_out}" for way_out in dict.fromkeys(one.way_out for one in group) if way_out
        )
    yield _summary(report)


def _effect(one: Impact) -> str:
    return one.effect if one.subject == "nothing" else f"{one.subject}: {one.effect}"


def _summary(report: SchemaReport) -> str:
    if report.ok:
        return f"{report.schema} changes nothing for the model of {report.project}."
    found = [one.severity for one in report.impacts]
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in ("breaking", "harmful") if kind in found)
    refused = "would be refused" if report.verdict.reasons else "would be taken"
    return f"{report.schema} {refused} by the registry" + (
        f"; for the model of {report.project}: {counts}." if counts else "."
    )
