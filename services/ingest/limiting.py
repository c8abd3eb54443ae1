"""The dead-letter limit of one partition: its windows in memory, and how they are found again in the log."""

from collections.abc import Mapping, Sequence

from millrace.bus.context import Context
from millrace.bus.deadletter import was_replayed, why
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.events import AlertRaised
from millrace.contracts.topics import topic_name
from services.ingest.core import Joined, Outcome, Refused
from services.ingest.limit import DeadLetterLimitError, Refusal, RefusalLimit, counts


class Limits:
    """One window for each input topic."""

    def __init__(self, context: Context, number: int) -> None:
        self._context = context
        self._number = number
        project = context.project
        self._letters = topic_name(topics.DEAD_LETTERS, project)
        inputs = (topic_name(topics.EVENTS, project), topic_name(topics.LABELS, project))
        self._windows = {topic: RefusalLimit(project.data.dead_letters) for topic in inputs}
        self._reach = 2 * project.data.dead_letters.window_rows

    async def recover(
        self, admitted: Mapping[str, Sequence[int]], committed: Mapping[str, int], *, whole: bool
    ) -> None:
        """Rebuild the windows from source offsets that were admitted lately, and from the newest dead letters.

        ``whole``: these are all that were ever admitted. Else nothing is known of what came beside letters that are
        older than the oldest of these, and they do not count.
        """
        floors = {topic: committed.get(topic, 0) - self._reach // 2 for topic in self._windows}
        for topic, offsets in admitted.items():
            if topic in self._windows and offsets:
                self._windows[topic].take((offset, None) for offset in offsets)
                floors[topic] = 0 if whole and len(offsets) < self._reach // 2 else min(offsets)
        bounds = await self._context.transport.bounds(self._letters, self._number)
        start = max(bounds.begin, bounds.end - self._reach)
        async for records in self._context.transport.read(self._letters, self._number, start, bounds.end):
            for record in records:
                self._take(record, floors, committed)

    def _take(self, letter: Record, floors: Mapping[str, int], committed: Mapping[str, int]) -> None:
        told = why(letter)
        topic, offset, reason = told["topic"], told["offset"], told["reason"]
        if topic not in self._windows or not offset.isdecimal():
            return
        if not floors[topic] <= int(offset) < committed.get(topic, 0):
            return
        if counts(reason, replayed=was_replayed(letter)):
            self._windows[topic].take([(int(offset), reason)])

    def judge(self, outcomes: Sequence[Outcome], refused: Sequence[Refused]) -> DeadLetterLimitError | None:
        """Take in what was decided; the error that has to stop ingest if too much of it had to be refused."""
        if not refused:
            labels = sum(map(_is_label, outcomes))
            for window, count in zip(self._windows.values(), (len(outcomes) - labels, labels), strict=True):
                window.admit(count)
            return None
        for topic, window in self._windows.items():
            found = [outcome for outcome in outcomes if _origin(outcome).topic == topic and _counts(outcome)]
            breach = window.judge([_refusal(outcome) for outcome in found])
            if breach is not None:
                return breach.error(topic, self._number)
        return None

    def alert(self, error: DeadLetterLimitError, positions: Mapping[str, int], now_ms: int) -> AlertRaised:
        """What the operator is told; the same stop is told once."""
        place = "/".join(str(offset) for _, offset in sorted(positions.items()))
        return AlertRaised(
            alert_id=f"alert/dead-letter-limit/{self._letters}/{self._number}/{place}",
            service="ingest",
            severity="CRITICAL",
            reason="dead-letter-limit",
            subject=self._letters,
            message=str(error),
            raised_at_ms=now_ms,
        )


def _is_label(outcome: Outcome) -> bool:
    return isinstance(outcome, Joined)


def _origin(outcome: Outcome) -> Record:
    record: Record = outcome.arrival.origin if isinstance(outcome, Joined) else outcome.origin
    return record


def _refusal(outcome: Outcome) -> Refusal | None:
    if not isinstance(outcome, Refused):
        return None
    return Refusal(outcome.origin.offset, outcome.reason, outcome.message)


def _counts(outcome: Outcome) -> bool:
    if not isinstance(outcome, Refused):
        return True
    return counts(outcome.reason, replayed=was_replayed(outcome.origin))
