"""The log of a canary and an A/B test, made from a seed, as rows and as frames that are cut at any place."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from millrace.contracts.events import VariantScored
from services.monitor.measure import Task
from services.monitor.rollout import Metric

ROWS = 1200
TASKS: dict[Metric, Task] = {
    "accuracy": "classification",
    "log_loss": "classification",
    "mae": "regression",
    "rmse": "regression",
}


@dataclass(frozen=True)
class Row:
    """One row of the log, with what the frame that it is in says about it."""

    line: Any
    epoch: int
    scored: tuple[VariantScored, ...] = ()


def rollout_of(epoch: int) -> str | None:
    """Epochs 2 and 3 are a canary's, 5 is an A/B test; nothing is tried out before, between and after."""
    return {2: "rollout/m/2", 3: "rollout/m/2", 5: "rollout/m/5"}.get(epoch)


def scored(variant: str, version: int, *, answered: bool, missing: bool = False, failed: bool = False) -> VariantScored:
    """What a variant did with one event."""
    return VariantScored(
        variant=variant, version=version, mode="LIVE", assigned_rows=int(answered or missing or failed),
        answered_rows=int(answered), scored_rows=1, error_rows=int(failed), missing_rows=int(missing),
        scoring_us=version,
    )  # fmt: skip


def story(make: Any, seed: int, metric: Metric, faults: float = 0.03) -> list[Row]:
    """Events and their late labels through five epochs.

    ``faults`` is the share of events for which a candidate fails, and of those for which it has no answer.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    due: dict[int, Any] = {}
    while len(rows) < ROWS:
        at = len(rows)
        epoch = 1 + int(np.searchsorted([150, 450, 750, 900], at, "right"))
        if at in due:
            rows.append(Row(due.pop(at), epoch))
            continue
        rows.append(event(make, rng, f"e{at}", epoch, metric, faults))
        late = at + int(rng.choice([1, 5, 40, 300]))
        while late in due:
            late += 1
        truth = float(rng.integers(2)) if TASKS[metric] == "classification" else rng.normal()
        due[late] = make.line(f"e{at}", label=truth)
    return rows


def event(make: Any, rng: np.random.Generator, name: str, epoch: int, metric: Metric, faults: float) -> Row:
    """One event, answered as the epoch's strategy has it; the other version's answer beside it in the canary."""
    answers = {version: answer(rng, metric) for version in (1, 2)}
    failed, missing = (rng.random(2) < faults).tolist()
    candidate = rollout_of(epoch) is not None and rng.random() < 0.4
    usable = not failed and not missing
    version = 2 if candidate and usable else 1
    line = make.line(name, version=version, **answers[version])
    if rollout_of(epoch) is None:
        return Row(line, epoch)
    variants = (
        scored("champion", 1, answered=version == 1),
        scored("candidate", 2, answered=version == 2, missing=missing, failed=failed),
    )
    if epoch == 5:
        return Row(
            line, epoch, tuple(each for each in variants if each.answered_rows or (candidate and each.version == 2))
        )
    other = 3 - version
    if usable or other == 1:
        said = {f"other_{name}": value for name, value in answers[other].items()}
        line = replace(line, other_version=other, **said)
    return Row(line, epoch, variants)


def answer(rng: np.random.Generator, metric: Metric) -> dict[str, Any]:
    """A class with its scores, or a number."""
    if TASKS[metric] == "regression":
        return {"value": float(rng.normal())}
    score = float(rng.choice([0.0, rng.random()]))
    return {"value": float(score > 0.5), "scores": (1 - score, score)}


def frames(make: Any, rows: Sequence[Row], cuts: Sequence[int]) -> list[Any]:
    """The rows as frames that end at these places, and wherever the epoch changes."""
    changes = [at for at in range(1, len(rows)) if rows[at].epoch != rows[at - 1].epoch]
    places = sorted({0, len(rows), *changes, *(place for place in cuts if 0 < place < len(rows))})
    return [frame(make, rows[begin:end], begin) for begin, end in itertools.pairwise(places)]


def frame(make: Any, rows: Sequence[Row], first_offset: int) -> Any:
    """These rows as one frame, with the sums of what the variants did."""
    sums: dict[str, VariantScored] = {}
    for each in (each for row in rows for each in row.scored):
        known = sums.get(each.variant)
        sums[each.variant] = each if known is None else plus(known, each)
    epoch = rows[0].epoch
    return make.observed(
        [row.line for row in rows], first_offset, epoch=epoch, champion_version=1,
        rollout_id=rollout_of(epoch), variants=tuple(sums.values()),
    )  # fmt: skip


def plus(one: VariantScored, other: VariantScored) -> VariantScored:
    """Counts added."""
    counts = [name for name, value in one if isinstance(value, int) and name != "version"]
    return one.model_copy(update={name: getattr(one, name) + getattr(other, name) for name in counts})
