"""Entry: ``python -m services.serving``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from services.serving.settings import Settings
from services.serving.shell import ServingService


def run() -> None:
    """Read the environment and serve until stopped."""
    settings = Settings()

    def build(context: Context) -> ServingService:
        artifacts = settings.artifacts or str(settings.data / "artifacts")
        return ServingService(
            context, artifacts=artifacts, max_records=settings.max_records, threads=settings.scoring_threads
        )

    main("serving", settings, build)


if __name__ == "__main__":
    run()
