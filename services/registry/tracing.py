"""The registry's part of the trace from drift to deployment: which run a decision goes back to, and its span.

A run's record carries its context in a header. A decision about the run goes on from it, and each deployment from the
decision about the version that it is about: the one that it tries, or that the one before has tried, else its champion.
"""

from collections.abc import Mapping, Sequence

from millrace.contracts.events import DeploymentDecided, Event, ModelVersionChanged
from millrace.telemetry import loop_spans
from millrace.telemetry.traces import Span
from services.registry.core import State

DECIDED = frozenset({"REGISTERED", "REJECTED"})


class Tracing:
    """What is known when several events are about to be written together.

    Args:
        state: as it is before they are.
        events: what is to be written.
        runs: the context of each run that has one.
    """

    def __init__(self, state: State, events: Sequence[Event], runs: Mapping[str, bytes]) -> None:
        self._state = state
        self._runs = runs
        new = [event for event in events if isinstance(event, ModelVersionChanged) and _decides(event)]
        registered = [*(version.registered for version in state.versions.values()), *new]
        self._versions = {one.version: one for one in registered if one.version is not None}

    def context(self, event: Event) -> bytes | None:
        """The context that goes with the event's record; None for one that is no part of a trace."""
        match event:
            case ModelVersionChanged() if _decides(event):
                return loop_spans.next_context(self._runs.get(event.run_id), event.change_id)
            case DeploymentDecided():
                return loop_spans.next_context(self._of_version(self._about(event)), event.deployment_id)
        return None

    def span(self, event: Event) -> Span | None:
        """The event's span; None for one that is no part of a trace."""
        match event:
            case ModelVersionChanged() if _decides(event):
                run = self._state.pending.get(event.run_id)
                ended_ms = event.changed_at_ms if run is None else run.changed_at_ms
                return loop_spans.version(event, ended_ms, self._runs.get(event.run_id))
            case DeploymentDecided():
                about = self._about(event)
                return loop_spans.deployment(event, self._since_ms(event, about), self._of_version(about))
        return None

    def _about(self, decided: DeploymentDecided) -> int | None:
        """The version that the deployment brings further, or takes back."""
        before = self._state.deployment
        for traffic in (decided.traffic, () if before is None else before.traffic):
            tried = [part.version for part in traffic if part.variant != "champion"]
            if tried:
                return tried[0]
        return decided.traffic[0].version if decided.traffic else None

    def _of_version(self, version: int | None) -> bytes | None:
        registered = None if version is None else self._versions.get(version)
        if registered is None or registered.run_id not in self._runs:
            return None
        return loop_spans.next_context(self._runs[registered.run_id], registered.change_id)

    def _since_ms(self, decided: DeploymentDecided, version: int | None) -> int:
        """When what it follows was decided: the deployment before, if it was about the same version, or the version."""
        before = self._state.deployment
        if before is not None and version in {part.version for part in before.traffic}:
            return before.decided_at_ms
        registered = None if version is None else self._versions.get(version)
        return decided.decided_at_ms if registered is None else registered.changed_at_ms


def _decides(event: Event) -> bool:
    return isinstance(event, ModelVersionChanged) and event.status in DECIDED
