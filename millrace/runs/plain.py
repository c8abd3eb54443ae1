"""JSON that every reader takes: what is no finite number is null. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(content: Any, indent: int | None = None) -> str:
    """The content as JSON.

    >>> dumps({"loss": float("nan"), "rows": (1, 2)})
    '{"loss": null, "rows": [1, 2]}'
    """
    return json.dumps(_plain(content), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
