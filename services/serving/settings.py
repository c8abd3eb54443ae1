"""What serving is told by its environment."""

from pydantic import Field

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of serving."""

    artifacts: str | None = Field(
        None, description="Folder or s3:// address of the model files; default <data>/artifacts."
    )
    max_records: int = Field(10000, ge=1, description="Most samples that one micro-batch takes in.")
    scoring_threads: int = Field(1, ge=1, description="Threads that scoring one micro-batch may use.")
