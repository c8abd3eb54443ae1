"""One run of ``millrace dead-letters replay``: who asked for what, and what became of it."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from millrace.bus.deadletter import Origin, place_of, why
from millrace.bus.types import Record
from millrace.contracts.events import AuditRecorded
from millrace.contracts.project import Project
from millrace.operating.letters import REPLAYED, Choice


@dataclass(frozen=True, slots=True)
class Impossible:
    """A letter that cannot be sent back, and why."""

    place: str
    why: str


@dataclass(slots=True)
class Report:
    """What became of the letters that were meant.

    ``replayed`` were sent back by this run, ``skipped`` by an earlier one, ``repeats`` were left out as duplicates.
    """

    replayed: int = 0
    skipped: int = 0
    repeats: int = 0
    impossible: list[Impossible] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Those replayed, by the reason for which they had been refused."""

    @property
    def done(self) -> int:
        """All letters that were dealt with."""
        return self.replayed + self.skipped + self.repeats + len(self.impossible)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "replayed": self.replayed,
            "skipped": self.skipped,
            "repeats": self.repeats,
            "impossible": [asdict(one) for one in self.impossible],
            "reasons": dict(self.reasons.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """Who asked for it, when, for which letters, and why in their words."""

    operator: str
    now_ms: int
    choice: Choice
    comment: str = ""

    def audit_id(self, project: Project) -> str:
        """What names the run in the audit log."""
        return f"audit/replay-dead-letters/{project.stream}/{self.operator}/{self.now_ms}"

    def audit(self, project: Project) -> AuditRecorded:
        """The event that says that a replay has begun."""
        return AuditRecorded(
            audit_id=self.audit_id(project),
            actor=self.operator,
            action="replay-dead-letters",
            subject=project.stream,
            reason=f"asked for: {self.choice.words}{self.comment and f' ({self.comment})'}",
            caused_by=None,
            recorded_at_ms=self.now_ms,
        )

    def audit_of(self, letter: Record, origin: Origin, project: Project) -> AuditRecorded:
        """The event that says that this letter was sent back. The same letter always has the same id."""
        place = place_of(letter)
        return AuditRecorded(
            audit_id=f"audit/{REPLAYED}/{place}",
            actor=self.operator,
            action=REPLAYED,
            subject=place,
            reason=f"{why(letter)['reason']}, sent back to {origin.topic}/{origin.partition}",
            caused_by=self.audit_id(project),
            recorded_at_ms=self.now_ms,
        )
