"""When so many records are refused that ingest has to stop. Pure.

A deploy gone bad upstream would otherwise empty a whole stream into the dead letters, with nobody noticing. So the
newest ``window_rows`` records of a topic's partition are watched, events and labels each for themselves: more than
``share`` of them refused, and nothing more is written. The rule is looked at after each single record:

    refused among the newest ``window_rows`` records  >  share * window_rows

- Records that have not come yet count as admitted. A stream that is bad from its first record on stops as soon as it
  is certain that its first window will be; one that has just begun does not stop for a handful of bad records.
- A batch is only how records travel: it is the same record that breaks the limit however they are cut.
- Refusals that say nothing about a deploy do not count: see :func:`counts`.
- The window is in the log: admitted records are samples with their ``source_offset``, refused ones dead letters with
  their origin. :meth:`RefusalLimit.take` rebuilds it, so that a restart alone does not let more through. An operator
  who wants these records among the dead letters says so in model.yaml.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from millrace.contracts.data_policy import DeadLetterLimit
from millrace.contracts.errors import MillraceError

REPEATS = frozenset({"duplicate-event", "duplicate-label"})
"""Refused because they came before: somebody who sends a topic once more has not deployed anything bad."""

SPARE = 4  # windows that a rebuild holds at most


class DeadLetterLimitError(MillraceError):
    """More records had to be refused than ``data.dead_letters`` allows; ingest stops, an operator must decide.

    Nothing of the batch in hand was written. Trying again would refuse the same records.
    """


class Refusal(NamedTuple):
    """A refused record that counts, by its offset in its topic."""

    offset: int
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Breach:
    """The window in which the limit was broken. ``first`` is the oldest refusal in it, ``last`` the one too many."""

    refused: int
    window_rows: int
    limit: float
    counts: Mapping[str, int]
    first: Refusal
    last: Refusal

    @property
    def share(self) -> float:
        """Share of the window that was refused."""
        return self.refused / self.window_rows

    def error(self, topic: str, partition: int) -> DeadLetterLimitError:
        """The error that stops ingest: what was seen, where, and the ways out."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts.items())
        seen = f" ({self.last.message})" if self.last.message else ""
        return DeadLetterLimitError(
            f"{topic}/{partition}: {self.refused} of the newest {self.window_rows} records had to be refused "
            f"({reasons}); that is {self.share:.1%}, more than data.dead_letters.share {self.limit:g}. The first of "
            f"them is at offset {self.first.offset}, the newest at {self.last.offset}{seen}. Nothing of this batch was "
            "written, nothing is lost. If the records are good, mend what refuses them (the project's expectations, "
            "fields or schema) and start ingest again. If they are bad, mend what sends them; to let those in the "
            "topic go to the dead letters, raise data.dead_letters.share in model.yaml (1 never stops) and start "
            "ingest again. millrace dead-letters lists them and can send them back after a fix."
        )


def counts(reason: str | None, *, replayed: bool) -> bool:
    """Whether a record counts for the limit.

    Every admitted record does (``reason`` None). A refused one does not if it is a repeat, nor if it was sent back from
    the dead letters (``replayed``): it was counted when it came for the first time.

    >>> counts("out-of-range", replayed=False), counts("out-of-range", replayed=True)
    (True, False)
    >>> counts("duplicate-event", replayed=False)
    False
    """
    return reason is None or not (replayed or reason in REPEATS)


class RefusalLimit:
    """The newest ``policy.window_rows`` records of one topic's partition, of which too many may not be refused.

    Only refusals are kept, each with its number, so that an admitted record costs next to nothing.

    >>> limit = RefusalLimit(DeadLetterLimit(share=0.5, window_rows=10))
    >>> limit.judge([None, *(Refusal(offset, "undecodable") for offset in range(1, 6))]) is None
    True
    >>> limit.judge([None, None, Refusal(8, "undecodable")]).share
    0.6
    """

    def __init__(self, policy: DeadLetterLimit) -> None:
        self._policy = policy
        self._seen = 0  # records so far; the window is the newest of them
        self._refused: deque[tuple[int, Refusal]] = deque()  # with its number, oldest first
        self._taken: dict[int, str | None] = {}  # what is to be rebuilt from, by offset

    @property
    def refused(self) -> int:
        """Refusals in the window."""
        self._rebuild()
        return len(self._refused)

    def take(self, judged: Iterable[tuple[int, str | None]]) -> None:
        """Take in what the log tells: (offset, reason; None if admitted) of records that count, in any order.

        May be called as often as there are pages to read, before the first :meth:`judge`. The newest ``window_rows``
        by offset are kept.
        """
        assert not self._seen, "the window is rebuilt before anything is judged"
        self._taken.update(judged)
        if len(self._taken) > SPARE * self._policy.window_rows:  # now and then: sorting each page would be slow
            self._taken = dict(self._newest())

    def _newest(self) -> list[tuple[int, str | None]]:
        return sorted(self._taken.items(), key=itemgetter(0))[-self._policy.window_rows :]

    def _rebuild(self) -> None:
        if not self._taken:
            return
        newest = self._newest()
        self._taken, self._seen = {}, len(newest)
        self._refused = deque(
            (number, Refusal(offset, reason)) for number, (offset, reason) in enumerate(newest, 1) if reason is not None
        )

    def admit(self, count: int) -> None:
        """So many records came that were all admitted: as :meth:`judge` of so many None, at no cost."""
        self._rebuild()
        self._seen += count
        self._forget(self._seen - self._policy.window_rows)

    def judge(self, outcomes: Sequence[Refusal | None]) -> Breach | None:
        """Take in the next records that count, in offset order: None is an admitted one.

        Returns the breach if one of them breaks the limit: then nothing of the batch may be written, and this object
        is of no use any more. None if all is well; the window has gone on.
        """
        self._rebuild()
        window, start = self._policy.window_rows, self._seen
        for number, refusal in enumerate(outcomes, start + 1):
            if refusal is None:
                continue
            self._refused.append((number, refusal))
            self._forget(number - window)
            if len(self._refused) / window > self._policy.share:
                return self._breach(refusal)
        self._seen = start + len(outcomes)
        self._forget(self._seen - window)
        return None

    def _forget(self, until: int) -> None:
        while self._refused and self._refused[0][0] <= until:
            self._refused.popleft()

    def _breach(self, last: Refusal) -> Breach:
        reasons = Counter(refusal.reason for _, refusal in self._refused)
        return Breach(
            refused=len(self._refused),
            window_rows=self._policy.window_rows,
            limit=self._policy.share,
            counts=dict(reasons.most_common()),
            first=self._refused[0][1],
            last=last,
        )
