"""A micro-batch scored by the variants of a rollout. Pure, but for the guards, which remember who failed too often.

*Paired* (canary, shadow, blue-green): champion and candidate score every event; the hash says whose answer counts, the
other's is kept for comparison. *Split* (A/B, bandit): each event is scored by its own arm only.

In both the champion answers whatever another variant cannot, so there is an answer to every event. The champion's own
failure is no variant's: it is raised, and the lane stops as it would without a rollout.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.contracts.events import VariantScored
from services.serving.guard import Guard, Scorer, Timer, Tried
from services.serving.score import Floats, Scores
from services.serving.split import CHAMPION_PART, assign, positions

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Part:
    """A variant other than the champion."""

    variant: str
    version: int
    share: float
    mode: str
    guard: Guard


@dataclass(frozen=True, slots=True)
class Rollout:
    """What is being tried out. If ``paired`` there is one part."""

    id: str
    unit: Literal["entity", "event"]
    paired: bool
    champion_version: int
    parts: tuple[Part, ...]
    timer: Timer

    @property
    def names(self) -> list[str]:
        """The variants, by part."""
        return [CHAMPION, *(part.variant for part in self.parts)]

    @property
    def versions(self) -> NDArray[np.int32]:
        """Their versions."""
        return np.array([self.champion_version, *(part.version for part in self.parts)], dtype=np.int32)

    def assigned(self, entities: Any, event_ids: Any) -> NDArray[np.intp]:
        """The part that each event belongs to."""
        shares = [part.share for part in self.parts]
        if not any(shares):
            return np.full(len(event_ids), CHAMPION_PART, dtype=np.intp)
        return assign(positions(self.id, entities if self.unit == "entity" else event_ids), shares)


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says about each event: its part by row, and the scores. Where ``said`` is False, nothing."""

    part: NDArray[np.intp]
    scored: Scores
    said: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``answers`` are what is published, one for every event; ``others`` what is compared with it."""

    answers: Said
    others: Said | None
    counts: tuple[VariantScored, ...]


def score_with(rollout: Rollout, champion: Scorer, classes: int, features: Floats, part: NDArray[np.intp]) -> Outcome:
    """Score the events, of which each belongs to the given part."""
    score = _paired if rollout.paired else _split
    return score(rollout, _Champion(champion, classes, rollout.timer), features, part)


class _Champion:
    """Scores, and says how long it took."""

    def __init__(self, scorer: Scorer, classes: int, timer: Timer) -> None:
        self._scorer, self._timer, self.classes = scorer, timer, classes

    def score(self, features: Floats) -> tuple[Scores, NDArray[np.bool_], int]:
        """The scores, which of them are answers, and microseconds."""
        if not len(features):
            return _nothing(0, self.classes), np.zeros(0, dtype=np.bool_), 0
        began_s = self._timer()
        scored = self._scorer.score(features)
        took_us = round((self._timer() - began_s) * 1e6)
        return scored, scored.known(self.classes), took_us


def _paired(rollout: Rollout, champion: _Champion, features: Floats, part: NDArray[np.intp]) -> Outcome:
    (candidate,) = rollout.parts
    scored, known, champion_us = champion.score(features)
    tried = candidate.guard.score(features)
    theirs = _nothing(len(features), champion.classes) if tried.scored is None else tried.scored
    answered = (part != CHAMPION_PART) & tried.good
    answers = Said(answered.astype(np.intp), _chosen(answered, theirs, scored), np.ones(len(part), dtype=np.bool_))
    said = np.where(answered, known, tried.good)
    others = Said((~answered).astype(np.intp), _blank(_chosen(answered, scored, theirs), said), said)
    champions = VariantScored(
        variant=CHAMPION, version=rollout.champion_version, mode="LIVE",
        assigned_rows=int((part == CHAMPION_PART).sum()), answered_rows=int((~answered).sum()),
        scored_rows=len(part), error_rows=0, missing_rows=int((~known).sum()), scoring_us=champion_us,
        scoring_batches=int(len(part) > 0),
    )  # fmt: skip
    counts = (champions, _count(candidate, tried, int((part != CHAMPION_PART).sum()), int(answered.sum())))
    return Outcome(answers, others, counts)


def _split(rollout: Rollout, champion: _Champion, features: Floats, part: NDArray[np.intp]) -> Outcome:
    rows = len(features)
    scored, by = _nothing(rows, champion.classes), np.full(rows, CHAMPION_PART, dtype=np.intp)
    counts = []
    for number, arm in enumerate(rollout.parts, start=1):
        its = np.flatnonzero(part == number)
        tried = arm.guard.score(features[its])
        if tried.scored is not None:
            good = its[tried.good]
            scored.values[good], scored.scores[good] = tried.scored.values[tried.good], tried.scored.scores[tried.good]
            by[good] = number
        counts.append(_count(arm, tried, len(its), int(tried.good.sum())))
    left = np.flatnonzero(by == CHAMPION_PART)
    its_scores, known, champion_us = champion.score(features[left])
    scored.values[left], scored.scores[left] = its_scores.values, its_scores.scores
    champions = VariantScored(
        variant=CHAMPION, version=rollout.champion_version, mode="LIVE",
        assigned_rows=int((part == CHAMPION_PART).sum()), answered_rows=len(left), scored_rows=len(left),
        error_rows=0, missing_rows=int((~known).sum()), scoring_us=champion_us,
        scoring_batches=int(len(left) > 0),
    )  # fmt: skip
    return Outcome(Said(by, scored, np.ones(rows, dtype=np.bool_)), None, (champions, *counts))


def _count(part: Part, tried: Tried, assigned_rows: int, answered_rows: int) -> VariantScored:
    """``scored_rows`` are those that it was given, so errors and missing answers are shares of them."""
    return VariantScored(
        variant=part.variant, version=part.version, mode=part.mode, assigned_rows=assigned_rows,
        answered_rows=answered_rows, scored_rows=len(tried.good), error_rows=tried.error_rows,
        missing_rows=tried.missing_rows, scoring_us=tried.scoring_us, scoring_batches=int(len(tried.good) > 0),
    )  # fmt: skip


def _nothing(rows: int, classes: int) -> Scores:
    return Scores(np.full(rows, np.nan), np.full((rows, classes), np.nan))


def _chosen(first: NDArray[np.bool_], one: Scores, other: Scores) -> Scores:
    """The one's answers where ``first``, else the other's."""
    return Scores(np.where(first, one.values, other.values), np.where(first[:, None], one.scores, other.scores))


def _blank(scored: Scores, said: NDArray[np.bool_]) -> Scores:
    """NaN where nothing was said: half an answer, such as a class without scores, is none."""
    return Scores(np.where(said, scored.values, np.nan), np.where(said[:, None], scored.scores, np.nan))


def names_of(rollout: Rollout, said: Said) -> Any:
    """The variant of each row, as an Arrow column."""
    return pa.array(rollout.names, pa.utf8()).take(pa.array(said.part))
