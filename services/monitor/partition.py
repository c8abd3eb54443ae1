"""One partition in hand: its watch, and how far it is in the log, in the samples, and in what is published.

No effects: the shell reads and writes.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter

from millrace.bus.transport import Producer
from millrace.contracts.events import ObservationsRecorded
from services.monitor.facts import Unreadable
from services.monitor.frames import read_rows
from services.monitor.join import Counts
from services.monitor.saving import Saved
from services.monitor.watch import Drift, Finding, Watch

DRIFT = TypeAdapter(Drift)


@dataclass(slots=True)
class Partition:
    """What the monitor knows of a partition of the observations.

    Attributes:
        number: of the partition.
        watch: all that is computed from its rows.
        is_restored: whether the watch has been brought to ``next_offset``, from saved state or from the beginning.
        next_offset: first offset of the observations that is not in it, or only in part.
        skip_until: rows below this samples offset are in it already, though their frame is read again.
        next_sample: samples offset at which the next frame is expected to begin; None if that is not known.
        published: offset of the observations up to which findings are out.
        silent_until: samples offset up to which they are; only while ``published`` is not known.
        producer: the partition's own, while this process has the partition.
        pending: findings of the newest frame, until they are out.
        saving: the state that is to be written with them.
        is_rebased: whether that is an older state, brought to a topic that was made anew, and has to be written.
        alarm: the newest one, until it is settled.
        ask_at_s: when to look next whether it is.
        frames: of the observations since the oldest prediction that waits: offset, and the samples offset of its begin.
    """

    number: int
    watch: Watch
    next_offset: int = 0
    is_restored: bool = False
    skip_until: int = 0
    next_sample: int | None = None
    published: int = 0
    silent_until: int = 0
    producer: Producer | None = None
    pending: Sequence[Finding | Unreadable] = field(default_factory=list)
    saving: Saved | None = None
    is_rebased: bool = False
    alarm: Drift | None = None
    ask_at_s: float = 0.0
    frames: deque[tuple[int, int]] = field(default_factory=deque)

    def begin(self, watch: Watch, offset: int) -> None:
        """Begin with an empty watch at this offset."""
        self.watch, self.next_offset = watch, offset
        self.skip_until, self.next_sample = 0, None
        self.pending, self.saving, self.alarm = [], None, None
        self.frames.clear()

    def restore(self, watch: Watch, saved: Saved) -> None:
        """Begin with what was saved.

        If it is something else that raises ``LookupError``, ``TypeError``, ``ValueError`` or ``AttributeError``.
        """
        watch.restore(saved.content)
        alarm = None if saved.alarm is None else DRIFT.validate_python(saved.alarm)
        self.begin(watch, saved.until_offset)
        self.skip_until, self.alarm = saved.until_sample_offset, alarm

    def remember(self, offset: int, observed: ObservationsRecorded, saved: Saved) -> None:
        """Read a frame again whose predictions may still wait for labels. Raises ``ContractError``."""
        rows = read_rows(observed)
        self.frames.append((offset, observed.from_offset))
        self.watch.remember(rows.between(saved.join_from_sample, saved.until_sample_offset))

    def take(self, offset: int, observed: ObservationsRecorded) -> list[Finding]:
        """Bring the watch past this frame. Raises ``ContractError``, and has not changed then."""
        rows = read_rows(observed)
        if observed.from_offset < self.skip_until:
            rows = rows.between(self.skip_until, observed.until_offset)
        findings = self.watch.take(rows)
        if not self.frames or self.frames[-1][0] != offset:
            self.frames.append((offset, observed.from_offset))
        self._save(offset, findings)
        for found in findings:
            self._note(found)
        return findings

    def _note(self, found: Finding) -> None:
        if isinstance(found, Drift) and found.severity == "ALARM":
            self.alarm = found

    def _save(self, offset: int, findings: Sequence[Finding]) -> None:
        """If a save point lies in the frame, the state there, with what the alarm was there."""
        point = self.watch.save_point
        if point is None:
            return
        alarms = [found for found in findings if isinstance(found, Drift) and found.severity == "ALARM"]
        known = [found for found in alarms if found.offset < point.until_sample_offset]
        alarm = known[-1] if known else self.alarm
        while len(self.frames) > 1 and self.frames[1][1] <= point.join_from_sample:
            self.frames.popleft()
        self.saving = Saved(
            until_offset=offset + 1 if point.whole else offset,
            until_sample_offset=point.until_sample_offset,
            join_from_offset=self.frames[0][0],
            join_from_sample=point.join_from_sample,
            content=point.content,
            alarm=None if alarm is None else DRIFT.dump_python(alarm, mode="json"),
        )


def differences(before: Counts, after: Counts) -> Mapping[str, int]:
    """What was counted in between, by name."""
    return {each.name: getattr(after, each.name) - getattr(before, each.name) for each in fields(Counts)}


def about(partition: Partition) -> dict[str, Any]:
    """Place and counts of the partition, for people."""
    return {
        "next_offset": partition.next_offset,
        "published": partition.published,
        "waiting": partition.watch.waiting,
        "labels": {each.name: getattr(partition.watch.counts, each.name) for each in fields(Counts)},
    }
