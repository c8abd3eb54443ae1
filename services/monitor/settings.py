"""What the monitor is told by its environment. What it watches for stands in the model project, under ``monitors:``."""

from pydantic import Field

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the monitor."""

    persisting_margin: float | None = Field(
        0.03, ge=0, description="How far above its level before a drift the error may stay; null turns the rule off."
    )
    persisting_limit: int = Field(3, ge=0, description="How often that rule may raise an alarm after one drift.")
    persisting_new_version: bool = Field(default=True, description="Whether it also judges a version deployed since.")
    open_s: float = Field(
        86_400, gt=0, description="After this long an unanswered retrain no longer holds others back."
    )
