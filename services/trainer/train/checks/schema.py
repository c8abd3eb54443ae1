"""The file takes what ingest computes, and says so."""

import json
from collections.abc import Iterator

import onnx

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.export import metadata
from services.trainer.train.task import FitTask

ABOUT = (About("schema", (), "a file made for other features or classes than those of the project"),)
COMPARED = ("features", "feature_set", "classes", "task")


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """One input of float32 with the right width; features, feature set and classes as the task has them.

    An imported file need not say what it was made for; what it does say must be right.
    """
    model = onnx.load_model_from_string(candidate.artifact)
    faults = [*_input_faults(model, len(task.feature_names))]
    said = {entry.key: entry.value for entry in model.metadata_props}
    for key in COMPARED:
        wanted, found = metadata(task)[key], said.get(key)
        if found is None and task.imported is None:
            faults.append(f"it does not say its {key}")
        elif found is not None and _plain(found) != _plain(wanted):
            faults.append(f"its {key} are {found}, the project's are {wanted}")
    message = "; ".join(faults) or f"one float32 input of {len(task.feature_names)} features, as ingest computes them"
    if faults:
        message += "; export the model for this project's features, in their order"
    yield CheckResult(name="schema", passed=not faults, value=float(len(faults)), limit=0.0, message=message)


def _plain(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _input_faults(model: onnx.ModelProto, width: int) -> Iterator[str]:
    stored = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in stored]
    if len(inputs) != 1:
        yield f"it has {len(inputs)} inputs ({', '.join(one.name for one in inputs)}), one is needed"
        return
    kind = inputs[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        yield f"its input is {onnx.TensorProto.DataType.Name(kind.elem_type)}, FLOAT is needed"
    sizes = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    if len(sizes) != 2 or sizes[1] not in {None, width} or sizes[0] not in {None, 0}:
        yield f"its input has the shape {sizes}, [None, {width}] is needed"
