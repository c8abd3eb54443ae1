"""What a lane remembers, saved beside what it writes, so that recovery need not read the samples from their beginning.

Parts of the state are records of the compacted topic ``<stream>-feature-state``, written in one of the lane's own
transactions. Together they are the state as of ``until_offset`` of the samples log; the samples from there on, taken in
again, lead to the present. The ids of events are not saved: those from ``ids_from_offset`` on are read again.

What is saved is believed only whole, and only by a project that means the same by it; otherwise everything is read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.bus.context import Context
from millrace.bus.savings import Place, newest_whole
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.events import FeatureStateSaved
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Saved:
    """A whole saving: the frames of each kind, in their order."""

    until_offset: int
    ids_from_offset: int
    frames: Mapping[str, Sequence[bytes]]


class StateTopic:
    """The saved state of one partition."""

    def __init__(self, context: Context, number: int) -> None:
        self._context = context
        self._number = number
        self._topic = topic_name(topics.FEATURE_STATE, context.project)
        self._config_hash = meaning(context.project)

    def records(self, saved: Saved, now_ms: int) -> list[OutRecord]:
        """The saving as records, to be written in one transaction."""
        project, codec = self._context.project, self._context.codec
        places = [(kind, part, frame) for kind, frames in saved.frames.items() for part, frame in enumerate(frames)]
        written = []
        for kind, part, frame in places:
            event = FeatureStateSaved(
                stream=project.stream,
                partition=self._number,
                feature_set=project.feature_set,
                config_hash=self._config_hash,
                until_offset=saved.until_offset,
                ids_from_offset=saved.ids_from_offset,
                kind=kind,
                part=part,
                parts=len(places),
                frame=frame,
                saved_at_ms=now_ms,
            )
            key = f"{self._number}/{kind}/{part}".encode()
            written.append(OutRecord(self._topic, key, codec.encode(self._topic, event), self._number))
        return written

    async def newest(self, end: int) -> Saved | None:
        """The newest whole saving of samples below ``end``; None if there is none that fits the project."""
        whole, _ = await newest_whole(
            self._context, self._topic, self._number, FeatureStateSaved, _place, lambda part: part.until_offset <= end
        )
        if not whole:
            return None
        if (whole[0].feature_set, whole[0].config_hash) != (self._context.project.feature_set, self._config_hash):
            log.info("saved state is of another project", partition=self._number, until_offset=whole[0].until_offset)
            return None
        frames: dict[str, list[bytes]] = {}
        for part in sorted(whole, key=lambda one: (one.kind, one.part)):
            frames.setdefault(part.kind, []).append(part.frame)
        return Saved(whole[0].until_offset, whole[0].ids_from_offset, frames)


def _place(part: FeatureStateSaved) -> Place:
    return Place(part.until_offset, (part.feature_set, part.config_hash), (part.kind, part.part))


def meaning(project: Project) -> str:
    """Content hash of what a saved state depends on, the features themselves aside."""
    parts = project.model_dump(mode="json", include={"event", "label", "expectations", "dedupe"})
    kept = project.data.model_dump(mode="json", include={"late", "entities"})
    hidden = project.personal.fields if project.personal else ()
    return hashlib.sha256(json.dumps([parts, kept, hidden], sort_keys=True).encode()).hexdigest()[:16]
