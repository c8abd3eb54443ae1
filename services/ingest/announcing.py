"""Training sets announced: when a snapshot is due, its offset is known, and the lake has its rows.

What waits to be announced is saved with the state; what was announced twice has the same id.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Protocol

from millrace.bus.context import Context
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.events import DataSnapshotTaken, FeatureProfile, OffsetRange
from millrace.contracts.topics import topic_name
from millrace.telemetry.metrics import NEWEST_SNAPSHOT_TIMESTAMP_SECONDS
from services.ingest.rows import SnapshotDue

VERSION = 1
WAITING_MAX = 20  # of snapshots that wait for the lake
FRAME_BYTES = 400_000


class LakePosition(Protocol):
    """How far the lake is: rows below ``position`` of the samples log are in version ``version`` of its table."""

    @property
    def position(self) -> int:
        """The first offset that is not in the table."""
        ...

    @property
    def version(self) -> int | None:
        """The table's version that holds them."""
        ...

    def hurry(self, until_offset: int) -> None:
        """Somebody waits for the rows below this offset."""
        ...


class Announcer:
    """Snapshots of one partition on their way into ``data-snapshots``. Without a lake nothing waits for it."""

    def __init__(self, context: Context, number: int, lake: LakePosition | None) -> None:
        self._context = context
        self._number = number
        self._lake = lake
        self._samples = topic_name(topics.SAMPLES, context.project)
        self._waiting: list[tuple[SnapshotDue, int]] = []
        self._taken: list[DataSnapshotTaken] = []
        self.begin = 0  # first offset of the samples log

    @property
    def ready(self) -> bool:
        """Whether something can be announced now."""
        return any(self._in_lake(until) for _, until in self._waiting)

    def add(self, due: SnapshotDue, until_offset: int) -> None:
        """The snapshot is complete with the samples below this offset."""
        self._waiting.append((due, until_offset))
        if self._lake is not None:
            self._waiting = self._waiting[-WAITING_MAX:]  # a later one covers those before it
            self._lake.hurry(until_offset)

    def take(self, now_ms: int) -> list[OutRecord]:
        """The records of all that can be announced now; they are not given again."""
        ready = [one for one in self._waiting if self._in_lake(one[1])]
        self._waiting = [one for one in self._waiting if one not in ready]
        return [self._record(due, until, now_ms) for due, until in ready]

    def written(self) -> None:
        """What was taken is on the log: tell those who follow lineage."""
        for snapshot in self._taken:
            self._context.lineage.snapshot(snapshot, self._context.project.feature_names)
            newest = NEWEST_SNAPSHOT_TIMESTAMP_SECONDS.labels(snapshot.stream, str(self._number))
            newest.set(snapshot.taken_at_ms / 1000)
        self._taken = []

    def save(self) -> list[bytes]:
        """What waits, as bytes."""
        waiting = [
            {**asdict(due), "profile": [part.model_dump() for part in due.profile], "until": until}
            for due, until in self._waiting
        ]
        text = json.dumps({"version": VERSION, "waiting": waiting}).encode()
        return [text[at : at + FRAME_BYTES] for at in range(0, len(text), FRAME_BYTES)]

    def restore(self, frames: list[bytes]) -> None:
        """Put saved ones in the place of those that wait. Raises ``ValueError`` for what was not saved here."""
        self._waiting = []
        found = json.loads(b"".join(frames))
        if found["version"] != VERSION:
            raise ValueError(f"snapshots saved in version {found['version']}, this is {VERSION}")
        for saved in found["waiting"]:
            profile = tuple(FeatureProfile.model_validate(part) for part in saved.pop("profile"))
            until = saved.pop("until")
            self.add(SnapshotDue(**saved, profile=profile), until)

    def _in_lake(self, until_offset: int) -> bool:
        return self._lake is None or self._lake.position >= until_offset

    def _record(self, due: SnapshotDue, until_offset: int, now_ms: int) -> OutRecord:
        project = self._context.project
        ranges = OffsetRange(
            topic=self._samples, partition=self._number, from_offset=self.begin, until_offset=until_offset
        )
        snapshot = DataSnapshotTaken(
            snapshot_id=f"{project.stream}/{self._number}/{until_offset}",
            stream=project.stream,
            feature_set=project.feature_set,
            ranges=(ranges,),
            table_version=None if self._lake is None else self._lake.version,
            rows=due.rows,
            labelled_rows=due.labelled_rows,
            from_time_ms=due.from_time_ms,
            until_time_ms=due.until_time_ms,
            profile=due.profile,
            taken_at_ms=now_ms,
        )
        snapshot = snapshot.model_copy(update={"content_sha256": content_hash(snapshot)})
        self._taken.append(snapshot)
        topic = topics.DATA_SNAPSHOTS.suffix
        return OutRecord(topic, project.stream.encode(), self._context.codec.encode(topic, snapshot))


def content_hash(snapshot: DataSnapshotTaken) -> str:
    """SHA-256 of what a snapshot says about its rows: stream, feature set, ranges, counts, times and profile."""
    said = snapshot.model_dump(mode="json", exclude={"taken_at_ms", "table_version", "content_sha256"})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
