"""How a run is opened or refused, and what its id is. Pure.

A run id is a hash of what the model depends on: rows, features, code and seed; the row since which the data differs,
where the search looks at it; the file itself, where it is judged in place of a fitted one. So the same inputs are the
same run, whatever asked for it, and a run that gave a model is not repeated under another name.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

from millrace.contracts.events import DataSnapshotTaken, OffsetRange, TrainingRunChanged
from services.trainer.core import Begin
from services.trainer.state import Policy, State
from services.trainer.train.window import Window

IMPORTED = "imported"


def open_or_refuse(
    state: State, policy: Policy, begin: Begin, window: Window, now_ms: int
) -> TrainingRunChanged | None:
    """The event that opens the run, or the FAILED one that answers the request in its place; None to put it off."""
    rows, holdout = len(window.rows), policy.training.holdout_rows
    if begin.trigger == "FIRST_DATA" and rows < policy.training.first_rows:
        return None
    alone = begin.imported is not None and rows < holdout  # judged on its sample, not on what little there is
    started = _opening(policy, begin, Window((), ()) if alone else window, now_ms, state)
    known = state.runs.get(started.run_id)
    if known is not None and not known.failed:
        judged = "judged this file on" if begin.imported else "trained on"
        return _refused(started, f"{started.run_id} has already {judged} exactly these rows; nothing is new")
    if alone and begin.imported is not None and begin.imported.sample_sha256 is None:
        return _refused(
            started, f"only {rows} labelled rows and no sample of records; {holdout} rows or a sample are needed"
        )
    if begin.imported is None and rows < 2 * holdout:
        return _refused(started, f"only {rows} labelled rows; {holdout} held out and as many to train on are needed")
    return started


def unreadable(policy: Policy, begin: Begin, error: str, now_ms: int) -> TrainingRunChanged:
    """The event that answers a request whose rows cannot be read."""
    return _refused(_opening(policy, begin, Window((), ()), now_ms), error)


def _opening(
    policy: Policy, begin: Begin, window: Window, now_ms: int, state: State | None = None
) -> TrainingRunChanged:
    rows, holdout = len(window.rows), policy.training.holdout_rows
    excluded = () if state is None else _excluded(state, window.ranges)
    snapshots = {} if state is None else state.snapshots
    snapshot = max(snapshots.values(), key=lambda one: one.taken_at_ms, default=None)
    imported = begin.imported is not None
    return TrainingRunChanged(
        run_id=run_id_of(policy, window.ranges, excluded, _besides(policy, begin, window)),
        model=policy.model,
        status="STARTED",
        trigger=begin.trigger,
        caused_by=begin.caused_by,
        ranges=window.ranges,
        feature_set=policy.feature_set,
        code_hash=policy.code_hash,
        seed=policy.training.seed,
        train_rows=max(0, rows - holdout),
        holdout_rows=min(rows, holdout),
        duration_s=0.0,
        changed_at_ms=now_ms,
        excluded=excluded,
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        table_version=_table_version(snapshots, window.ranges),
        rows_sha256=window.sha256 if window.rows else None,
        config_hash=policy.config_hash,
        lock_hash=policy.lock_hash,
        because=begin.because,
        source=IMPORTED if imported else "trained",
        backend="local" if imported else policy.training.backend,
    )


def _besides(policy: Policy, begin: Begin, window: Window) -> tuple[object, ...]:
    """What the model depends on besides rows, code and seed."""
    if begin.imported is not None:
        return (IMPORTED, begin.imported.import_sha256, begin.imported.sample_sha256)
    since = since_drift(policy, window, begin.since_time_ms)
    return () if since is None else ("since", since)


def since_drift(policy: Policy, window: Window, since_time_ms: int | None) -> int | None:
    """The first training row since the drift; None if there is none, or if the search does not ask."""
    search = policy.training.search
    if search is None or "since_drift" not in search.windows or since_time_ms is None:
        return None
    train_rows = max(0, len(window.rows) - policy.training.holdout_rows)
    first = bisect_left(window.rows, since_time_ms, hi=train_rows, key=lambda row: row.time_ms)
    return first if first < train_rows else None


def gap_rows(policy: Policy, window: Window, delay_s: float) -> int:
    """How many rows a label's delay covers at the median distance of the rows, unless the search says how many.

    A quarter of the training rows at most: a stream that comes in bursts has distances near zero.
    """
    search = policy.training.search
    if search is not None and search.gap_rows is not None:
        return search.gap_rows
    times = [row.time_ms for row in window.rows]
    distances = sorted(later - earlier for earlier, later in pairwise(times))
    train_rows = max(0, len(times) - policy.training.holdout_rows)
    if not distances or delay_s <= 0:
        return 0
    distance_ms = max(1, distances[len(distances) // 2])
    return min(train_rows // 4, -(-round(delay_s * 1000) // distance_ms))


def forbidden(state: State, started: TrainingRunChanged) -> tuple[str, ...]:
    """In words, what ingest found that forbids the run: that its newest rows, for which it was started, are bad."""
    return tuple(
        f"the newest rows of partition {part.partition}, offsets {low} to {min(high, part.until_offset)}, are vetoed"
        for part in started.ranges
        for low, high in state.vetoes.get(part.partition, ())
        if part.from_offset < high and low < part.until_offset <= high
    )


def vetoed_since(state: State, started: TrainingRunChanged) -> str | None:
    """What was vetoed of the run's rows after it had begun; None if nothing was."""
    known = {(part.partition, part.from_offset, part.until_offset) for part in started.excluded}
    new = [
        part
        for part in _excluded(state, started.ranges)
        if (part.partition, part.from_offset, part.until_offset) not in known
    ]
    if not new:
        return None
    return "; ".join(
        f"rows of partition {part.partition}, offsets {part.from_offset} to {part.until_offset}, were found bad while "
        "the run was open"
        for part in new
    )


def _table_version(snapshots: Mapping[int, DataSnapshotTaken], ranges: Sequence[OffsetRange]) -> int | None:
    """A version of the lake's table that holds all of the ranges; None if no snapshot says so."""
    known = [snapshots.get(part.partition) for part in ranges]
    versions = [
        snapshot.table_version
        for part, snapshot in zip(ranges, known, strict=True)
        if snapshot is not None and snapshot.ranges[0].until_offset >= part.until_offset
    ]
    found = [version for version in versions if version is not None]
    return max(found) if ranges and len(found) == len(ranges) else None


def _excluded(state: State, ranges: Sequence[OffsetRange]) -> tuple[OffsetRange, ...]:
    """The vetoed parts of the ranges."""
    parts = [
        part.model_copy(
            update={"from_offset": max(low, part.from_offset), "until_offset": min(high, part.until_offset)}
        )
        for part in ranges
        for low, high in state.vetoes.get(part.partition, ())
    ]
    return tuple(part for part in parts if part.from_offset < part.until_offset)


def _refused(started: TrainingRunChanged, error: str) -> TrainingRunChanged:
    """A failure that never started. It has an id of its own, because its run id may belong to a run that succeeded."""
    run_id = f"run-{_digest([started.run_id, started.caused_by])}"
    return started.model_copy(update={"run_id": run_id, "status": "FAILED", "error": error})


def run_id_of(
    policy: Policy,
    ranges: Sequence[OffsetRange],
    excluded: Sequence[OffsetRange] = (),
    besides: Sequence[object] = (),
) -> str:
    """The same rows, code, configuration and seed are the same run, whatever asked for it."""
    places = [
        [part.topic, part.partition, part.from_offset, part.until_offset]
        for parts in (ranges, excluded)
        for part in parts
    ]
    training = policy.training
    return f"run-{_digest([policy.model, places, policy.feature_set, policy.code_hash, training.seed, *besides])}"


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16]
