"""What became of each record that was sent: matched by its bytes to its place, and by its place to its fate. Pure.

A bad record is *caught* when it is a dead letter, or a sample that carries a flag: that one is scored and never
trained on. A good record is *falsely rejected* by the same. It is *held up* if it was admitted while a model served
and has not exactly one prediction in the end.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.demo.ledger import Place
from millrace.demo_data.inject import Fault, Plan, Sending
from millrace.demo_data.read import Received, Told, is_scored
from millrace.demo_data.report import CleanRows, FaultFigures, Latency
from millrace.demo_data.send import Sent


@dataclass(frozen=True, slots=True)
class Fate:
    """One event, as it was sent and as it ended. ``latency_ms`` is from sending to its prediction in the log."""

    number: int
    sending: Sending
    source: Place | None
    refused: str | None = None
    message: str = ""
    flags: tuple[str, ...] = ()
    sample: Place | None = None
    is_scored: bool = False
    predictions: int = 0
    ends: int = 0
    latency_ms: int | None = None

    @property
    def caught_by(self) -> str | None:
        """The reason of its dead letter, or its flags; None if it passed for good."""
        return self.refused or ",".join(self.flags) or None

    @property
    def is_held_up(self) -> bool:
        """Whether it was admitted to be scored, and was not exactly once."""
        return self.is_scored and self.predictions != 1


def fates(sent: Sequence[Sent], told: Told) -> list[Fate]:
    """The fate of everything that was sent, in that order."""
    places: dict[bytes | None, deque[Received]] = {}
    for one in told.received:
        places.setdefault(one.value, deque()).append(one)
    first = told.control.first_offsets()
    return [_fate(one, places.get(one.value), told, first) for one in sent]


def _fate(sent: Sent, copies: deque[Received] | None, told: Told, first: dict[int, int]) -> Fate:
    if not copies:
        return Fate(sent.number, sent.sending, None)
    received = copies.popleft()
    letters, samples = told.refused.get(received.place, []), told.admitted.get(received.place, [])
    ends = len(letters) + len(samples)
    if not samples:
        letter = letters[0] if letters else None
        reason, message = (letter.reason, letter.message) if letter else (None, "")
        return Fate(sent.number, sent.sending, received.place, reason, message, ends=ends)
    sample = samples[0]
    predicted = told.predicted.get(sample.place, [])
    return Fate(
        sent.number, sent.sending, received.place, None, "", sample.flags, sample.place,
        is_scored(sample.place, first), len(predicted), ends,
        predicted[0] - received.time_ms if predicted else None,
    )  # fmt: skip


def fault_figures(found: Sequence[Fate], plan: Plan) -> dict[Fault, FaultFigures]:
    """What was injected and what was caught, fault by fault, in the order of the stream."""
    return {
        fault: _figures([one for one in found if one.sending.fault == fault], rows)
        for fault, rows in plan.stretches.items()
    }


def _figures(bad: Sequence[Fate], rows: range) -> FaultFigures:
    caught = [at for at, one in enumerate(bad) if one.caught_by]
    by = Counter(one.caught_by for one in bad if one.caught_by)
    examples: dict[str, str] = {}
    for one in bad:
        if one.caught_by:
            examples.setdefault(one.caught_by, one.message)
    return FaultFigures(
        injected=len(bad),
        caught=len(caught),
        rejected=sum(one.refused is not None for one in bad),
        flagged=sum(bool(one.flags) for one in bad),
        caught_by=dict(by.most_common()),
        passed_before_first_caught=caught[0] if caught else len(bad),
        from_row=rows.start,
        until_row=rows.stop,
        messages=examples,
    )


def clean_rows(found: Iterable[Fate]) -> CleanRows:
    """How many of these good rows were refused or flagged, and by what."""
    good = [one for one in found if one.sending.fault is None]
    by = Counter(one.caught_by for one in good if one.caught_by)
    return CleanRows(
        rows=len(good),
        refused=sum(one.refused is not None for one in good),
        flagged=sum(bool(one.flags) for one in good),
        by=dict(by.most_common()),
    )


def latency(found: Iterable[Fate]) -> Latency:
    """From sending to prediction, over the good rows among these."""
    times = [one.latency_ms for one in found if one.sending.fault is None and one.latency_ms is not None]
    if not times:
        return Latency(rows=0, p50_ms=None, p99_ms=None, max_ms=None)
    p50, p99 = np.percentile(times, [50, 99])
    return Latency(rows=len(times), p50_ms=round(float(p50)), p99_ms=round(float(p99)), max_ms=max(times))


def lost(found: Iterable[Fate]) -> int:
    """Events that ended nowhere, or in more than one place."""
    return sum(one.ends != 1 for one in found)
