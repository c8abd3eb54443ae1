"""What goes between a trainer and its fit process besides the task: limits one way, messages the other.

A message is JSON and some files, parsed here: how far the fit is, or its result, or why there is none. The parent
unpickles nothing that comes out of a child, because the owner's code ran there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.contracts.events import CheckResult, RunProgress
from services.trainer.train.task import Choice, FitError, FitResult

SIZE_BYTES = 8  # of the length of the JSON part, big-endian
MESSAGE_BYTES_MAX = 1 << 30  # more is no model; the parent must not fill its memory with it


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fit may use, with all processes that it starts. 0 sets no limit, except for ``threads``: OpenMP's.

    ``memory_mb`` is of address space in each process and of resident memory in all of them, ``cpu_s`` of processor
    time, ``processes`` of processes at a time.
    """

    memory_mb: int
    threads: int
    cpu_s: int = 0
    processes: int = 256


def pack(result: FitResult) -> bytes:
    """A result as bytes: length, JSON, files."""
    said = {
        "metrics": dict(result.metrics),
        "champion_metrics": dict(result.champion_metrics),
        "checks": [check.model_dump() for check in result.checks],
        "choice": [result.choice.family, dict(result.choice.params), result.choice.window],
        "baselines": {name: dict(metrics) for name, metrics in result.baselines.items()},
        "usage": dict(result.usage),
    }
    return _packed(said, (result.artifact, result.golden, result.record, result.answers))


def pack_error(error: FitError) -> bytes:
    """The reason for which there is no result."""
    return _packed({"error": str(error)})


def pack_progress(progress: RunProgress) -> bytes:
    """How far the fit is."""
    return _packed({"progress": progress.model_dump()})


def unpack(data: bytes) -> FitResult | RunProgress:
    """What these bytes say. Raises the ``FitError`` that is in them instead, or one if they are nothing of the kind."""
    try:
        end = SIZE_BYTES + int.from_bytes(data[:SIZE_BYTES], "big")
        said = json.loads(data[SIZE_BYTES:end])
        if "error" in said:
            raise FitError(str(said["error"]))
        if "progress" in said:
            return RunProgress.model_validate(said["progress"])
        artifact, golden, record, answers = _files(said["sizes"], data[end:])
        family, params, window = said["choice"]
        return FitResult(
            artifact=artifact,
            metrics=said["metrics"],
            champion_metrics=said["champion_metrics"],
            checks=tuple(CheckResult.model_validate(check) for check in said["checks"]),
            choice=Choice(str(family), dict(params), str(window)),
            baselines=said["baselines"],
            golden=golden,
            record=record,
            answers=answers,
            usage=said["usage"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise FitError(f"the fit answered with something else than a result: {error!r}") from error


def _packed(said: Mapping[str, Any], files: Sequence[bytes] = ()) -> bytes:
    text = json.dumps({**said, "sizes": [len(file) for file in files]}).encode()
    return len(text).to_bytes(SIZE_BYTES, "big") + text + b"".join(files)


def _files(sizes: Sequence[int], data: bytes) -> list[bytes]:
    if sum(sizes) != len(data):
        raise ValueError(f"{len(data)} bytes of files, {sizes} were announced")
    found, at = [], 0
    for size in sizes:
        found.append(data[at : at + size])
        at += size
    return found
