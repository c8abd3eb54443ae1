"""Streams for the decisions: events with features, scores and labels, made from a seed, and profiles to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contracts.profile import Profile
from services.monitor.frames import Rows

Floats = npt.NDArray[np.float64]
CLASSES = 2


def stream(
    features: Mapping[str, Floats],
    wrong: npt.NDArray[np.bool_],
    *,
    confidence: Floats | None = None,
    delay: int | None = 0,
    versions: npt.NDArray[Any] | int = 1,
    regression: bool = False,
) -> Rows:
    """Events one second apart as one frame, each label ``delay`` events after its own; None: labels never come.

    The model says class 1 with ``confidence``, and is wrong where ``wrong`` says so. Of a regression ``wrong`` is the
    error itself, the truth being 0.
    """
    count = len(wrong)
    order = [(event, 0, event) for event in range(count)]
    if delay is not None:
        order += [(event + delay, 1, event) for event in range(count) if event + delay < count]
    order.sort()
    is_label = np.array([kind == 1 for _, kind, _ in order])
    event = np.array([number for _, _, number in order])
    said = np.where(is_label, np.nan, wrong[event] if regression else 1.0)
    truth = np.where(is_label, 0.0 if regression else (~wrong[event]).astype(float), np.nan)
    top = np.full(count, 0.9) if confidence is None else confidence
    scores = np.column_stack([1 - top[event], top[event]]) if not regression else np.empty((len(order), 0))
    scores[is_label] = np.nan
    answers = np.where(is_label, 0, np.broadcast_to(np.asarray(versions), count)[event]).astype(np.int32)
    rows = len(order)
    return Rows(
        offsets=np.arange(rows),
        is_label=is_label,
        event_ids=[f"e{number}" for number in event],
        times_ms=1000 * event,
        versions=answers,
        values=said,
        labels=truth,
        scores=scores,
        other_versions=np.zeros(rows, np.int32),
        other_values=np.full(rows, np.nan),
        other_scores=np.empty((rows, 0)),
        features={name: np.where(is_label, np.nan, column[event]) for name, column in features.items()},
        epoch=1,
        champion=0,
        rollout_id=None,
        variants=(),
        until_offset=rows,
    )


def frames(rows: Rows, cuts: Sequence[int]) -> list[Rows]:
    """The rows as frames that end at these places."""
    ends = sorted({*(cut for cut in cuts if 0 < cut < len(rows)), len(rows)})
    return [rows.cut(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def noise(count: int, names: int, seed: int = 1) -> dict[str, Floats]:
    """Independent features that never change."""
    rng = np.random.default_rng(seed)
    return {f"f{number}": rng.normal(size=count) for number in range(names)}


def profile(features: Mapping[str, Floats], confidence: Floats | None = None, right: Floats | None = None) -> Profile:
    """What a version was trained on, and what it said to hold-out rows: class 1, each with its confidence."""
    rows = len(next(iter(features.values())))
    top = np.full(rows, 0.9) if confidence is None else confidence
    labels = np.ones(rows) if right is None else right
    return Profile(
        run_id="r",
        feature_set="",
        rows=rows,
        holdout_rows=rows,
        from_time_ms=0,
        until_time_ms=0,
        features=features,
        labels=labels,
        holdout_features=features,
        holdout_labels=labels,
        holdout_values=np.ones(rows),
        holdout_scores=np.column_stack([1 - top, top]),
    )
