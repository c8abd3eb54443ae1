"""What a question about a model's history is answered with, by the API and by the command line alike."""

from pydantic import BaseModel, ConfigDict, Field


class HistoryView(BaseModel):
    """A frozen answer."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class CauseView(HistoryView):
    """One link of a causal chain; its cause is the next one."""

    kind: str = Field(description="What it is: deployment, measurement, request, version, training run, trigger, ….")
    id: str
    what: str = Field(description="The same in words; empty where only the id is known.")
    at_ms: int | None


class ShareView(HistoryView):
    """A version in the traffic of a deployment."""

    variant: str
    version: int
    share: float = Field(description="Share of the traffic that it answers.")
    mode: str = Field(description="LIVE, or SHADOW: it scores unseen.")
    run_id: str | None = Field(description="Training run that made it; null if the log does not tell.")
    source: str = Field(description="trained, or imported.")
    approved_by: list[str] = Field(description="Who approved it; empty where nobody had to.")


class PartitionView(HistoryView):
    """What a partition of the samples really served at that time."""

    partition: int
    epoch: int
    version: int
    status: str = Field(description="SERVING, or FAILED: it could not load it and the last good version goes on.")
    from_offset: int = Field(description="First samples offset scored under this epoch.")
    since_ms: int
    process: str
    reason: str | None


class ApprovalView(HistoryView):
    """Somebody's word for a version."""

    version: int | None
    space: str | None
    by: str
    reason: str
    at_ms: int
    audit_id: str


class OtherView(HistoryView):
    """A version, or a run that became none, and why it did not serve."""

    version: int | None
    run_id: str | None
    state: str = Field(description="rejected, retired, rolled back, aborted, replaced, waiting, failed or under way.")
    why: str
    id: str = Field(description="Id of the event that says so.")
    evidence_id: str | None = None
    at_ms: int | None


class FreezeView(HistoryView):
    """That nothing happens by itself, since when and why."""

    by: str
    reason: str
    since_ms: int
    audit_id: str


class ServedView(HistoryView):
    """What served at a time, at what share, since when, by whose word, why, and why nothing else did."""

    model: str
    at_ms: int | None = Field(description="The time that was asked for; null for now.")
    epoch: int | None = Field(description="Epoch in force; null before the first deployment.")
    deployment_id: str | None
    kind: str | None = Field(description="What was decided: DEPLOYED, ROLLOUT_STARTED, ADVANCED, PROMOTED, ….")
    strategy: str | None
    rollout_id: str | None = Field(description="The rollout under way; null if none was.")
    step: int | None
    space: str | None
    since_ms: int | None = Field(description="When it was decided; `partitions` says when it took effect.")
    until_ms: int | None = Field(description="When the next deployment was decided; null if it is in force.")
    decided_by: str | None
    reason: str | None
    evidence_id: str | None
    traffic: list[ShareView]
    partitions: list[PartitionView]
    approvals: list[ApprovalView] = Field(description="Who approved the versions in the traffic.")
    chain: list[CauseView] = Field(description="From the deployment back to the drift event, as far as the log tells.")
    others: list[OtherView] = Field(description="Why the others did not serve, newest first.")
    frozen: FreezeView | None


class EntryView(HistoryView):
    """One event in a model's life."""

    at_ms: int
    what: str = Field(description="What happened, in a word or two.")
    id: str
    version: int | None = None
    epoch: int | None = None
    rollout_id: str | None = Field(None, description="The rollout that it belongs to, its end included.")
    traffic: str | None = Field(None, description="The versions in force from then on.")
    by: str | None = None
    why: str
    caused_by: str | None = None
    took_effect: list[PartitionView] = Field(default_factory=list, description="What each partition made of it.")


class History(HistoryView):
    """What served at a time; without a time the whole life too, oldest first."""

    model: str
    served: ServedView
    events: list[EntryView] = Field(description="The whole life; empty where a time was asked for.")
