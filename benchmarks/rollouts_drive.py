"""One rollout from its first deployment to its verdict: serving, monitor and registry in a loop without a bus.

The verdict is the registry's own ``verdict_on``, fed with ``RolloutMeasured`` events through its own ``Evidence``. What
is played here is serving (who answers an event) and the monitor (cumulative counts for each epoch).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.rollouts_worlds import LOOKS, MOST_DELAY, POLICIES, Stream, World, stream
from benchmarks.rollouts_worlds import ROWS as ROWS_NEEDED
from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_events import DeploymentDecided, RolloutMeasured
from millrace.contracts.rollout_policy import Rollout
from services.registry.rollout.evidence import Evidence
from services.registry.rollout.examples import arm, deployed, measured, pair
from services.registry.rollout.judge import Hold, Promote, RollBack, Shift, Verdict, opening, verdict_on

GATES = Gates(first=0.5)
PAIRED = ("canary", "shadow")
CANDIDATE = "candidate"
Sums = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended: ``promoted``, by which guardrail, or ``open`` when the stream was over.

    ``rows`` are the labelled events until then, ``events`` all of them, ``touched`` those that the candidate answered.
    """

    how: str
    rows: int
    events: int
    touched: int


@dataclass(slots=True)
class Epoch:
    """A deployment and the rows that it covers; ``until`` None while it is the newest."""

    deployment: DeploymentDecided
    share: float
    since: int
    sums: Sums
    until: int | None = None
    done: bool = field(default=False)


def run(policy: str, world: World, seed: tuple[int, ...]) -> Ended:
    """One rollout under that policy."""
    return drive(POLICIES[policy], world, stream(world, ROWS_NEEDED[policy] + MOST_DELAY, seed))


def drive(rollout: Rollout, world: World, events: Stream) -> Ended:
    """Look every ``world.look_rows`` events until there is a verdict, or the stream ends."""
    share, mode = opening(rollout)
    deployment = deployed(rollout.strategy, [(CANDIDATE, share)], mode=mode)
    epochs = [Epoch(deployment, share, 0, _sums(events, 0, share, paired=rollout.strategy in PAIRED))]
    evidence = Evidence()
    every = world.look_rows * LOOKS[rollout.strategy]
    for now in range(every, len(events.place) + 1, every):
        for event in _measure(epochs, now, world.delay):
            evidence = evidence.add(event)
        newest = epochs[-1].deployment
        verdict = verdict_on(rollout, GATES, newest, evidence, now_ms=0)
        if isinstance(verdict, Shift):
            epochs[-1].until = now
            shifted = verdict.shares[CANDIDATE]
            deployment = deployed(
                rollout.strategy, [(CANDIDATE, shifted)], epoch=newest.epoch + 1, step=verdict.step, mode="LIVE"
            )
            sums = _sums(events, now, shifted, paired=rollout.strategy in PAIRED)
            epochs.append(Epoch(deployment, shifted, now, sums))
        elif not isinstance(verdict, Hold):
            return _ended(verdict, epochs, now, world.delay)
    return _ended(None, epochs, len(events.place), world.delay)


ASSIGNED, FAILED, ANSWERED, WORSE, BETTER, ROWS, WRONG, CHAMPION_ROWS, CHAMPION_WRONG = range(9)


def _sums(events: Stream, since: int, share: float, *, paired: bool) -> Sums:
    """Running sums over the rows from ``since`` on, one line for each thing counted, while that share is in force."""
    right, champion_right = events.right[since:], events.champion_right[since:]
    assigned = events.place[since:] < share
    scored = np.ones_like(assigned) if paired else assigned
    failed = events.failed[since:] & scored
    answered = assigned & ~failed
    known = scored & ~failed if paired else np.zeros_like(assigned)
    wrong = np.where(answered, ~right, ~champion_right)
    flags = [
        assigned, failed, answered, known & champion_right & ~right, known & right & ~champion_right, known,
        wrong & answered, ~answered, wrong & ~answered,
    ]  # fmt: skip
    sums = np.zeros((len(flags), len(assigned) + 1), dtype=np.int64)
    np.cumsum(np.stack(flags), axis=1, out=sums[:, 1:])
    return sums


def _measure(epochs: Sequence[Epoch], now: int, delay: int) -> Iterator[RolloutMeasured]:
    """What the monitor publishes: each epoch whose rows are not all labelled yet."""
    for one in epochs:
        if one.done:
            continue
        until = now if one.until is None else one.until
        labelled = max(one.since, min(until, now - delay))
        one.done = one.until is not None and labelled == until
        yield _event(one, until, labelled, now)


def _event(one: Epoch, until: int, labelled: int, now: int) -> RolloutMeasured:
    seen = [int(value) for value in one.sums[:, until - one.since]]
    known = [int(value) for value in one.sums[:, labelled - one.since]]
    rows, paired = until - one.since, one.deployment.strategy in PAIRED
    scored = rows if paired else seen[ASSIGNED]
    others = rows if paired else rows - seen[ASSIGNED]
    candidate = arm(
        CANDIDATE, assigned_rows=seen[ASSIGNED], answered_rows=seen[ANSWERED], scored_rows=scored,
        error_rows=seen[FAILED], scoring_us=20 * scored, labelled_rows=known[ANSWERED], loss_sum=float(known[WRONG]),
        loss_squares_sum=float(known[WRONG]),
    )  # fmt: skip
    champion = arm(
        "champion", assigned_rows=rows - seen[ASSIGNED], answered_rows=rows - seen[ANSWERED], scored_rows=others,
        scoring_us=20 * others, labelled_rows=known[CHAMPION_ROWS], loss_sum=float(known[CHAMPION_WRONG]),
        loss_squares_sum=float(known[CHAMPION_WRONG]),
    )  # fmt: skip
    pairs = [pair(known[ROWS], worse=known[WORSE], better=known[BETTER])] if paired else []
    return measured(epoch=one.deployment.epoch, until_offset=now, arms=[champion, candidate], pairs=pairs)


def _ended(verdict: Verdict | None, epochs: Sequence[Epoch], now: int, delay: int) -> Ended:
    epochs[-1].until = now
    touched = sum(int(one.sums[ANSWERED, (one.until or now) - one.since]) for one in epochs)
    how = "promoted" if isinstance(verdict, Promote) else verdict.guardrail if isinstance(verdict, RollBack) else "open"
    return Ended(how, max(now - delay, 0), now, touched)
