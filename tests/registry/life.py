"""A registry without effects, for tests of what it decides: tell it what happened, see what it writes."""

from collections.abc import Mapping
from typing import Any

from millrace.contracts.events import (
    AlertRaised,
    ArmMeasured,
    AuditRecorded,
    DeploymentDecided,
    Event,
    ManageModel,
    ModelVersionChanged,
    PairMeasured,
    RolloutMeasured,
    ServingStatusReported,
)
from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_policy import Rollout, Space, Spaces
from services.registry.core import Policy, State, decide, evolve
from tests.registry.runs import make_run

NOW_MS = 831427200009
GATES = Gates(first=0.6)
PLAIN = Policy(GATES)
CANARY = Policy(GATES, Rollout(strategy="canary", steps=(0.1, 0.5), step_rows=50))
TWO_PEOPLE = Policy(GATES, spaces=Spaces(production=Space(approvals=2, approvers=("ada", "bob", "cyd"))))
ONE_PERSON = Policy(GATES, spaces=Spaces(test=Space(approvals=1), production=Space(approvals=1)))
STEPS_MAX = 50


def folded(*events: Event, state: State | None = None) -> State:
    """The state after these events."""
    state = state or State("tiny")
    for event in events:
        state = evolve(state, event)
    return state


class Life:
    """One model. ``log`` is all that was told and written, in order; each call returns what it made to be written.

    ``faults`` says by run what is wrong with its files.
    """

    def __init__(self, policy: Policy = PLAIN, state: State | None = None) -> None:
        self.policy = policy
        self.state = state or State("tiny")
        self.now_ms = NOW_MS
        self.log: list[Event] = []
        self.decisions: list[tuple[Event, ...]] = []
        self.faults: Mapping[str, str] = {}
        self.asked = 0

    def tell(self, *events: Event) -> list[Event]:
        """What is decided after these events, until nothing is due any more."""
        self.log += events
        self.state = folded(*events, state=self.state)
        written: list[Event] = []
        for _ in range(STEPS_MAX):
            checked = {run_id: self.faults.get(run_id) for run_id in self.state.pending}
            decided = decide(self.state, self.policy, self.now_ms, checked)
            if not decided:
                return written
            self.state = folded(*decided, state=self.state)
            self.decisions.append(decided)
            self.log += decided
            written += decided
        raise AssertionError(f"it decides for ever; last: {decided}")

    def wait(self, seconds: float = 0.0) -> list[Event]:
        """Let time pass."""
        self.now_ms += round(seconds * 1000)
        return self.tell()

    def train(self, count: int = 1, **changes: Any) -> list[Event]:
        """Further good runs, each compared with the champion of its time."""
        written = []
        for _ in range(count):
            number = sum(event.schema_name == "training-run-changed" for event in self.log) + 1
            run = make_run(f"run-{number}", **{"against": self.state.champion, **changes})
            written += self.tell(run)
        return written

    def ask(self, action: str, version: int | None = None, *, by: str = "ada", **changes: Any) -> AuditRecorded:
        """The answer to a person's request."""
        self.asked += 1
        fields = {
            "request_id": f"manage/{self.asked}", "model": "tiny", "action": action, "version": version, "space": None,
            "expected_epoch": None, "immediate": False, "reason": "they say so", "requested_by": by,
            "requested_at_ms": self.now_ms,
        }  # fmt: skip
        request = ManageModel(**{**fields, **changes})
        answers = [
            event
            for event in self.tell(request)
            if isinstance(event, AuditRecorded) and event.caused_by == request.request_id
        ]
        assert 1 == len(answers), answers
        return answers[0]

    def serve(self, *, fails: int | None = None, epoch: int | None = None) -> list[Event]:
        """Serving reports on the newest deployment: that it is in force, or that it cannot load that version."""
        report = ServingStatusReported(
            model="tiny", process="serving@host", partition=0, epoch=epoch or self.state.epoch,
            version=fails or self.state.champion or 0, status="FAILED" if fails else "SERVING", from_offset=0,
            reason="it is damaged" if fails else None, reported_at_ms=self.now_ms,
        )  # fmt: skip
        return self.tell(report)

    def measure(self, rows: int, *, better: int = 0, worse: int = 0, errors: int = 0, at: int = 0) -> list[Event]:
        """The monitor has measured the rollout under way on so many labelled events of this epoch."""
        deployment = self.state.deployment
        assert deployment is not None
        assert deployment.rollout_id is not None
        arms = tuple(
            ArmMeasured(
                variant=part.variant, version=part.version, mode=part.mode, assigned_rows=rows, answered_rows=rows,
                scored_rows=rows, error_rows=errors if part.variant != "champion" else 0, missing_rows=0,
                scoring_us=rows * 100, labelled_rows=rows, loss_sum=rows * 0.2, loss_squares_sum=rows * 0.2,
            )
            for part in deployment.traffic
        )  # fmt: skip
        pairs = tuple(
            PairMeasured(
                variant=part.variant, version=part.version, paired_rows=rows, better_rows=better, worse_rows=worse,
                difference_sum=float(worse - better), difference_squares_sum=float(worse + better),
            )
            for part in deployment.traffic[1:]
        )  # fmt: skip
        offset = at or rows
        measured = RolloutMeasured(
            evidence_id=f"evidence/tiny/{deployment.rollout_id}/{deployment.epoch}/0/{offset}", model="tiny",
            rollout_id=deployment.rollout_id, epoch=deployment.epoch, partition=0, until_offset=offset, arms=arms,
            pairs=pairs, until_time_ms=self.now_ms, measured_at_ms=self.now_ms,
        )  # fmt: skip
        return self.tell(measured)

    def of(self, kind: type[Event]) -> list[Any]:
        """Everything of that class that was told or written."""
        return [event for event in self.log if isinstance(event, kind)]

    def statuses(self) -> dict[int, str]:
        """Where each version stands."""
        return {number: version.status for number, version in self.state.versions.items()}

    def shares(self) -> dict[int, float]:
        """The traffic in force, by version."""
        deployment = self.state.deployment
        return {} if deployment is None else {part.version: part.share for part in deployment.traffic}


def told(events: list[Event]) -> list[str]:
    """What was written, in short: statuses with versions, kinds with epochs, actions with outcomes, alerts' reasons."""
    return [_told(event) for event in events]


def _told(event: Event) -> str:
    match event:
        case ModelVersionChanged():
            return f"{event.status} {event.version or event.run_id} {event.space}"
        case DeploymentDecided():
            return f"{event.kind} {event.epoch}"
        case AuditRecorded():
            return f"{event.action} {event.outcome}"
        case AlertRaised():
            return f"alert {event.reason}"
    return event.schema_name
