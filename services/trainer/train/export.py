"""A fitted scikit-learn estimator as an ONNX file, with the same bytes each time.

The graph has one input ``features`` (float32, any number of rows). A classifier's outputs are ``label`` (the index of
the class) and ``probabilities``; a regressor's is ``variable``. skl2onnx names a graph at random unless it is told a
name, and may name an operator set twice; both are put right, so that the bytes depend on the estimator alone.
"""

import json
import warnings
from typing import Any

import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import is_classifier

from services.trainer.train.task import FitTask

OPSETS = {"": 18, "ai.onnx.ml": 3}  # pinned: a newer skl2onnx must not change the bytes by choosing a newer one


def export(estimator: Any, task: FitTask) -> bytes:
    """The ONNX file of a fitted estimator.

    Raises whatever skl2onnx raises for an estimator that it cannot convert.
    """
    with warnings.catch_warnings():  # skl2onnx gives booleans for integers, which protobuf 6 still takes
        warnings.filterwarnings("ignore", message="Field onnx", category=DeprecationWarning)
        model = convert_sklearn(
            estimator,
            name=task.model,
            initial_types=[("features", FloatTensorType([None, len(task.feature_names)]))],
            options={id(estimator): {"zipmap": False}} if is_classifier(estimator) else None,
            target_opset=OPSETS,
        )
    versions = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, versions[domain]) for domain in sorted(versions))
    onnx.helper.set_model_props(model, metadata(task))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def metadata(task: FitTask) -> dict[str, str]:
    """What the file says about itself. Nothing that differs between two runs on the same data."""
    return {
        "model": task.model,
        "feature_set": task.feature_set,
        "features": json.dumps(task.feature_names),
        "task": task.label.task,
        "classes": json.dumps(task.label.classes),
    }
