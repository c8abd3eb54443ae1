"""The evidence about a rollout: what each of its variants did in one partition, added up for each epoch.

Rules:

- Sums are those of all rows below the offset that they name, since the epoch began. They are a function of the log:
  losses are added one by one in the order of their labels, so that no cutting of rows into frames changes a digit.
  Only *when* evidence is given depends on the frames: at the end of one, at most once per epoch.
- What the variants did is counted by the frame. Where serving cuts one micro-batch into several frames, the first of
  them carries the counts of all; times of scoring are what serving wrote down, so that a replay gives the same.
- A label counts for the epoch under which its event was scored, however late it comes. Evidence about it is given while
  its rollout is still under way; nobody asks for more after the end. An ended rollout is kept until another begins,
  which bounds the memory; its epochs are then forgotten, and labels for them change nothing.
- Evidence is due when the labelled rows of an epoch, or of the rollout as a whole, pass a multiple of
  ``evidence_rows``; when events failed or had no answer; and when the rows that a variant scored pass a multiple of
  ``guard_rows``, so that a guardrail without labels can be judged. It is then given about every epoch of the rollout of
  which something new is known: without that, up to ``evidence_rows`` labels of each epoch would never be heard of, and
  a bandit has many short epochs.
- A loss is that of the gate's metric: 0 or 1 (accuracy), clipped log loss, absolute error (mae), squared error (rmse).
  A row without such a number, as of a model without scores under log loss, is not counted as labelled.
- A corrected label changes nothing: the tests that read these sums look at each event once, with what was known then.
- An answer of the champion in place of a variant that failed is just an answer of the champion.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from millrace.contracts.events import ArmMeasured, PairMeasured, VariantScored
from services.monitor.frames import Floats, Rows
from services.monitor.join import Joined
from services.monitor.measure import Task, losses_of

Metric = Literal["accuracy", "log_loss", "mae", "rmse"]

LOSS_MAX = 1e100  # a sum of squares over any number of rows stays a number; what is worse is not told apart


@dataclass(frozen=True, slots=True)
class RolloutFinding:
    """What is known of one epoch of a rollout before ``offset``."""

    rollout_id: str
    epoch: int
    offset: int
    until_time_ms: int
    arms: tuple[ArmMeasured, ...]
    pairs: tuple[PairMeasured, ...]


@dataclass(slots=True)
class _Sum:
    """Numbers one after another: how many, their sum, their squares' sum, and how many are on each side of 0."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    below: int = 0
    above: int = 0

    def add(self, numbers: Floats) -> None:
        """Add them in their order; ``accumulate`` goes from left to right, ``numpy.sum`` does not."""
        self.rows += len(numbers)
        self.total = float(np.add.accumulate(np.append(self.total, numbers))[-1])
        self.squares = float(np.add.accumulate(np.append(self.squares, numbers**2))[-1])
        self.below += int((numbers < 0).sum())
        self.above += int((numbers > 0).sum())


@dataclass(slots=True)
class _Epoch:
    """One epoch of a rollout. Losses and differences are by version; ``told`` is what was known at the last evidence.

    ``champion`` is the version of its champion.
    """

    champion: int
    until_time_ms: int = 0
    variants: dict[str, VariantScored] = field(default_factory=dict)
    losses: dict[int, _Sum] = field(default_factory=dict)
    differences: dict[int, _Sum] = field(default_factory=dict)
    told: tuple[int, ...] = ()

    @property
    def labelled(self) -> int:
        """Labelled rows of all versions."""
        return sum(losses.rows for losses in self.losses.values())

    def known(self) -> tuple[int, ...]:
        """Grows with whatever is counted."""
        variants = self.variants.values()
        return (
            self.labelled,
            sum(pairs.rows for pairs in self.differences.values()),
            sum(each.assigned_rows + each.scored_rows for each in variants),
            self.faults(),
        )

    def faults(self) -> int:
        """Events for which a variant failed or gave no answer."""
        return sum(each.error_rows + each.missing_rows for each in self.variants.values())

    def guarded(self, guard_rows: int) -> int:
        """How often the variants have passed that many scored rows."""
        return sum(each.scored_rows // guard_rows for each in self.variants.values())


class RolloutWatch:
    """The evidence of one partition.

    Args:
        task: of the model.
        metric: of the gate; its loss is compared.
        evidence_rows: labelled events between two measurements.
        guard_rows: events that a variant scored between two measurements, whether labels come or not.
    """

    def __init__(self, task: Task, metric: Metric, evidence_rows: int, guard_rows: int) -> None:
        self._task = task
        self._metric = metric
        self._evidence_rows = evidence_rows
        self._guard_rows = guard_rows
        self._rollout_id: str | None = None
        self._epochs: dict[int, _Epoch] = {}

    def saved(self) -> dict[str, Any]:
        """The rollout, and all that is known of its epochs."""
        return {
            "rollout_id": self._rollout_id,
            "epochs": [[number, _epoch_saved(epoch)] for number, epoch in self._epochs.items()],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what was saved."""
        self._rollout_id = saved["rollout_id"]
        self._epochs = {number: _epoch_restored(epoch) for number, epoch in saved["epochs"]}

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs that are remembered."""
        return tuple(self._epochs)

    def take(self, rows: Rows, joined: Joined) -> list[RolloutFinding]:
        """Count a frame, and the labelled predictions that its labels complete. Returns the evidence that is due."""
        self._begin(rows)
        before = self._marks()
        self._count_scored(rows)
        for number in np.unique(joined.epochs).tolist():
            if number in self._epochs:
                self._count_labelled(self._epochs[number], joined, joined.epochs == number)
        if rows.rollout_id is None or before == self._marks():
            return []
        return [
            self._found(number, epoch, rows.until_offset)
            for number, epoch in self._epochs.items()
            if epoch.known() != epoch.told
        ]

    def _begin(self, rows: Rows) -> None:
        if rows.rollout_id is None:
            return
        if rows.rollout_id != self._rollout_id:
            if rows.epoch < max(self._epochs, default=0):  # of an older rollout: a restart came back to it for a moment
                return
            self._rollout_id = rows.rollout_id
            self._epochs.clear()
        if rows.epoch not in self._epochs:
            self._epochs[rows.epoch] = epoch = _Epoch(rows.champion)
            epoch.told = epoch.known()

    def _marks(self) -> tuple[int, ...]:
        """Evidence is due when one of these has grown; none of them ever falls while the rollout lasts."""
        epochs = self._epochs.values()
        return (
            sum(epoch.labelled for epoch in epochs) // self._evidence_rows,
            sum(epoch.labelled // self._evidence_rows for epoch in epochs),
            sum(epoch.faults() for epoch in epochs),
            sum(epoch.guarded(self._guard_rows) for epoch in epochs),
        )

    def _count_scored(self, rows: Rows) -> None:
        if rows.rollout_id is None or rows.epoch not in self._epochs:
            return
        epoch = self._epochs[rows.epoch]
        for each in rows.variants:
            known = epoch.variants.get(each.variant)
            epoch.variants[each.variant] = each if known is None else _added(known, each)
        scored = rows.times_ms[rows.scored]
        if len(scored):
            epoch.until_time_ms = max(epoch.until_time_ms, int(scored.max()))

    def _count_labelled(self, epoch: _Epoch, joined: Joined, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """Add the losses of the epoch's labelled events, and the differences where two versions scored one."""
        labels = joined.labels[rows]
        versions, others = joined.versions[rows], joined.other_versions[rows]
        losses = self._losses(joined.values[rows], joined.scores[rows], labels)
        other_losses = self._losses(joined.other_values[rows], joined.other_scores[rows], labels)
        for version in np.unique(versions).tolist():
            own = losses[(versions == version) & np.isfinite(losses)]
            if len(own):
                epoch.losses.setdefault(version, _Sum()).add(own)
        answers = versions == epoch.champion  # else the champion is the other one
        differences = np.where(answers, other_losses - losses, losses - other_losses)
        variants = np.where(answers, others, versions)
        paired = np.isfinite(differences) & (answers | (others == epoch.champion))
        for version in np.unique(variants[paired]).tolist():
            epoch.differences.setdefault(version, _Sum()).add(differences[paired & (variants == version)])

    def _losses(self, values: Floats, scores: Floats, labels: Floats) -> Floats:
        """The loss of each row in the unit of the metric, NaN where there is none."""
        measured = losses_of(self._task, values, scores, labels).get(self._metric)
        if measured is None:
            return np.full(len(labels), np.nan)
        losses = 1.0 - measured if self._metric == "accuracy" else measured
        return np.where(np.isfinite(values), np.minimum(losses, LOSS_MAX), np.nan)

    def _found(self, number: int, epoch: _Epoch, offset: int) -> RolloutFinding:
        assert self._rollout_id is not None, "an epoch is one of a rollout"
        epoch.told = epoch.known()
        return RolloutFinding(
            rollout_id=self._rollout_id,
            epoch=number,
            offset=offset,
            until_time_ms=epoch.until_time_ms,
            arms=tuple(_arm(each, epoch.losses) for each in epoch.variants.values()),
            pairs=tuple(
                _pair(each, epoch.differences[each.version])
                for each in epoch.variants.values()
                if each.version in epoch.differences
            ),
        )


def _epoch_saved(epoch: _Epoch) -> dict[str, Any]:
    return {
        "champion": epoch.champion,
        "until_time_ms": epoch.until_time_ms,
        "variants": [each.model_dump() for each in epoch.variants.values()],
        "losses": [[version, asdict(each)] for version, each in sorted(epoch.losses.items())],
        "differences": [[version, asdict(each)] for version, each in sorted(epoch.differences.items())],
        "told": list(epoch.told),
    }


def _epoch_restored(saved: dict[str, Any]) -> _Epoch:
    return _Epoch(
        champion=saved["champion"],
        until_time_ms=saved["until_time_ms"],
        variants={each["variant"]: VariantScored(**each) for each in saved["variants"]},
        losses={version: _Sum(**each) for version, each in saved["losses"]},
        differences={version: _Sum(**each) for version, each in saved["differences"]},
        told=tuple(saved["told"]),
    )


def _added(known: VariantScored, more: VariantScored) -> VariantScored:
    return known.model_copy(
        update={
            name: getattr(known, name) + getattr(more, name)
            for name in VariantScored.model_fields
            if name not in {"variant", "version", "mode"}
        }
    )


def _arm(scored: VariantScored, losses: Mapping[int, _Sum]) -> ArmMeasured:
    own = losses.get(scored.version, _Sum())
    return ArmMeasured(**scored.model_dump(), labelled_rows=own.rows, loss_sum=own.total, loss_squares_sum=own.squares)


def _pair(scored: VariantScored, differences: _Sum) -> PairMeasured:
    return PairMeasured(
        variant=scored.variant,
        version=scored.version,
        paired_rows=differences.rows,
        better_rows=differences.below,
        worse_rows=differences.above,
        difference_sum=differences.total,
        difference_squares_sum=differences.squares,
    )
