"""What the trainer is told by its environment."""

import os

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
    training_memory_mb: int = Field(4096, ge=0, description="Most address space of one fit in MiB; 0 sets no limit.")
    training_threads: int = Field(default_factory=_spare_cores, ge=1, description="OpenMP threads of one fit.")

    @property
    def artifact_root(self) -> str:
        """Where the artefacts are kept."""
        return self.artifacts or str(self.data / "artifacts")
