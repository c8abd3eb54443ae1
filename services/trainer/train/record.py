"""The record of a run: its history, trials, predictions, importances, plots and models, in one zip file. Pure.

Rules:

- The same run gives the same bytes, whenever and wherever it is done again: entries have a fixed time and a fixed
  order, and what a clock or the machine says is in ``resources.json`` alone.
- It is bounded. Small tables come first; a file that would make the record larger than ``BYTES_MAX`` is left out, and
  ``run.json`` says so.
- It never fails the run: the model does not depend on it.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.contracts.events import CheckResult
from services.trainer.train import record_files as files
from services.trainer.train.checks.candidate import Candidate
from services.trainer.train.checks.importances import Importance, importances
from services.trainer.train.record_initial import class_of, first_stage, params_of
from services.trainer.train.record_plots import Known, plots
from services.trainer.train.search import Found
from services.trainer.train.task import Choice, FitTask

BYTES_MAX = 20_000_000  # before compression
RESOURCES = "resources.json"
IMPORTED = Choice("imported", {}, "")
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file knows


def make_record(
    task: FitTask,
    candidate: Candidate,
    found: Found | None,
    checks: Sequence[CheckResult],
    *,
    metrics: Mapping[str, float] | None = None,
    timed: bool = False,
) -> bytes:
    """The record as a zip file.

    Args:
        task: the fit.
        candidate: the model with its scores.
        found: what the search gave; None for an imported model.
        checks: all results.
        metrics: those of the run, where they are more than the candidate's.
        timed: whether ``resources.json`` shall say what a clock measured. Without it the bytes are the same each time;
            ``with_resources`` adds what the machine says.
    """
    trials = () if found is None else found.trials
    matters = _importances(task, candidate)
    holdout, rows_left_out = files.holdout(task, candidate)
    said = [f"the oldest {rows_left_out} rows of holdout.csv"] if rows_left_out else []
    wanted: dict[str, bytes] = {
        "README.txt": files.README.encode(),
        **({"history.csv": files.history(candidate.history)} if candidate.history else {}),
        **({"trials.csv": files.trials(trials)} if trials else {}),
        "importances.csv": files.importances(matters),
        **{name: text.encode() for name, text in _plots(Known(task, candidate, trials, matters)).items()},
        "holdout.csv": holdout,
    }
    if candidate.estimator is not None:
        before = {"class": class_of(candidate.estimator), "params": params_of(candidate.estimator)}
        wanted["estimator-initial.json"] = files.json_bytes(before)
        initial = first_stage(candidate.estimator, task)
        if initial is not None:
            wanted["model-initial.onnx"] = initial
    if timed:
        wanted[RESOURCES] = files.json_bytes(files.timed(found, checks))
    wanted["model.onnx"] = candidate.artifact
    kept, left_out = _bounded(wanted)
    choice = IMPORTED if found is None else found.choice
    everything = candidate.metrics if metrics is None else metrics
    kept["run.json"] = files.run(task, candidate, choice, checks, everything, [*said, *left_out])
    return _zip(kept)


def with_resources(record: bytes, resources: Mapping[str, Any]) -> bytes:
    """The record with these figures in its ``resources.json``, beside those that are there. Empty stays empty."""
    if not record:
        return record
    kept = _unzip(record)
    known = json.loads(kept.get(RESOURCES, b"{}"))
    return _zip({**kept, RESOURCES: files.json_bytes({**known, **resources})})


def _importances(task: FitTask, candidate: Candidate) -> tuple[Importance, ...]:
    try:
        return importances(task, candidate.artifact)
    except Exception:  # noqa: BLE001  # a file from elsewhere may refuse any row; the record stands without
        return ()


def _plots(known: Known) -> Mapping[str, str]:
    try:
        return plots(known)
    except Exception as error:  # noqa: BLE001  # answers that are no numbers cannot be drawn, whatever is raised
        return {"plots-failed.txt": f"{type(error).__name__}: {error}\n"}


def _bounded(wanted: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """What fits, in order, and what was left out."""
    kept: dict[str, bytes] = {}
    left_out = []
    for name, content in wanted.items():
        if sum(map(len, kept.values())) + len(content) > BYTES_MAX:
            left_out.append(f"{name}, {len(content)} bytes")
        else:
            kept[name] = content
    return kept, left_out


def _zip(kept: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(kept):
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # the same on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, kept[name])
    return made.getvalue()


def _unzip(record: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(record)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}
