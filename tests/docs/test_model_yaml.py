"""docs/model-yaml.md says what model.yaml may say: every key, every kind, and examples that load."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from millrace.contracts.expectations import Expectation
from millrace.contracts.feature_spec import FeatureSpec
from millrace.contracts.project import Project, load_project

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "model-yaml.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.*)$", PAGE, re.MULTILINE))
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
COMPOSED = {"expectations", "features", "monitors.features", "training.search.families"}  # told of as a whole
FIELDS = {"temperature": "double", "vibration": "double", "mode": "string"}


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model in a type."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part
        elif part is not annotation:
            yield from models(part)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of model.yaml, sections as ``section.key``."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if key in {"folder", "event_schema"}:
            continue
        inner = list(models(field.annotation)) if key not in COMPOSED else []
        if inner:
            yield from keys(inner[0], f"{key}.")
        else:
            yield key


def kinds() -> dict[str, type[BaseModel]]:
    """Every kind of expectation and feature."""
    found = [*models(Expectation), *models(FeatureSpec)]
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in found}


def test_every_key_has_its_row():
    """And no row is about a key that there is none of."""
    expected = [*keys(Project)]

    assert [] == [key for key in expected if key not in ROWS]
    assert len(expected) > 50


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_its_row_and_an_example(kind):
    """The row names each of its keys."""
    names = set(kinds()[kind].model_fields) - {"kind", "name", "on", "rows", "span_s"}
    used = {
        str(one.get("kind", "range"))
        for example in EXAMPLES
        for one in [*example.get("features", []), *example.get("expectations", [])]
    }

    assert [] == [name for name in names if f"`{name}`" not in f"`{kind}` {ROWS[kind]}"]
    assert kind in used


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_loads(tmp_path, number):
    """The first is whole, the others are laid over it."""
    fields = [{"name": "event_id", "type": "string"}, {"name": "machine", "type": "string"}]
    fields.append({"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}})
    fields += [{"name": name, "type": ["null", kind], "default": None} for name, kind in FIELDS.items()]
    (tmp_path / "event.avsc").write_text(json.dumps({"type": "record", "name": "Reading", "fields": fields}))
    (tmp_path / "pipeline.py").write_text((ROOT / "millrace/cli/templates/pipeline.py").read_text())
    (tmp_path / "features.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({**EXAMPLES[0], **EXAMPLES[number]}))

    assert load_project(tmp_path).stream
