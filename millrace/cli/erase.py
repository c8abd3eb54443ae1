"""``millrace erase``: destroys the key of a person, removes their rows from the lake, and leaves the evidence.

The order is: evidence that it begins, with the pseudonym; rows out of the lake; the key destroyed; rows once more, for
those that came meanwhile; evidence that it is done. Killed anywhere it can be run again: until it is done the key store
remembers the pseudonym, which nobody could compute without the key.

What ingest has in hand at that moment, at most a batch, is still written under the old pseudonym. It leads to nobody,
because the key is gone. Older versions of the lake's table, the samples log and the models stay as they are, for the
same reason. What upstream wrote in the clear expires with its topic; how much that is, and when, is said at the end.
"""

import asyncio
import getpass
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from millrace.bus.transport import Transport
from millrace.cli.erase_evidence import evidence, record
from millrace.cli.erase_remains import remains
from millrace.cli.erase_show import Erased, Plan, Target, report, show_end, show_plan
from millrace.cli.erase_survey import Found, Rows, survey
from millrace.cli.lake_option import lake_option
from millrace.cli.options import address_options, json_option, project_argument
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ProjectError
from millrace.contracts.personal import Personal
from millrace.contracts.project import Project, load_project
from millrace.stores.pepper import SubjectKeysError, pepper_of
from millrace.stores.subject_keys import SubjectKeys


@dataclass(frozen=True, slots=True)
class Parts:
    """What an erasure works on. ``rows`` is the lake's table, None where there is no lake."""

    project: Project
    personal: Personal
    transport: Transport
    codec: Codec
    keys: SubjectKeys
    rows: Rows | None


@click.command("erase")
@project_argument
@click.argument("subject")
@click.option(
    "--reason",
    metavar="TEXT",
    default="erasure requested",
    show_default=True,
    help="Why, in words; kept in the audit log for ever, so it must not name the person.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the key is destroyed.")
@click.option(
    "--keys",
    metavar="URL",
    help="SQLAlchemy URL of the key store; default MILLRACE_SUBJECT_KEYS_URL, or subject-keys.db in --data.",
)
@click.option(
    "--pepper-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with ingest's pepper; default MILLRACE_PEPPER, or subject-keys.pepper in --data, as ingest makes it.",
)
@lake_option
@address_options
@json_option
def command(
    project: Path, subject: str, reason: str, keys: str | None, pepper_file: Path | None, lake_root: str | None,
    data: Path, bootstrap: str | None, schema_registry: str | None, *, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Erase the person SUBJECT from PROJECT's stream: destroy their key, for ever.

    SUBJECT is the value of the field that names the person, as upstream writes it; - reads it from standard input, so
    that it stands in no shell history. First it is shown what holds data of the person.
    """
    from millrace.bus.clock import SystemClock

    if as_json and not yes:
        raise click.UsageError("--json cannot ask; give --yes too")
    subject = click.get_text_stream("stdin").readline().rstrip("\r\n") if subject == "-" else subject
    _refuse_naming(subject, reason)
    personal = personal_fields(load_project(project))
    store = open_keys(load_project(project), data, keys, pepper_file)
    console = Console(stderr=as_json)

    async def work() -> tuple[Plan, list[Erased]]:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            rows = open_lake(clients.project, data, lake_root)
            parts = Parts(clients.project, personal, clients.transport, clients.codec, store, rows)
            found = await plan(parts, subject)
            if not as_json:
                show_plan(console, found)
            if found.targets and not yes:
                await asyncio.to_thread(click.confirm, "Destroy the key?", abort=True)
            now_ms = SystemClock().now_ms()
            return found, await carry_out(parts, subject, found, getpass.getuser(), reason, now_ms)

    try:
        found, erased = asyncio.run(work())
    finally:
        store.close()
    if as_json:
        click.echo(json.dumps(report(found, erased)))
    else:
        show_end(console, found, erased)


def personal_fields(project: Project) -> Personal:
    """The personal fields of the project's events. Raises ``ProjectError`` if there are none."""
    if project.personal is None:
        raise ProjectError(
            f"{project.folder / project.event.schema_file} marks no field as personal, so nobody has a key; mark "
            f'{project.event.entity!r} with "personal": "subject"'
        )
    return project.personal


def open_keys(project: Project, data: Path, url: str | None, pepper_file: Path | None) -> SubjectKeys:
    """The key store that ingest uses, found as ingest finds it.

    Raises ``SubjectKeysError`` where there is none: an empty one knows nobody.
    """
    from services.ingest.settings import Settings

    settings = Settings(bootstrap_servers="", schema_registry_url="", project=project.folder, data=data)
    given = None if pepper_file or settings.pepper is None else settings.pepper.get_secret_value()
    pepper_file = pepper_file or data / "subject-keys.pepper"
    if given is None and not pepper_file.exists():
        raise SubjectKeysError(
            f"there is no pepper file {pepper_file}: give ingest's with --pepper-file, or set MILLRACE_PEPPER"
        )
    file = (data / "subject-keys.db").absolute()
    url = url or settings.subject_keys_url
    if url is None and not file.exists():
        raise SubjectKeysError(
            f"there is no key store {file}: give ingest's with --keys, or set MILLRACE_SUBJECT_KEYS_URL"
        )
    return SubjectKeys(url or f"sqlite:///{file}", pepper_of(given, pepper_file), project.stream)


def open_lake(project: Project, data: Path, root: str | None) -> Rows | None:
    """The stream's table, found as ingest finds it; None where the settings say ``off``, or it was never written."""
    from millrace.cli import lake_option
    from millrace.stores.lake import LakeError, LakeUnavailableError

    try:
        lake = lake_option.open_lake(project, data, root)
        return None if lake.version() is None else lake
    except LakeUnavailableError:
        raise  # nothing is known about its rows, so nothing is erased yet
    except LakeError:
        return None


async def plan(parts: Parts, subject: str) -> Plan:
    """What an erasure of the person would find. Changes nothing."""
    from services.ingest.pseudonyms import pseudonym

    lives = await asyncio.to_thread(parts.keys.lives, subject)
    targets = []
    for life in reversed(lives):
        name = life.pseudonym if life.key is None else pseudonym(life.key, parts.personal.subject, subject)
        if name is not None:
            found = await survey(parts.transport, parts.codec, parts.project, parts.rows, name)
            targets.append(Target(found, life.number, life.destroyed_at_ms))
    left = await remains(parts.transport, parts.codec, parts.project, parts.personal, subject)
    erased_at_ms = max((life.destroyed_at_ms for life in lives if life.destroyed_at_ms is not None), default=None)
    return Plan(tuple(targets), left, erased_at_ms, known=bool(lives))


async def carry_out(
    parts: Parts, subject: str, what: Plan, actor: str, reason: str, now_ms: int,
    reached: Callable[[str], None] = lambda _place: None,
) -> list[Erased]:  # fmt: skip
    """Erase what the plan names. May be called again, with a new plan, after it failed anywhere.

    ``reached`` is told the name of each place where a test may want to let the process die.
    """
    erased = []
    for target in what.targets:
        found = target.found

        async def note(phase: Any, found: Found = found, **more: Any) -> None:
            audit = evidence(parts.project, found, phase, actor, reason, now_ms, more)
            await record(parts.transport, parts.codec, parts.project, audit)
            reached(phase)

        await note("begun")
        removed = await _remove(parts.rows, found.pseudonym)
        reached("removed")
        destroyed_at_ms = target.destroyed_at_ms
        if destroyed_at_ms is None:
            await asyncio.to_thread(parts.keys.destroy, subject, target.life, now_ms, found.pseudonym)
            destroyed_at_ms = now_ms
        reached("destroyed")
        removed += await _remove(parts.rows, found.pseudonym)
        await note("done", key_destroyed_at_ms=destroyed_at_ms, lake_rows_removed=removed)
        erased.append(Erased(found, destroyed_at_ms, removed))
    if what.targets:
        await asyncio.to_thread(parts.keys.finish, subject)
        reached("finished")
    return erased


async def _remove(rows: Rows | None, pseudonym: str) -> int:
    return 0 if rows is None else await asyncio.to_thread(rows.delete_entity, pseudonym)


def _refuse_naming(subject: str, reason: str) -> None:
    try:
        subject.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("it is not UTF-8, as the events are", param_hint="SUBJECT") from error
    if not subject:
        raise click.BadParameter("it is empty; nobody is named so", param_hint="SUBJECT")
    if subject.casefold() in reason.casefold():
        raise click.BadParameter("it names the person, and is kept for ever; say it without", param_hint="--reason")
