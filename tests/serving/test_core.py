"""Which deployment is in force."""

import pytest

from millrace.contracts.events import DeploymentDecided, Traffic
from services.serving import core


def deployment(epoch: int) -> DeploymentDecided:
    """A deployment of version ``epoch``."""
    traffic = Traffic(variant="champion", version=epoch, share=1.0, artifact_sha256="ab", feature_set="f")
    return DeploymentDecided(
        deployment_id=f"d/{epoch}", model="m", epoch=epoch, traffic=(traffic,), scoring_since_ms=0, caused_by="c",
        reason="r", decided_by="registry", decided_at_ms=0,
    )  # fmt: skip


def wanted(*epochs: int) -> core.State:
    """The state after these deployments were decided, in this order."""
    state = core.INITIAL
    for epoch in epochs:
        state = core.evolve(state, deployment(epoch))
    return state


@pytest.mark.parametrize(
    ("epochs", "expected"), [((1,), [1]), ((1, 2, 3), [1, 2, 3]), ((1, 3, 2), [1, 2, 3]), ((2, 2), [2])]
)
def test_an_epoch_that_does_not_grow_changes_nothing(epochs, expected):
    """A repeat is ignored; a late one is tried only if the newer one cannot be loaded."""
    assert [one.epoch for one in wanted(*epochs).wanted] == expected


def test_a_refused_epoch_keeps_no_later_deployment_out():
    """However great it is: somebody may have forged it."""
    state = core.loaded(wanted(1), deployment(1))
    forged = deployment(2**63 - 1)
    state = core.refused(core.evolve(state, forged), forged, "not signed")

    assert [2] == [one.epoch for one in core.evolve(state, deployment(2)).wanted]
    assert core.evolve(state, forged) == state
    assert core.evolve(state, deployment(1)) == state


def test_the_newest_is_loaded_and_older_wishes_are_void():
    """Three were decided while nothing was loaded: only the last takes effect."""
    state = wanted(1, 2, 3)
    newest = core.next_to_load(state)
    state = core.loaded(state, newest)

    assert (newest.epoch, state.epoch, state.wanted) == (3, 3, ())
    assert core.evolve(state, deployment(3)) == state


def test_a_refused_model_leaves_the_last_good_one():
    """Epoch 2 cannot be loaded: 1 goes on, and 2 is not tried again."""
    state = core.loaded(wanted(1), deployment(1))
    state = core.refused(core.evolve(state, deployment(2)), deployment(2), "damaged")

    assert (state.epoch, core.next_to_load(state), state.failed) == (1, None, {2: "damaged"})
    assert core.evolve(state, deployment(2)) == state


def test_at_start_a_refused_newest_falls_back_to_the_one_before():
    """A process that starts when the newest model is damaged serves the one before it."""
    state = wanted(1, 2)
    state = core.refused(state, core.next_to_load(state), "damaged")

    assert core.next_to_load(state).epoch == 1
