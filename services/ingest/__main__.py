"""Entry: ``python -m services.ingest``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from services.ingest.settings import Settings
from services.ingest.shell import IngestService
from services.ingest.wiring import lake_of, subject_keys_of


def run() -> None:
    """Read the environment and serve until stopped."""
    settings = Settings()

    def build(context: Context) -> IngestService:
        return IngestService(
            context,
            max_records=settings.max_records,
            trace_share=settings.trace_share,
            lake=lake_of(settings, context.project),
            subject_keys=subject_keys_of(settings, context.project),
        )

    main("ingest", settings, build)


if __name__ == "__main__":
    run()
