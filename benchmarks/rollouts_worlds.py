"""What is simulated: the policies as model.yaml would say them, and the worlds that they have to cope with.

The settings are those of the demonstration: a stream with one entity, labels for every event, a champion that is right
89 times in 100, and a candidate that differs from it on 5 events in 100 more than their qualities make it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millrace.contracts.rollout_policy import Guardrails, Rollout

CHAMPION_ACCURACY = 0.89
DISCORDANT = 0.05
MARGIN = 0.05
ROWS_MAX = 2000
EACH_ROW = "equal, a look at each row"
BUNCHES = "equal, 2.5 events alike"
HORIZON = 2000
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class World:
    """How good the candidate is, and what else is not as it should be.

    ``gain`` is its accuracy minus the champion's. ``noise`` is the share of labels that are wrong; ``delay`` how many
    events later a label comes; ``errors`` the share of events on which the candidate raises; ``look_rows`` how many
    labelled events lie between two looks. ``bunch`` is the chance that an event is like the one before it.
    """

    name: str
    gain: float = 0.0
    noise: float = 0.0
    delay: int = 0
    errors: float = 0.0
    look_rows: int = 10
    bunch: float = 0.0

    @property
    def gap(self) -> float:
        """How much worse the worse version is."""
        return abs(self.gain)


WORLDS = (
    World("equal"),
    World(EACH_ROW, look_rows=1),
    World("equal, late noisy labels", noise=0.1, delay=100),
    World(BUNCHES, bunch=0.6),
    World("better by 2", gain=0.02),
    World("better by 5", gain=0.05),
    World("worse by 1", gain=-0.01),
    World("worse by 2", gain=-0.02),
    World("worse by 5", gain=-0.05),
    World("worse by 10", gain=-0.10),
    World("worse by 10, late noisy labels", gain=-0.10, noise=0.1, delay=100),
    World("errors 1 %, as allowed", errors=0.01),
    World("errors 2 %", errors=0.02),
    World("errors 10 %", errors=0.10),
)

_RAILS = Guardrails(loss_margin=MARGIN)
POLICIES = {
    "canary": Rollout(strategy="canary", steps=(0.1, 0.5), step_rows=50, rows_max=ROWS_MAX, guardrails=_RAILS),
    "shadow": Rollout(strategy="shadow", shadow_rows=100, rows_max=ROWS_MAX, guardrails=_RAILS),
    "ab": Rollout(strategy="ab", horizon_rows=HORIZON, guardrails=_RAILS),
    "bandit": Rollout(strategy="bandit", horizon_rows=HORIZON, rebalance_rows=100, guardrails=_RAILS),
}

LOOKS = {"canary": 1, "shadow": 1, "ab": 5, "bandit": 10}  # the slow ones are looked at less often
ROWS = {"canary": ROWS_MAX, "shadow": ROWS_MAX, "ab": HORIZON, "bandit": HORIZON}
MOST_DELAY = 200


SHADOW_WORLDS = ("equal", "better by 2", "worse by 5", "worse by 10", "errors 10 %")


def cells() -> list[tuple[str, World]]:
    """Each policy in each world that asks something new of it: the shadow's test is the canary's."""
    left_out = {
        "ab": {EACH_ROW, BUNCHES},
        "bandit": {EACH_ROW, BUNCHES, "equal, late noisy labels", "errors 1 %, as allowed", "errors 2 %"},
        "shadow": {world.name for world in WORLDS} - {*SHADOW_WORLDS},
    }
    return [(policy, world) for policy in POLICIES for world in WORLDS if world.name not in left_out.get(policy, set())]


@dataclass(frozen=True, slots=True)
class Stream:
    """One seed of a world: what each version would do with each event, by row.

    ``right`` and ``champion_right`` are judged by the label as it comes; ``place`` in [0, 1) is the hash of the event.
    """

    right: Flags
    champion_right: Flags
    failed: Flags
    place: npt.NDArray[np.float64]


def stream(world: World, rows: int, seed: tuple[int, ...]) -> Stream:
    """Events of that world. The two versions are right and wrong together, but for some events.

    >>> seen = stream(World("worse", gain=-0.10), 100_000, (7,))
    >>> [round(float(flags.mean()), 2) for flags in (seen.champion_right, seen.right, seen.right ^ seen.champion_right)]
    [0.89, 0.79, 0.15]
    """
    rng = np.random.default_rng(seed)
    worse, better = DISCORDANT / 2 + max(-world.gain, 0.0), DISCORDANT / 2 + max(world.gain, 0.0)
    drawn = rng.random(rows)
    if world.bunch:
        drawn = drawn[np.maximum.accumulate(np.where(rng.random(rows) < world.bunch, 0, np.arange(rows)))]
    only_champion, only_candidate = drawn < worse, (drawn >= worse) & (drawn < worse + better)
    both = drawn >= worse + better + (1 - CHAMPION_ACCURACY - better)
    flipped = rng.random(rows) < world.noise
    return Stream(
        right=(both | only_candidate) ^ flipped,
        champion_right=(both | only_champion) ^ flipped,
        failed=rng.random(rows) < world.errors,
        place=rng.random(rows),
    )
