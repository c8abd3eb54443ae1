"""What the trainer is told by its environment."""

import os
from pathlib import Path

from pydantic import Field

from millrace.contracts.settings import ServiceSettings


def _spare_cores() -> int:
    """One core is left to the services that answer somebody."""
    return max(1, (os.cpu_count() or 1) - 1)


class Settings(ServiceSettings):
    """Settings of the trainer."""

    artifacts: str | None = Field(
        None, description="Folder or s3:// address of the model files; default <data>/artifacts."
    )
    training_memory_mb: int = Field(4096, ge=0, description="Most memory of one fit in MiB; 0 sets no limit.")
    training_cpu_s: int = Field(
        36_000, ge=0, description="Most processor seconds of one fit, all its threads together; 0 sets no limit."
    )
    training_processes: int = Field(256, ge=0, description="Most processes of one fit at a time; 0 sets no limit.")
    training_threads: int = Field(default_factory=_spare_cores, ge=1, description="OpenMP threads of one fit.")

    skops_allowed: str = Field(
        "", description="Types, separated by commas, that an imported skops file may name besides scikit-learn's own."
    )

    @property
    def studies(self) -> Path:
        """Where searches are kept until their run has ended."""
        return self.data / "studies"

    @property
    def artifact_root(self) -> str:
        """Where the artefacts are kept."""
        return self.artifacts or str(self.data / "artifacts")
