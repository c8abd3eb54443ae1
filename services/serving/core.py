"""What serving decides: which deployment is in force. Pure.

- The newest epoch wins; one that is not newer than what is in force is never applied (an old event may come again).
- A deployment takes effect between two micro-batches, and only when the models of all its parts are loaded; until
  then, and if one of them may not or cannot be, the one before goes on.
"""

from dataclasses import dataclass, field, replace

from millrace.contracts.events import DeploymentDecided


@dataclass(frozen=True, slots=True)
class State:
    """What is wanted and what is in force.

    ``wanted`` holds the deployments not yet tried, newest last; ``failed`` the epochs that could not be loaded.
    """

    serving: DeploymentDecided | None = None
    wanted: tuple[DeploymentDecided, ...] = ()
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epoch in force; 0 before the first."""
        return self.serving.epoch if self.serving else 0


INITIAL = State()


def evolve(state: State, deployment: DeploymentDecided) -> State:
    """A deployment was decided. One that is not newer than what is in force, or is known already, changes nothing.

    One that was refused, whatever its epoch, keeps no later one out: whoever can write to the log could else forge an
    epoch that nobody can pass.
    """
    known = {*state.failed, *(one.epoch for one in state.wanted)}
    if deployment.epoch <= state.epoch or deployment.epoch in known:
        return state
    wanted = sorted((*state.wanted, deployment), key=lambda one: one.epoch)
    return replace(state, wanted=tuple(wanted))


def next_to_load(state: State) -> DeploymentDecided | None:
    """The deployment to load now: the newest wanted; the ones before it only if it fails."""
    return state.wanted[-1] if state.wanted else None


def loaded(state: State, deployment: DeploymentDecided) -> State:
    """Its models are ready: it is in force, older wishes are void, newer ones stay."""
    if deployment.epoch <= state.epoch:
        return state
    later = tuple(one for one in state.wanted if one.epoch > deployment.epoch)
    return replace(state, serving=deployment, wanted=later)


def refused(state: State, deployment: DeploymentDecided, reason: str) -> State:
    """One of its models cannot be served: remember why, and fall back to the wish before it."""
    others = tuple(one for one in state.wanted if one.epoch != deployment.epoch)
    return replace(state, wanted=others, failed={**state.failed, deployment.epoch: reason})


def wished_again(state: State, deployment: DeploymentDecided) -> State:
    """A refusal that may not be for good: try it again, unless a newer one is in force."""
    if deployment.epoch <= state.epoch:
        return state
    failed = {epoch: reason for epoch, reason in state.failed.items() if epoch != deployment.epoch}
    wanted = sorted((*state.wanted, deployment), key=lambda one: one.epoch)
    return replace(state, wanted=tuple(wanted), failed=failed)
