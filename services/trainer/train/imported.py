"""A model from elsewhere: the ONNX file is looked at before it is scored, because nobody here has made it.

What it has to be: a file that serving would load (``millrace/contracts/model_file.py``), with one float input as wide
as the project's features. A classifier's first output is the index of the class, its second the probability of each
class as one array (skl2onnx's ``zipmap`` turned off); a regression's only output is the number.
"""

import onnxruntime

from millrace.contracts.errors import ArtifactError
from millrace.contracts.model_file import check_file
from services.trainer.train.score import Scores, score
from services.trainer.train.task import Features, FitError, FitTask


def require_servable(content: bytes, task: FitTask) -> None:
    """Refuse a file that could not be served, whatever its answers are.

    Raises:
        FitError: with the reason and the way out.
    """
    try:
        check_file(content)
    except ArtifactError as error:
        raise FitError(
            f"the imported file of {len(content)} bytes could not be served: {error}. Export one whole ONNX file of "
            "ONNX's own operators, its classes numbered by the index of each in label.classes"
        ) from error
    _require_input(content, task)


def score_imported(content: bytes, x: Features, task: FitTask) -> Scores:
    """The file's answers, which must be classes that the project has.

    Raises:
        FitError: it cannot be scored, or answers with something else.
    """
    classes = len(task.label.classes)
    try:
        scores = score(content, x, classes)
    except FitError as error:
        raise FitError(f"the imported model: {error}; export a classifier with zipmap turned off") from error
    except Exception as error:  # no common base in onnxruntime, and numpy's own for answers that are no numbers
        raise FitError(
            f"the imported model cannot be scored on {len(x)} rows: {error}; "
            "classes must be numbers, the index of each in label.classes, and probabilities an array (zipmap off)"
        ) from error
    strange = sorted(set(scores.values.tolist()) - set(range(classes))) if classes else []
    if strange:
        raise FitError(
            f"the imported model answers with {strange[:5]}; the index of a class is needed, "
            f"0 to {classes - 1} of {list(task.label.classes)}"
        )
    return scores


def _require_input(content: bytes, task: FitTask) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, pybind11's and plain RuntimeErrors
        raise FitError(f"onnxruntime refuses the imported model: {error}") from error
    inputs, width = session.get_inputs(), len(task.feature_names)
    if len(inputs) == 1 and inputs[0].type == "tensor(float)" and list(inputs[0].shape)[1:] == [width]:
        return
    seen = [(one.name, one.type, one.shape) for one in inputs]
    raise FitError(
        f"the imported model takes {seen}; one float tensor of any number of rows and width {width} is needed, "
        f"the features in the project's order: {', '.join(task.feature_names)}"
    )
