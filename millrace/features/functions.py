"""The owner's own features: pure functions in a file of the project's folder, over columns, row by row independent."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.errors import ProjectError
from millrace.contracts.feature_spec import FeatureSpec, Function

Floats = NDArray[np.float64]
Functions = Mapping[str, Callable[..., Any]]
"""The functions by the name of their feature."""

NONE: Functions = MappingProxyType({})
PIECES = (1, 3, 64)  # rows that ``check_pure`` gives at once


def load_functions(folder: Path, specs: Sequence[FeatureSpec]) -> Functions:
    """The functions that features name, by the name of their feature. Runs the owner's files, each once.

    Raises:
        ProjectError: a file is missing or cannot be run, or lacks the function.
    """
    files: dict[str, dict[str, Any]] = {}
    found: dict[str, Callable[..., Any]] = {}
    for spec in specs:
        if not isinstance(spec, Function):
            continue
        file, _, name = spec.function.partition(":")
        if file not in files:
            files[file] = _run(folder / file)
        function = files[file].get(name)
        if not callable(function):
            defined = sorted(one for one, value in files[file].items() if callable(value) and not one.startswith("_"))
            raise ProjectError(f"features: {spec.name} names {spec.function}, but {file} defines {defined}, no {name}")
        found[spec.name] = function
    return found


def call(spec: Function, functions: Functions, columns: Mapping[str, Floats]) -> Floats:
    """Call the function of a feature; each column must be an array of its own, for it may be written to.

    Raises:
        ProjectError: there is no such function, it raises, or it returns something else than a number for each row.
    """
    if spec.name not in functions:
        raise ProjectError(f"features: {spec.name} needs {spec.function}, which was not loaded (see load_functions)")
    rows = len(next(iter(columns.values())))
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(functions[spec.name](**columns), dtype=np.float64)
    except Exception as error:  # the owner's code may raise anything
        raise ProjectError(f"features: {spec.name}: {spec.function} raised {type(error).__name__}: {error}") from error
    if found.shape != (rows,):
        raise ProjectError(
            f"features: {spec.name}: {spec.function} got columns of {rows} rows and returned shape {found.shape}; "
            "it must return one number for each row"
        )
    return found


def check_pure(spec: Function, functions: Functions, columns: Mapping[str, Floats]) -> None:
    """Whether the function gives each row the same, called again and with other rows beside it.

    Raises:
        ProjectError: it does not; names the first row that differs.
    """

    def on(part: slice) -> Floats:
        return call(spec, functions, {name: values[part].copy() for name, values in columns.items()})

    rows = len(columns[spec.inputs[0]])
    whole = on(slice(None))
    _same(spec, columns, whole, on(slice(None)), "called again")
    for size in PIECES:
        parts = [on(slice(start, start + size)) for start in range(0, rows, size)]
        _same(spec, columns, whole, np.concatenate([*parts, np.empty(0)]), f"called with {size} rows at once")


def _same(spec: Function, columns: Mapping[str, Floats], whole: Floats, again: Floats, how: str) -> None:
    differs = np.flatnonzero((whole != again) & ~(np.isnan(whole) & np.isnan(again)))
    if len(differs):
        row = int(differs[0])
        given = {name: float(values[row]) for name, values in columns.items()}
        raise ProjectError(
            f"features: {spec.name}: {spec.function} is not pure and elementwise: for row {row}, {given}, it gave "
            f"{whole[row]} among {len(whole)} rows and {again[row]} {how}; a row's result may depend on that row only"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read: {error.strerror}; a feature of the kind function names it"
        ) from error


def _run(path: Path) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(compile(_read(path), str(path), "exec"), namespace)  # noqa: S102  # running the owner's code is the job
    except ProjectError:
        raise
    except Exception as error:  # the owner's code may raise anything
        raise ProjectError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return namespace
