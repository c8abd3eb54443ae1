"""Entry: ``python -m services.trainer``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from millrace.stores.artifacts import ArtifactStore
from services.trainer.answer import Limits
from services.trainer.dask_fitter import Backends
from services.trainer.dask_settings import ClusterSettings
from services.trainer.fitter import ChildFitter, warm
from services.trainer.settings import Settings
from services.trainer.shell import TrainerService


def run() -> None:
    """Read the environment and train until stopped."""
    settings = Settings()

    def build(context: Context) -> TrainerService:
        warm()
        limits = Limits(
            memory_mb=settings.training_memory_mb,
            threads=settings.training_threads,
            cpu_s=settings.training_cpu_s,
            processes=settings.training_processes,
        )
        store = ArtifactStore(settings.artifact_root, settings.artifact_key)
        fit = Backends(ChildFitter(limits), ClusterSettings().cluster, context.project.stream)
        allowed = tuple(name.strip() for name in settings.skops_allowed.split(",") if name.strip())
        return TrainerService(context, artifacts=store, fit=fit, studies=settings.studies, skops_allowed=allowed)

    main("trainer", settings, build)


if __name__ == "__main__":
    run()
