"""What serving is told by its environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of serving."""

    artifacts: str | None = Field(
        None, description="Folder or s3:// address of the model files; default <data>/artifacts."
    )
    max_records: int = Field(10000, ge=1, description="Most samples that one micro-batch takes in.")
    scoring_threads: int = Field(1, ge=1, description="Threads that scoring one micro-batch may use.")
    signatures: Literal["required", "off"] = Field(
        "required", description="Whether a version must be signed to be served. Off only where nobody else can write."
    )
    trusted_keys: Path | None = Field(
        None, description="File of the public keys that are trusted; default <data>/keys/trusted.json."
    )
    probe_memory_mb: int = Field(
        2048, ge=512, description="Address space of the process in which a new model is tried, its libraries included."
    )
    probe_seconds: float = Field(20.0, ge=1, description="CPU and wall time that trying a new model may take.")
    model_bytes_max: int = Field(256 * 1024 * 1024, ge=1, description="Largest model file that is served.")
    model_nodes_max: int = Field(10_000, ge=1, description="Most operators that a model may consist of.")
