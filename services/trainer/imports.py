"""The sample of records that comes with a model from elsewhere: JSON lines, one record each.

A line is ``{"features": [1.5, null, 3], "label": "yes"}``: the features in the project's order, null where a value is
missing, and the label as upstream would write it, a class's name or number.
"""

import json
import math
from typing import Any

import numpy as np

from millrace.contracts.project import Project
from services.trainer.train.task import FitError, Rows

SAMPLE_ROWS_MIN = (
    50  # judged on fewer, a share of right answers is a guess; it is what a project's first model asks for
)
SAMPLE_ROWS_MAX = 100_000


def read_sample(content: bytes, project: Project) -> Rows:
    """The records as rows, in their order.

    Raises:
        FitError: a line is no record of this project, or there are too few or too many; with the line's number.
    """
    lines = [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    if not SAMPLE_ROWS_MIN <= len(lines) <= SAMPLE_ROWS_MAX:
        raise FitError(
            f"the sample has {len(lines)} records; {SAMPLE_ROWS_MIN} to {SAMPLE_ROWS_MAX:,} are needed, "
            "one JSON object a line"
        )
    rows = [_record(number, line, project) for number, line in lines]
    x = np.array([features for features, _ in rows], dtype=np.float32)
    return Rows(x, np.array([label for _, label in rows], dtype=np.float64))


def _record(number: int, line: bytes, project: Project) -> tuple[list[float], float]:
    try:
        said = json.loads(line)
        features, label = said["features"], said["label"]
    except (ValueError, KeyError, TypeError) as error:
        raise FitError(
            f'line {number} of the sample is no record ({error!r}); {{"features": [...], "label": ...}} is needed'
        ) from error
    names = project.feature_names
    if not isinstance(features, list) or len(features) != len(names):
        seen = f"{len(features)} features" if isinstance(features, list) else f"features {features!r:.80}"
        raise FitError(f"line {number} of the sample has {seen}; {len(names)} are needed: {', '.join(names)}")
    values = [_number(number, name, value) for name, value in zip(names, features, strict=True)]
    try:
        return values, project.label.to_number(label)
    except (ValueError, TypeError) as error:
        raise FitError(f"line {number} of the sample: {error}") from error


def _number(line: int, name: str, value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool | int | float):
        return float(value)
    raise FitError(f"line {line} of the sample: {name} is {value!r:.80}, a number or null is needed")
