"""``millrace doctor``: what is wrong, and how to mend it."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from millrace.cli.artifacts_option import artifacts_option, store_of
from millrace.cli.options import address_options, json_option

if TYPE_CHECKING:
    from millrace.cli.connect import Clients
    from millrace.contracts.project import Project
    from millrace.doctor.finding import Finding, Level
    from millrace.local.runfile import RunInfo
    from millrace.stores.artifacts import ArtifactStore

SIGNS: "Mapping[Level, tuple[str, str]]" = {
    "ok": ("ok     ", "green"),
    "warning": ("look   ", "yellow"),
    "trouble": ("WRONG  ", "red"),
    "unknown": ("?      ", "dim"),
}


@click.command("doctor")
@click.argument("project", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@artifacts_option
@address_options
@json_option
def command(
    project: Path | None,
    artifacts: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Look at everything from the machine up to the model, and say what is wrong and how to mend it.

    PROJECT is the project that runs on --data, if it is left out. Exits with 1 if something is in trouble; what only
    deserves a look does not count.
    """
    findings = asyncio.run(_collect(project, data, bootstrap, schema_registry, artifacts))
    counts = Counter(one.level for one in findings)
    if as_json:
        click.echo(json.dumps({"findings": [asdict(one) for one in findings], "counts": dict(counts)}))
    else:
        _show(findings, counts)
    if counts["trouble"]:
        sys.exit(1)


async def _collect(
    project: Path | None, data: Path, bootstrap: str | None, schema_registry: str | None, artifacts: str | None
) -> "list[Finding]":
    return [one async for one in examine(project, data, bootstrap, schema_registry, artifacts)]


async def examine(
    project: Path | None, data: Path, bootstrap: str | None, schema_registry: str | None, artifacts: str | None
) -> "AsyncIterator[Finding]":
    """All findings, from the ground up."""
    from millrace.contracts.errors import MillraceError
    from millrace.doctor.finding import Finding
    from millrace.doctor.machine import check_machine
    from millrace.doctor.processes import check_processes
    from millrace.local.runfile import running

    for one in check_machine(data):
        yield one
    info = running(data)
    if info is None and not bootstrap:
        mend = (
            f"start it: millrace up PROJECT --data {data}; or say where it runs with --bootstrap and --schema-registry"
        )
        yield Finding("platform", "trouble", f"nothing runs on {data}", mend)
        return
    if info is not None:
        for one in check_processes(info, data / "logs"):
            yield one
    folder = _folder(project, info)
    if folder is None:
        mend = "name the model project: millrace doctor PROJECT"
        yield Finding("project", "unknown", "broker and registry run without a model project", mend)
        return
    try:
        async for one in _of_log(folder, data, bootstrap, schema_registry, store_of(data, artifacts)):
            yield one
    except MillraceError as error:
        mend = "mend what is wrong above first; millrace check PROJECT looks at the project by itself"
        yield Finding("log", "trouble", str(error), mend)


def _folder(project: Path | None, info: "RunInfo | None") -> Path | None:
    if project is not None:
        return project
    return Path(info.project) if info is not None and info.project else None


async def _of_log(
    folder: Path, data: Path, bootstrap: str | None, schema_registry: str | None, store: "ArtifactStore"
) -> "AsyncIterator[Finding]":
    from millrace.bus.clock import SystemClock
    from millrace.cli.connect import connected

    async with connected(folder, data, bootstrap, schema_registry) as clients:
        async for one in of_project(clients, store, SystemClock().now_ms()):
            yield one


async def of_project(clients: "Clients", store: "ArtifactStore", now_ms: int) -> "AsyncIterator[Finding]":
    """What the log says about one project."""
    from millrace.bus.clock import SystemClock
    from millrace.cli.history import read_life
    from millrace.doctor.finding import Finding, well
    from millrace.doctor.log import check_log
    from millrace.doctor.model import check_alerts, check_model
    from services.registry.commands import Log

    project: Project = clients.project
    yield well("project", f"{project.model} in {project.folder} is sound")
    trouble = False
    async for one in check_log(project, clients.transport, clients.codec, now_ms):
        trouble = trouble or (one.subject == "topics" and one.level == "trouble")
        yield one
    if trouble:
        return
    life, notes = await read_life(Log(clients.transport, clients.codec, SystemClock()), project.model)
    for note in notes:
        yield Finding("control topics", "warning", note, "see who else may write there: topic ACLs keep them out")
    for one in check_model(project, life, store):
        yield one
    async for one in check_alerts(project, clients.transport, clients.codec, now_ms):
        yield one


def _show(findings: "list[Finding]", counts: "Counter[Level]") -> None:
    console = Console()
    width = max(len(one.subject) for one in findings)
    for one in findings:
        sign, style = SIGNS[one.level]
        console.print(Text(sign, style), Text(f"{one.subject:<{width}}  {one.what}"), sep="", soft_wrap=True)
        if one.mend:
            console.print(Text(f"{'':<{width + 9}}{one.mend}", "cyan"), soft_wrap=True)
    troubles, looks = counts["trouble"], counts["warning"]
    if not troubles and not looks:
        console.print(Text("All is well.", "green"))
    else:
        console.print(Text(f"{troubles} in trouble, {looks} to look at; begin at the top."))
