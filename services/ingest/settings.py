"""What ingest is told by its environment."""

from pydantic import Field

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of ingest."""

    max_records: int = Field(5000, ge=1, description="Most records that one transaction takes in.")
    trace_share: float = Field(0.01, ge=0, le=1, description="Share of events without a trace that start one.")
