"""Entry: ``python -m services.trainer``."""

from functools import partial

from millrace.bus.context import Context
from millrace.bus.service import main
from millrace.stores.artifacts import ArtifactStore
from services.trainer.fitter import fit_in_child, warm
from services.trainer.settings import Settings
from services.trainer.shell import TrainerService


def run() -> None:
    """Read the environment and train until stopped."""
    settings = Settings()

    def build(context: Context) -> TrainerService:
        warm()
        fit = partial(fit_in_child, memory_mb=settings.training_memory_mb, threads=settings.training_threads)
        return TrainerService(context, artifacts=ArtifactStore(settings.artifact_root), fit=fit)

    main("trainer", settings, build)


if __name__ == "__main__":
    run()
