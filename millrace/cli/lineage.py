"""``millrace lineage``: from a prediction back to the rows behind it, from a bad event forward to all it touched."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from rich.tree import Tree

from millrace.cli.lake_option import lake_option, open_lake
from millrace.cli.options import address_options, json_option, project_argument

if TYPE_CHECKING:
    from millrace.cli.lineage_scan import Progress as Told
    from millrace.lineage.graph import Graph, Node


@click.command("lineage")
@project_argument
@click.argument("what", nargs=-1, required=True)
@lake_option
@address_options
@json_option
def command(
    project: Path,
    what: tuple[str, ...],
    lake_root: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Show where WHAT came from, and what came of it.

    WHAT is a prediction id, a run id, a version (v3, or version 3), event:ID, or a place TOPIC/PARTITION/OFFSET in the
    stream's events, labels or samples, or the model's predictions.

    \b
    millrace lineage PROJECT elec/power-samples/0/1234
    millrace lineage PROJECT v3
    millrace lineage PROJECT event:row-000123

    What retention has removed from the samples log is looked for in the lake.
    """  # noqa: D301  # the backslash is click's: keep these lines apart

    async def ask() -> "Graph":
        from millrace.cli.connect import connected
        from millrace.cli.lineage_lake import LakeSamples
        from millrace.cli.lineage_read import LineageReader
        from millrace.stores.lake import LakeError

        async with connected(project, data, bootstrap, schema_registry) as clients:
            try:
                lake = LakeSamples(open_lake(clients.project, data, lake_root))
            except LakeError:
                lake = None  # without a lake there is the log
            with watched(Console(stderr=True)) as told:
                reader = LineageReader(clients.project, clients.transport, clients.codec, told, lake)
                return await reader.answer(" ".join(what))

    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps({"what": " ".join(what), **found.as_json()}, allow_nan=False, default=str))
    else:
        show(found, Console())


@contextmanager
def watched(console: Console) -> "Iterator[Told]":
    """A progress bar, on a terminal only."""
    columns = (TextColumn("reading {task.description}"), BarColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("the log", total=None)

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield told


def show(graph: "Graph", console: Console) -> None:
    """The answer as trees: what the subject came from, what came of it, and what to know about the answer."""
    subject = graph.nodes[graph.subject]
    if any(graph.sources(subject.id)):
        console.print(_tree(graph, subject, "came from", back=True))
    roots = [node for node in graph.nodes.values() if not any(graph.sources(node.id))]
    forward = roots if subject.kind in {"event", "label", "sample"} else [subject]
    for root in forward:
        if any(graph.results(root.id)):
            console.print(_tree(graph, root, "led to", back=False))
    for note in graph.notes:
        console.print(Text(f"note: {note}", style="dim"))


def _tree(graph: "Graph", root: "Node", caption: str, *, back: bool) -> Tree:
    tree = Tree(_said(root, ""))
    told: set[str] = set()
    _grow(graph, root, tree.add(Text(caption, style="bold")), told, back=back)
    return tree


BACKWARD = {"became": "from", "deployed by": "deployed", "may be rows of": "may have rows of"}
"""How a thing came from another, where the way that it is said forward does not do."""


def _grow(graph: "Graph", node: "Node", branch: Tree, told: set[str], *, back: bool) -> None:
    """What this came from, or led to. A thing that was told already is only named."""
    told.add(node.id)
    for said, other in graph.sources(node.id) if back else graph.results(node.id):
        how = BACKWARD.get(said, said) if back else said
        if other.id in told:
            branch.add(Text.assemble((how, "cyan"), f" {other.title} (above)"))
        else:
            _grow(graph, other, branch.add(_said(other, how)), told, back=back)


def _said(node: "Node", how: str) -> Text:
    """A thing in a few lines: how it belongs here, its title, its facts."""
    said = Text.assemble((f"{how} " if how else "", "cyan"), (node.title, "bold"))
    for line in _lines(node.facts):
        said.append(f"\n  {line}", style="dim")
    return said


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if value is None or value in ("", [], {}):
            continue
        if name.endswith("_ms"):
            yield f"{name.removesuffix('_ms')} {_time(value)}"
        elif isinstance(value, list | dict):
            yield f"{name} {json.dumps(value)}"
        else:
            yield f"{name} {value}"


def _time(time_ms: int) -> str:
    """Time for people.

    >>> _time(1_600_000_000_000)
    '2020-09-13T12:26:40.000+00:00'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
