"""What the monitor remembers of a partition, saved so that a restart reads few rows, however long the log is.

Parts of the state are records of the compacted topic ``<model>-monitor-state``, written in the very transaction that
publishes the findings of the frame in which the save point lies. So whoever reads a saved state knows that what was
found up to it is out, and goes on from there: the observations from ``until_offset`` on are taken, without the rows
below ``until_sample_offset``. Predictions that wait for their labels are not saved: the observations from
``join_from_offset`` on are read again for the join alone.

What is saved is believed only whole, and only by a project and a program that mean the same by it (``config_hash``);
otherwise all observations that the broker still has are read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic_core import to_jsonable_python

from millrace.bus.context import Context
from millrace.bus.savings import Place, newest_whole
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.events import MonitorStateSaved
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from services.monitor.policy import Policy

FORM = 2  # of the saved content; another number makes older states unfit, so that they are not misread
PART_BYTES = 500_000  # half of what the broker takes in one record
CODEC = "zstd"  # eight times as fast as zlib here, and smaller


@dataclass(frozen=True, slots=True)
class Saved:
    """A state of a partition. ``schemas/monitor-state-saved`` says what the offsets mean.

    ``join_from_sample`` is the samples offset of the oldest prediction that waits; ``content`` is that of the
    ``Watch``, ``alarm`` the newest one that is not settled.
    """

    until_offset: int
    until_sample_offset: int
    join_from_offset: int
    join_from_sample: int
    content: Mapping[str, Any]
    alarm: Mapping[str, Any] | None = None


class StateTopic:
    """The saved state of one partition.

    Args:
        context: project, transport and codec.
        number: of the partition.
        config_hash: what a state must have been saved under to be believed.
    """

    def __init__(self, context: Context, number: int, config_hash: str) -> None:
        self._context = context
        self._number = number
        self._topic = topic_name(topics.MONITOR_STATE, context.project)
        self._config_hash = config_hash

    def records(self, saved: Saved, now_ms: int) -> list[OutRecord]:
        """The saving as records, to be written in one transaction."""
        body = {"join_from_sample": saved.join_from_sample, "watch": saved.content, "alarm": saved.alarm}
        packed = compressed(json.dumps(body, separators=(",", ":")).encode())
        pieces = [packed[at : at + PART_BYTES] for at in range(0, len(packed), PART_BYTES)]
        written = []
        for part, piece in enumerate(pieces):
            event = MonitorStateSaved(
                model=self._context.project.model,
                partition=self._number,
                config_hash=self._config_hash,
                until_offset=saved.until_offset,
                until_sample_offset=saved.until_sample_offset,
                join_from_offset=saved.join_from_offset,
                part=part,
                parts=len(pieces),
                content=piece,
                saved_at_ms=now_ms,
            )
            key = f"{self._number}/{part}".encode()
            written.append(OutRecord(self._topic, key, self._context.codec.encode(self._topic, event), self._number))
        return written

    async def newest(self) -> Saved | str:
        """The newest whole state that fits, or in words why there is none."""
        whole, any_saved = await newest_whole(
            self._context, self._topic, self._number, MonitorStateSaved, _place,
            lambda part: part.config_hash == self._config_hash,
        )  # fmt: skip
        if not whole:
            other = "what is saved belongs to other settings in model.yaml or another release of the monitor"
            return other if any_saved else "nothing is saved"
        try:
            return _unpacked(sorted(whole, key=lambda part: part.part))
        except (ValueError, KeyError, TypeError, OSError) as error:
            return f"the state until offset {whole[0].until_offset} cannot be read: {error}"


def _place(part: MonitorStateSaved) -> Place:
    return Place(part.until_sample_offset, part.config_hash, part.part)


def compressed(content: bytes) -> bytes:
    """The content as it is saved."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, CODEC) as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _unpacked(parts: Sequence[MonitorStateSaved]) -> Saved:
    with pa.CompressedInputStream(pa.BufferReader(b"".join(part.content for part in parts)), CODEC) as packed:
        body = json.loads(packed.read())
    return Saved(
        until_offset=parts[0].until_offset,
        until_sample_offset=parts[0].until_sample_offset,
        join_from_offset=parts[0].join_from_offset,
        join_from_sample=body["join_from_sample"],
        content=body["watch"],
        alarm=body["alarm"],
    )


def meaning(project: Project, policy: Policy) -> str:
    """Content hash of what a saved state depends on."""
    parts = [FORM, project.feature_set, project.label.classes, to_jsonable_python(policy)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
