"""The table of the checks for docs/model-checks.md, from the code."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from millrace.contracts.gates_policy import Gates
from services.trainer.train.checks.run import ABOUT


def table() -> str:
    """One row for each check as Markdown: name, limits with their defaults, what it guards against."""
    lines = ["| check | limits under `gates`, and their defaults | guards against |", "|---|---|---|"]
    for about in ABOUT:
        limits = "<br>".join(f"`{key}`: {_default(key)}" for key in about.keys) or "none to set"
        lines.append(f"| `{about.name}` | {limits} | {about.guards} |")
    return "\n".join(lines)


def _default(key: str) -> str:
    section, _, name = key.rpartition(".")
    model: type[BaseModel] = type(Gates.model_fields[section].default) if section else Gates
    default: Any = model.model_fields[name].default
    assert default is not PydanticUndefined, f"gates.{key} has no default"
    if default is None or default == ():
        return "not judged"
    return f"`{json.dumps(default)}`"
