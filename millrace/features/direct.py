"""Features of a row that need no memory: parts of its time, ratios, categories, and the owner's functions."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import Calendar, Category, FeatureSpec, Function, IsCategory, Ratio
from millrace.features.definitions import NAN
from millrace.features.event_time import calendars
from millrace.features.functions import Functions, call
from millrace.features.inputs import input_name

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def needs_no_memory(spec: FeatureSpec) -> bool:
    """Whether the feature is computed here, functions aside."""
    return isinstance(spec, Calendar | Category | IsCategory) or (isinstance(spec, Ratio) and spec.over is not None)


def direct(spec: FeatureSpec, time_ms: Ints, values: Mapping[str, Floats]) -> Floats:
    """Such a feature of many rows."""
    match spec:
        case Calendar():
            return calendars(spec, time_ms)
        case Category() | IsCategory():
            return values[input_name(spec)]
        case Ratio(field=field, over=str(over)):
            return divide(values[field], values[over])
    raise TypeError(f"{spec} needs memory")


def divide(value: Floats, by: Floats) -> Floats:
    """NaN where it is divided by zero."""
    found: Floats = np.where(by == 0, NAN, value / by)
    return found


def apply_functions(
    specs: Sequence[FeatureSpec], functions: Functions, values: Mapping[str, Floats], columns: Floats
) -> None:
    """Fill the columns of the owner's functions, once all others are there; a function may rest on one before it."""
    place: dict[str, int] = {}
    for column, spec in enumerate(specs):
        if isinstance(spec, Function):
            given = {
                name: (columns[place[name]] if name in place else values[name]).copy()  # its own, and in one piece
                for name in spec.inputs
            }
            columns[column] = call(spec, functions, given)
        place[spec.name] = column
