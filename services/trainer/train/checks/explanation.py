"""What the model looks at, and how that moved since the champion."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import rankdata

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.importances import Importance, importances, shap_importances
from services.trainer.train.task import FitTask

ABOUT = (
    About(
        "explanation-moved", ("explanation_moved_max", "shap_rows"), "a model that suddenly decides by other features"
    ),
)
NAMED = 3


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The part of the importance that went to other features than the champion's; without a limit it is only told.

    It is half the sum of the distances between the features' shares (total variation): 0 if each feature has the
    share that it had, 1 if none that mattered matters still.
    """
    own = importances(task, candidate.artifact)
    message = f"it looks most at {_named(_top(own))}{_shap(task, candidate)}"
    limit = task.gates.explanation_moved_max
    moved = 0.0
    if candidate.champion_scores is not None and task.champion is not None:
        before = importances(task, task.champion)
        moved = movement(own, before)
        message += f"; {moved:.3g} of the importance moved since the champion (rank correlation "
        message += f"{rank_correlation(own, before):.2f}), most by {_movers(own, before)}"
        if limit is not None:
            message += f"; allowed {limit:g}"
    passed = limit is None or moved <= limit
    if not passed:
        message += "; look at these features in the data report, or raise gates.explanation_moved_max"
    yield CheckResult(
        name="explanation-moved", passed=passed, value=moved, limit=1.0 if limit is None else limit, message=message
    )


def movement(one: Sequence[Importance], other: Sequence[Importance]) -> float:
    """Total variation distance between the shares of two models, 0 to 1."""
    return sum(abs(a.share - b.share) for a, b in zip(one, other, strict=True)) / 2


def rank_correlation(one: Sequence[Importance], other: Sequence[Importance]) -> float:
    """Spearman's, over the features; 1 where one of the models has no order."""
    ranks = [rankdata([part.increase for part in parts]) for parts in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    size = float(np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1])))
    return float(centred[0] @ centred[1]) / size if size else 1.0


def _top(found: Sequence[Importance]) -> list[tuple[str, float]]:
    ordered = sorted(found, key=lambda part: -part.share)[:NAMED]
    return [(part.feature, part.share) for part in ordered]


def _named(parts: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {size:.2f}" for name, size in parts)


def _movers(own: Sequence[Importance], before: Sequence[Importance]) -> str:
    moves = [(a.feature, a.share - b.share) for a, b in zip(own, before, strict=True)]
    return ", ".join(f"{name} {by:+.2f}" for name, by in sorted(moves, key=lambda move: -abs(move[1]))[:NAMED])


def _shap(task: FitTask, candidate: Candidate) -> str:
    if not task.gates.shap_rows:
        return ""
    found = shap_importances(task, candidate.artifact)
    if found is None:
        return " (SHAP is asked for by gates.shap_rows, but the package shap is not installed)"
    return f" (SHAP: {_named(sorted(found.items(), key=lambda part: -part[1])[:NAMED])})"
