"""``millrace explain``: one prediction, and everything behind it, on one page."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from millrace.cli.artifacts_option import artifacts_option, store_of
from millrace.cli.lake_option import lake_option, open_lake
from millrace.cli.options import address_options, json_option, project_argument

if TYPE_CHECKING:
    from millrace.cli.explain_read import Explained
    from millrace.contracts.project import Project

SHOWN_FEATURES = 6
BAR = 20  # characters


@click.command("explain")
@project_argument
@click.argument("prediction")
@click.option("--features", "shown", type=click.IntRange(1), default=SHOWN_FEATURES, show_default=True,
              help="How many features are listed, those that added most first.")  # fmt: skip
@artifacts_option
@lake_option
@address_options
@json_option
def command(
    project: Path,
    prediction: str,
    shown: int,
    artifacts: str | None,
    lake_root: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Explain PREDICTION: what was answered, by which version, why that one served, and what made it answer so.

    PREDICTION is a prediction id, event:ID, or its place TOPIC/PARTITION/OFFSET. What each feature added is a Shapley
    value against the rows that the version was trained on.

    \b
    millrace explain PROJECT elec/power-samples/0/1234
    millrace explain PROJECT event:row-000123
    """  # noqa: D301  # the backslash is click's: keep these lines apart

    async def ask() -> "tuple[Project, Explained]":
        from millrace.cli.connect import connected
        from millrace.cli.explain_read import explain
        from millrace.cli.lineage import watched
        from millrace.cli.lineage_lake import LakeSamples
        from millrace.stores.lake import LakeError

        async with connected(project, data, bootstrap, schema_registry) as clients:
            try:
                lake = LakeSamples(open_lake(clients.project, data, lake_root))
            except LakeError:
                lake = None  # without a lake there is the log
            with watched(Console(stderr=True)) as told:
                return clients.project, await explain(clients, prediction, store_of(data, artifacts), lake, told)

    checked, found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(as_record(checked, found), allow_nan=False))
        return
    for line in lines(checked, found, shown):
        click.echo(line)


def as_record(project: "Project", found: "Explained") -> dict[str, Any]:
    """The whole of it as plain data; a missing number is null."""
    made = found.prediction
    added = found.added
    return {
        "prediction": made.model_dump(),
        "label": found.label,
        "corrected": found.corrected,
        "decided_by": found.decided_by,
        "reason": found.reason,
        "why": [link.model_dump() for link in found.why],
        "usual": added and added.usual,
        "features": [
            {
                "name": name, "value": _number(value),
                "added": None if added is None else float(added.added[at]),
                "error": None if added is None else _number(float(added.error[at])),
            }
            for at, (name, value) in enumerate(found.features.items())
        ],
        "nearest": _nearest(project, found),
        "stranger_than": found.neighbours and found.neighbours.stranger_than,
        "notes": list(found.notes),
    }  # fmt: skip


def lines(project: "Project", found: "Explained", shown: int) -> list[str]:
    """The page for people."""
    made = found.prediction
    said = [f"{made.prediction_id}: {_answered(project, found)}"]
    said.append(f"  event {made.event_id} of {made.entity} at {_time(made.event_time_ms)}; {_truth(project, found)}")
    said.append(f"  answered by version {made.version} as {made.variant}, epoch {made.epoch}: {found.reason or '?'}")
    if found.why:
        said.append("why that version:")
    for link in found.why:
        when = "" if link.at_ms is None else f"{_time(link.at_ms)}  "
        said.append(f"  <- {when}{link.kind} {link.id}{f': {link.what}' if link.what else ''}")
    said += _features(found, shown)
    neighbours = _nearest(project, found)
    if found.neighbours is not None:
        share = 100 * found.neighbours.stranger_than
        said.append(f"nearest training rows (stranger than {share:.0f} % of the training rows):")
    said += [f"  distance {one['distance']:.3f}, label {one['label']}" for one in neighbours]
    return [*said, *(f"note: {note}" for note in found.notes)]


def _answered(project: "Project", found: "Explained") -> str:
    made = found.prediction
    if not made.scores:
        return f"{made.value:.6g}"
    return f"{_class(project, made.value)} with a score of {made.scores[int(made.value)]:.3f}"


def _truth(project: "Project", found: "Explained") -> str:
    if found.label is None:
        return "its label is not known yet"
    name = _class(project, found.label) if project.label.classes else f"{found.label:.6g}"
    right = "" if not project.label.classes else ", as answered" if found.label == found.prediction.value else ", wrong"
    return f"its label is {name}{right}{' (corrected since)' if found.corrected else ''}"


def _class(project: "Project", value: float) -> str:
    classes = project.label.classes
    return classes[int(value)] if classes else f"{value:g}"


def _features(found: "Explained", shown: int) -> list[str]:
    """Those that added most, with a bar to the right for more and to the left for less."""
    added = found.added
    if added is None:
        return [f"  {name} = {value:.6g}" for name, value in list(found.features.items())[:shown]]
    order = sorted(range(len(added.added)), key=lambda at: -abs(added.added[at]))[:shown]
    names, most = list(found.features), max(abs(float(added.added[at])) for at in order) or 1.0
    width = max(len(names[at]) for at in order)
    told = [f"what made it {added.answer:.3f} instead of the usual {added.usual:.3f}:"]
    for at in order:
        more = float(added.added[at])
        bar = ("+" if more >= 0 else "-") * max(1, round(BAR * abs(more) / most))
        told.append(f"  {names[at]:<{width}} = {found.features[names[at]]:<10.6g} {more:+.3f}  {bar}")
    rest = len(names) - len(order)
    if rest > 0:
        left = float(added.added.sum()) - sum(float(added.added[at]) for at in order)
        told.append(f"  {rest} others together {left:+.3f}")
    return told


def _nearest(project: "Project", found: "Explained") -> list[dict[str, Any]]:
    if found.neighbours is None or found.profile is None:
        return []
    labels = found.profile.labels[found.neighbours.places].tolist()
    return [
        {"distance": distance, "label": _class(project, label)}
        for distance, label in zip(found.neighbours.distances.tolist(), labels, strict=True)
    ]


def _number(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124  # NaN differs from itself


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
