"""``millrace models import``: a model from elsewhere goes through the same tests and gates as one trained here."""

import asyncio
import getpass
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from millrace.bus.transport import Transport
from millrace.cli.options import address_options, json_option, project_argument, reason_option
from millrace.contracts.codec import Codec
from millrace.contracts.errors import MillraceError
from millrace.contracts.events import DeploymentDecided, Event, ModelVersionChanged, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.topics import DEPLOYMENTS, MODEL_VERSIONS, TRAINING_RUNS, TopicRow
from millrace.operating.retrain import publish, requested
from millrace.stores.artifacts import ArtifactStore

LOOK_S = 0.2
FOLLOWED: tuple[tuple[TopicRow, type[Event]], ...] = (
    (TRAINING_RUNS, TrainingRunChanged),
    (MODEL_VERSIONS, ModelVersionChanged),
    (DEPLOYMENTS, DeploymentDecided),
)


class ImportModelError(MillraceError):
    """What was given is no model or no sample; the message says what is accepted."""


@click.command("import")
@project_argument
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--sample",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Records to judge it on (.jsonl, .csv, .parquet): a column for each feature, and label.",
)
@reason_option
@click.option("--artifacts", metavar="FOLDER|URL", help="The artefact store; artifacts under --data if left out.")
@click.option("--wait", "wait_s", default=120.0, show_default=True, type=click.FloatRange(min=0),
              help="Seconds to wait for a decision; 0 not to wait.")  # fmt: skip
@address_options
@json_option
def command(
    project: Path, model: Path, sample: Path | None, reason: str, artifacts: str | None, wait_s: float, data: Path,
    bootstrap: str | None, schema_registry: str | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Have MODEL judged and deployed as a version of PROJECT's model.

    MODEL is an ONNX file, a scikit-learn model saved by skops, or a folder that MLflow wrote with the ONNX flavour. The
    trainer scores it on the sample and on the newest rows of the stream, beside the champion; the registry decides by
    the project's gates, and the rollout is the project's. Exits with 1 if it is not admitted, 2 if nobody decided in
    time.
    """
    from millrace.bus.clock import SystemClock

    operator, now_ms = getpass.getuser(), SystemClock().now_ms()
    content = read_model(model)

    async def ask() -> dict[str, Any]:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            records = None if sample is None else read_sample(sample, clients.project)
            store = ArtifactStore(artifacts or data / "artifacts")
            asked, audit = requested(clients.project.model, operator, reason, now_ms)
            digests = {
                "import_sha256": store.put(content),
                "sample_sha256": None if records is None else store.put(records),
            }
            asked = asked.model_copy(update=digests)
            audit = audit.model_copy(update={"action": "import"})
            await publish(clients.transport, clients.codec, asked, audit)
            follow = _follow(clients.transport, clients.codec, asked.request_id, wait_s)
            return {"request_id": asked.request_id, **digests, **await follow}

    said = asyncio.run(ask())
    click.echo(json.dumps(said) if as_json else "\n".join(_words(said)))
    if wait_s and said["decision"] != "admitted":
        raise SystemExit(1 if said["decision"] in {"failed", "rejected"} else 2)


def read_model(path: Path) -> bytes:
    """The model's file: of an MLflow folder the one that its ``MLmodel`` names.

    Raises:
        ImportModelError: a folder without an ONNX flavour.
    """
    if path.is_file():
        return path.read_bytes()
    described = path / "MLmodel"
    if not described.is_file():
        raise ImportModelError(
            f"{path} is a folder without a file MLmodel; give an ONNX or skops file, or MLflow's folder"
        )
    flavours = (yaml.safe_load(described.read_text(encoding="utf-8")) or {}).get("flavors") or {}
    if "onnx" not in flavours:
        raise ImportModelError(
            f"{described} has the flavours {sorted(flavours)}, onnx is needed: mlflow.onnx.log_model"
        )
    file = (path / str(flavours["onnx"].get("data", "model.onnx"))).resolve()
    if not file.is_relative_to(path.resolve()) or not file.is_file():
        raise ImportModelError(f"{described} names {file}, which is no file in that folder")
    return file.read_bytes()


def read_sample(path: Path, project: Project) -> bytes:
    """The records as JSON lines, the features in the project's order.

    Raises:
        ImportModelError: the columns do not fit, or the file is of another kind.
    """
    if path.suffix == ".jsonl":
        return path.read_bytes()
    names = (*project.feature_names, "label")
    table = _table(path)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise ImportModelError(f"{path} lacks the columns {missing}; it has {table.column_names}")
    lines = (
        json.dumps({"features": [row[name] for name in names[:-1]], "label": row["label"]})
        for row in table.select(list(names)).to_pylist()
    )
    return "\n".join(lines).encode()


def _table(path: Path) -> Any:
    from pyarrow import csv, parquet

    if path.suffix == ".parquet":
        return parquet.read_table(path)
    if path.suffix == ".csv":
        return csv.read_csv(path)
    raise ImportModelError(f"{path} is {path.suffix or 'without an ending'}; a sample is .jsonl, .csv or .parquet")


async def _follow(transport: Transport, codec: Codec, request_id: str, wait_s: float) -> dict[str, Any]:
    """What became of the request: failed, rejected, admitted (with the version), or undecided within the time."""
    heard: list[Event] = []
    positions: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    while (said := decision(heard, request_id))["decision"] == "undecided" and loop.time() < until_s:
        for row, kind in FOLLOWED:
            bounds = await transport.bounds(row.suffix, 0)
            start = positions.get(row.suffix, bounds.begin)
            if start < bounds.end:
                async for records in transport.read(row.suffix, 0, start, bounds.end):
                    heard += [await codec.decode(kind, record.value) for record in records]
                positions[row.suffix] = bounds.end
        await asyncio.sleep(LOOK_S)
    return said


def decision(heard: Sequence[Event], request_id: str) -> dict[str, Any]:
    """What these events say about the request."""
    runs = {event.run_id for event in heard if isinstance(event, TrainingRunChanged) and event.caused_by == request_id}
    failures = [
        event.error
        for event in heard
        if isinstance(event, TrainingRunChanged) and event.run_id in runs and event.status == "FAILED"
    ]
    if failures:
        return {"decision": "failed", "why": failures[-1], "version": None}
    for event in heard:
        if isinstance(event, ModelVersionChanged) and event.run_id in runs:
            admitted = event.status == "REGISTERED"
            said = {"decision": "admitted" if admitted else "rejected", "why": "; ".join(event.reasons)}
            deployed = [one.reason for one in heard if isinstance(one, DeploymentDecided) and _has(one, event.version)]
            return {**said, "version": event.version, "deployment": deployed[0] if deployed else None}
    return {"decision": "undecided", "why": "nobody has decided yet", "version": None}


def _has(deployment: DeploymentDecided, version: int | None) -> bool:
    return any(part.version == version for part in deployment.traffic)


def _words(said: dict[str, Any]) -> Iterator[str]:
    """The outcome for people."""
    yield f"Asked for: {said['request_id']}"
    if said["decision"] == "admitted":
        yield f"Version {said['version']} is admitted: {said['why']}"
        yield said["deployment"] or "It waits: millrace history shows for what."
    else:
        yield f"{said['decision'].capitalize()}: {said['why']}"
