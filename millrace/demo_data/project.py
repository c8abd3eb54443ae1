"""The demo's model project: the electricity example with a second field to get wrong, and rules that leave room.

It is derived from the example, so that its data file stays where it is. A declared range would catch some of the
faults before anything learned could: demand has none here, and what may be missing is left to what training saw.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project, load_project
from millrace.contracts.schemas import JsonSchema
from millrace.demo_data.inject import BURST, DEMAND, DROPPED, FEED

PRICE = "nswprice"


def derive(example: Path, folder: Path) -> Project:
    """Write the demo's project into ``folder`` and check it.

    Raises:
        ProjectError: the example is not the electricity project, or no project at all.
    """
    known = load_project(example)
    names = {field["name"] for field in known.event_schema["fields"]}
    lacks = sorted({DEMAND, BURST, DROPPED, PRICE} - names)
    if lacks or known.dataset is None:
        raise ProjectError(f"{example} lacks {lacks or 'a dataset'}; this demo is about examples/electricity")
    folder.mkdir(parents=True)
    config: dict[str, Any] = yaml.safe_load((known.folder / "model.yaml").read_text(encoding="utf-8"))
    config["expectations"] = [*_rules(config.get("expectations", [])), _unique(known)]
    config.get("data", {}).pop("learned", None)  # the example turns ranges off, because it declares all of them
    config["dataset"]["file"] = str(known.folder / known.dataset.file)
    schema = {**known.event_schema, "fields": [*known.event_schema["fields"], _feed()]}
    (folder / "model.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (folder / known.event.schema_file).write_text(json.dumps(schema, indent=2), encoding="utf-8")
    pipeline = known.training.pipeline.partition(":")[0]
    (folder / pipeline).write_bytes((known.folder / pipeline).read_bytes())
    return load_project(folder)


def dropped(schema: JsonSchema) -> JsonSchema:
    """The schema without one field. Compatible: old readers have a default for it."""
    return {**schema, "fields": [field for field in schema["fields"] if field["name"] != DROPPED]}


def incompatible(schema: JsonSchema) -> JsonSchema:
    """The schema with the price as a text, such as ``0.056 AUD``. What is in the log already could not be read."""
    fields = [
        {**field, "type": "string", "default": ""} if field["name"] == PRICE else field for field in schema["fields"]
    ]
    return {**schema, "fields": fields}


def _rules(declared: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The example's ranges; those that would catch a fault by themselves are dropped, or allow null."""
    kept = [rule for rule in declared if rule.get("field") not in {DEMAND, DROPPED}]
    return [{**rule, "required": False} if rule.get("field") == BURST else rule for rule in kept]


def _unique(project: Project) -> dict[str, Any]:
    return {"kind": "unique", "fields": [project.event.entity, project.event.time]}


def _feed() -> dict[str, Any]:
    return {"name": FEED, "type": ["null", "string"], "default": None, "doc": "The system that sent the half-hour."}
