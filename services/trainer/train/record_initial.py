"""The estimator before its fit, as far as it can be had for little: its parameters, and a boosting's first stage. Pure.

A boosting model is a sum of trees, each fitted on what the earlier ones left over; so its first tree is what the fit
began with, and is the same whatever came after it. Other estimators keep nothing of their beginning.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from sklearn.pipeline import Pipeline

from services.trainer.train.export import export
from services.trainer.train.task import FitTask

TEXT_MAX = 500
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of a function's or an object's text; it differs each time


def params_of(estimator: Any) -> dict[str, str]:
    """The estimator's parameters and those of what is inside of it, as text, by name."""
    get_params = getattr(estimator, "get_params", None)
    if get_params is None:
        return {}
    try:
        found: Mapping[str, Any] = get_params(deep=True)
        return {name: text_of(found[name]) for name in sorted(found)}
    except Exception as error:  # noqa: BLE001  # the owner's class may raise anything; the run stands without this
        return {"(unreadable)": f"{type(error).__name__}: {error}"}


def text_of(value: Any) -> str:
    """One line, the same each time.

    >>> text_of(text_of), text_of({"b", "a"})
    ('<function text_of>', "{'a', 'b'}")
    """
    text = f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set | frozenset) else repr(value)
    said = ADDRESS.sub("", " ".join(text.split()))
    return said if len(said) <= TEXT_MAX else f"{said[:TEXT_MAX]}…"


def class_of(estimator: Any) -> str:
    """The class by its full name; of a pipeline's steps too."""
    name = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    if isinstance(estimator, Pipeline):
        return f"{name}({', '.join(class_of(step) for _, step in estimator.steps)})"
    return name


def first_stage(estimator: Any, task: FitTask) -> bytes | None:
    """The ONNX file of a boosting estimator's first stage; None for others, and where it cannot be written."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    kept = next((name for name in ("_predictors", "estimators_") if hasattr(last, name)), None)
    if kept is None or not hasattr(last, "staged_predict") or len(getattr(last, kept)) < 2:
        return None
    short = copy.copy(last)
    setattr(short, kept, getattr(last, kept)[:1])
    if hasattr(short, "estimator_weights_"):
        short.estimator_weights_ = last.estimator_weights_[:1]
    if hasattr(short, "n_estimators_"):
        short.n_estimators_ = 1
    whole = short
    if isinstance(estimator, Pipeline):
        whole = copy.copy(estimator)
        whole.steps = [*estimator.steps[:-1], (estimator.steps[-1][0], short)]
    try:
        return export(whole, task)
    except Exception:  # noqa: BLE001  # the record stands without it, whatever the converter raises
        return None
