"""What the API is sent."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
RequestId = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class Body(BaseModel):
    """Unknown fields are errors: a misspelt one must not be taken for one that was left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: Name = Field(description="Who asks: a claim. X-Forwarded-User, set by a proxy with a login, goes before it.")
    request_id: RequestId = Field("", description="Unique; the same again is the same request.")


class Action(Body):
    """Something asked of the registry or the trainer."""

    model: Name
    version: int | None = Field(None, ge=1)
    space: Literal["development", "test", "production"] | None = None
    immediate: bool = Field(default=False, description="Whether a promotion skips the project's rollout strategy.")
    expected_epoch: int | None = Field(None, ge=0, description="Refused if another epoch is in force.")
    reason: Text = Field("", description="Why, in words; kept in the log for ever.")


class Matter(Body):
    """Which alerts are meant: one, and those like it; or all that match. What is left out is any."""

    alert_id: str | None = None
    service: str | None = None
    reason: str | None = None
    subject: str | None = None
    comment: Text = Field("", description="Why, in their words.")

    @property
    def names_some(self) -> bool:
        """Whether it says anything about which alerts."""
        return any((self.alert_id, self.service, self.reason, self.subject))

    @model_validator(mode="after")
    def _about_something(self) -> Self:
        if not self.names_some and not getattr(self, "handling_id", None):
            msg = "name an alert_id, or a service, reason or subject; all alerts at once are not meant"
            raise ValueError(msg)
        return self


class Silence(Matter):
    """For how long they are not to be sent on."""

    until_ms: int | None = Field(None, gt=0)
    for_s: float | None = Field(None, gt=0, le=366 * 86_400)

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.until_ms is None) == (self.for_s is None):
            msg = "say when the silence ends: until_ms, or for_s, one of them"
            raise ValueError(msg)
        return self


class Unsilence(Matter):
    """Which silence ends."""

    handling_id: str | None = None


class Replay(Body):
    """Which refused records are to be sent back."""

    stream: str | None = None
    comment: Text = Field("", description="Why, in words; kept in the audit log.")
    places: tuple[Annotated[str, StringConstraints(pattern=r"^\d+/\d+$")], ...] = Field((), max_length=10_000)
    reason: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
