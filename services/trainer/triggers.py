"""What causes a run besides drift and the first data: new rows, the time, a changed project; and how many a day. Pure.

Rules:

- While a version of the project's feature set serves. Before that there is the first model's own rule.
- Whatever the newest attempt at a run was, begun or refused, is where counting begins. So a retrain never causes the
  next one, and a failure is not tried again at once.
- New rows are counted by the snapshots; those that the newest attempt had seen are not new. A schedule without a
  single new row has nothing to train on and waits for one.
- A cause of these kinds is *ripe* when ``debounce_s`` have passed since it was last heard of: since the newest snapshot
  that added to it. As snapshots may never pause, it is ripe at the latest ``PATIENCE`` times that after it became due.
- Runs that began within the last day are counted whatever caused them. A cause above the budget waits and is not lost:
  it is found again in the log when the oldest of them is a day old. What a person asked for is never held back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from millrace.contracts.events import DataSnapshotTaken, RunTrigger
from services.trainer.state import DAY_MS, Policy, State, champion_for

PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run should begin; ``ripe_at_ms`` is when."""

    trigger: RunTrigger
    caused_by: str
    because: str
    ripe_at_ms: int = 0


def causes(state: State, policy: Policy) -> Iterator[Cause]:
    """Every cause of these kinds that is there or will be, the most urgent first."""
    if state.last is None or champion_for(state, policy) is None:
        return
    last, wanted = state.last, policy.training.triggers
    if wanted.project_changed and last.code_hash != policy.code_hash:
        yield _changed(state, policy)
    count = new_rows(state, policy)
    if wanted.new_rows is not None and count >= wanted.new_rows:
        yield _enough_rows(state, policy, count)
    if wanted.every_s is not None and count > 0:
        due_ms = last.changed_at_ms + round(wanted.every_s * 1000)
        because = (
            f"{wanted.every_s:g} s since {last.run_id}, as the project's schedule says; {count:,} new labelled rows"
        )
        yield Cause("SCHEDULE", f"schedule/{policy.model}/{due_ms}", because, due_ms + _debounce_ms(policy))


def new_rows(state: State, policy: Policy) -> int:
    """Labelled rows of this feature set that the snapshots count and the newest attempt at a run had not seen."""
    current, _ = state.current(policy.feature_set)
    return sum(_added(state, snapshot) for snapshot in current)


def _added(state: State, newest: DataSnapshotTaken) -> int:
    before = state.recent[newest.ranges[0].partition][0].labelled_rows
    return newest.labelled_rows - before if newest.labelled_rows >= before else newest.labelled_rows


def _changed(state: State, policy: Policy) -> Cause:
    assert state.last is not None, "asked after the first run"
    caused_by = f"project/{policy.code_hash}"
    if caused_by in state.answered:  # changed back, and not for the first time
        caused_by = f"{caused_by}/{state.last.run_id}"
    because = f"the project changed: its code is {policy.code_hash}, {state.last.run_id} ran {state.last.code_hash}"
    return Cause("OPERATOR", caused_by, because)


def _enough_rows(state: State, policy: Policy, count: int) -> Cause:
    assert state.last is not None, "asked after the first run"
    current, _ = state.current(policy.feature_set)
    newest = max(current, key=lambda snapshot: snapshot.taken_at_ms)
    asked, debounce_ms = policy.training.triggers.new_rows, _debounce_ms(policy)
    because = f"{count:,} new labelled rows since {state.last.run_id}; the project asks for {asked:,}"
    ripe_at_ms = min(newest.taken_at_ms + debounce_ms, _due_ms(state, policy) + PATIENCE * debounce_ms)
    return Cause("SCHEDULE", newest.snapshot_id, because, ripe_at_ms)


def _due_ms(state: State, policy: Policy) -> int:
    """When there were enough new rows for the first time, going through the snapshots in order of time."""
    current, _ = state.current(policy.feature_set)
    partitions = {snapshot.ranges[0].partition for snapshot in current}
    parts = [(at, one) for at in partitions for one in state.recent[at]]
    before = {at: state.recent[at][0].labelled_rows for at in partitions}
    known, due_ms = dict(before), 0
    for at, snapshot in sorted(parts, key=lambda part: part[1].taken_at_ms):
        known[at], due_ms = snapshot.labelled_rows, snapshot.taken_at_ms
        if sum(known.values()) - sum(before.values()) >= (policy.training.triggers.new_rows or 0):
            break
    return due_ms


def _debounce_ms(policy: Policy) -> int:
    return round(policy.training.triggers.debounce_s * 1000)


def budget_free_at_ms(state: State, policy: Policy, now_ms: int) -> int | None:
    """When another run may begin under the day's budget; None if it may now."""
    day = sorted(began_ms for began_ms, _ in state.starts if began_ms > now_ms - DAY_MS)
    over = len(day) - policy.training.triggers.runs_per_day
    return None if over < 0 else day[over] + DAY_MS
