"""A variant that is being tried out, kept from doing harm: whatever it does, the champion's answer is at hand.

- What it raises, and a micro-batch that takes longer than the deadline, are error rows: it answered none of them.
- A number that is not finite, or a class that nobody knows, is a missing row; the others of the batch count.
- After ``FAILURES`` micro-batches in a row that failed as a whole it is not run any more for the rest of the epoch:
  each further one would cost every event the deadline once more. Its rows go on to be counted as errors, so the
  guardrail sees them. A restart, and each new epoch, tries again.

The deadline is held twice. An alarm ends the call inside ONNX Runtime, between two nodes. A node cannot be ended, so a
micro-batch is given in pieces of ``PIECE_ROWS``, and the time is looked at between them.

What is counted as scoring time is the model's alone, so that it can be held against the champion's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millrace.telemetry.log import get_logger
from services.serving.score import Floats, Scores, Stop

log = get_logger(__name__)
FAILURES = 3  # one may be the machine's fault; three deadlines in a row are seen by whoever waits
PIECE_ROWS = 2048  # a few ms of a usual model, and more would not be faster

Timer = Callable[[], float]
"""Seconds since some moment; in a simulation the loop's, which stand still while somebody computes."""


class Scorer(Protocol):
    """What scores: a model."""

    def score(self, features: Floats, stop: Stop | None = None) -> Scores:
        """Score rows of features; ``stop`` ends it early."""
        ...


class Alarm(Protocol):
    """What was set to go off, and can be taken back."""

    def cancel(self) -> None:
        """Do not go off any more."""
        ...


SetAlarm = Callable[[float, Callable[[], None]], Alarm]
"""Calls back after so many seconds, from another thread."""


class TooSlowError(Exception):
    """The deadline has passed."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a try. ``good`` are the rows that it has an answer to; ``scored`` is None if it has none at all."""

    scored: Scores | None
    good: NDArray[np.bool_]
    error_rows: int
    missing_rows: int
    scoring_us: int


class Guard:
    """Scores with one variant of one deployment. Lanes share it.

    Args:
        scorer: the variant's model.
        name: how it is called in the log.
        classes: number of classes; 0 for regression.
        deadline_s: the longest that one micro-batch may take.
        timer: what the time is read from.
        alarm: what ends a call inside ONNX Runtime; None where time is virtual.
    """

    def __init__(
        self, scorer: Scorer, *, name: str, classes: int, deadline_s: float, timer: Timer,
        alarm: SetAlarm | None = None,
    ) -> None:  # fmt: skip
        self._scorer = scorer
        self._name = name
        self._classes = classes
        self._deadline_s = deadline_s
        self._timer = timer
        self._alarm = alarm
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether it failed too often, and is not run any more."""
        return self._failures >= FAILURES

    def score(self, features: Floats) -> Tried:
        """Try to score. Raises nothing that the model is to blame for."""
        rows = len(features)
        if not rows:
            return Tried(None, np.zeros(0, dtype=np.bool_), 0, 0, 0)
        if self.is_open:
            return Tried(None, np.zeros(rows, dtype=np.bool_), rows, 0, 0)
        began_s = self._timer()
        try:
            scored, took_s = self._in_time(features, began_s)
            good = scored.known(self._classes)
        except Exception as error:  # noqa: BLE001  # whatever a model provokes is the variant's failure
            self._failures += 1
            log.warning("variant failed", variant=self._name, error=repr(error)[:500], not_run_any_more=self.is_open)
            return Tried(None, np.zeros(rows, dtype=np.bool_), rows, 0, round((self._timer() - began_s) * 1e6))
        self._failures = 0
        return Tried(scored, good, 0, rows - int(good.sum()), round(took_s * 1e6))

    def _in_time(self, features: Floats, began_s: float) -> tuple[Scores, float]:
        """The scores, and the seconds that the model took."""
        stop = Stop()
        alarm = None if self._alarm is None else self._alarm(self._deadline_s, stop.set)
        pieces: list[Scores] = []
        took_s = 0.0
        try:
            for start in range(0, len(features), PIECE_ROWS):
                from_s = self._timer()
                pieces.append(self._checked(features[start : start + PIECE_ROWS], stop))
                now_s = self._timer()
                took_s += now_s - from_s
                if now_s - began_s > self._deadline_s:
                    raise TooSlowError(
                        f"{(now_s - began_s) * 1000:.0f} ms, at most {self._deadline_s * 1000:g} are allowed"
                    )
        finally:
            if alarm is not None:
                alarm.cancel()
        if len(pieces) == 1:
            return pieces[0], took_s
        values, scores = ([getattr(one, name) for one in pieces] for name in ("values", "scores"))
        return Scores(np.concatenate(values), np.concatenate(scores)), took_s

    def _checked(self, features: Floats, stop: Stop) -> Scores:
        scored = self._scorer.score(features, stop)
        if scored.scores.shape != (len(features), self._classes):
            raise ValueError(f"scores of shape {scored.scores.shape} for {len(features)} rows")
        return scored
