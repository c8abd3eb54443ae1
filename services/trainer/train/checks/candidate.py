"""What the checks look at: a model that was made, and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from services.trainer.train.score import Scores


class Step(Protocol):
    """One step of a fit: its number, the loss on the training rows, and on rows set aside, where there are some."""

    @property
    def step(self) -> int:
        """Its number; it grows."""
        ...

    @property
    def train_loss(self) -> float | None:
        """Loss on the training rows after it."""
        ...

    @property
    def validation_loss(self) -> float | None:
        """Loss after it on rows that were not learned from."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model before its judgement.

    ``estimator`` is None for an imported model. ``scores`` are those of the ONNX file on the task's hold-out rows,
    ``champion_scores`` the champion's on the same; both have their metrics. ``history`` is empty where the estimator
    keeps none. ``vetoes`` are the judgements of ingest that forbid this run, in words; None if nobody asked.
    """

    estimator: Any | None
    artifact: bytes
    scores: Scores
    champion_scores: Scores | None
    metrics: Mapping[str, float]
    champion_metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    history: tuple[Step, ...] = ()
    vetoes: tuple[str, ...] | None = None


class About(NamedTuple):
    """A check for the table: its name, the keys of its limits under ``gates``, and what it guards against."""

    name: str
    keys: tuple[str, ...]
    guards: str
