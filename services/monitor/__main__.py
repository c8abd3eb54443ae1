"""Entry: ``python -m services.monitor``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from services.monitor.policy import Policy
from services.monitor.settings import Settings
from services.monitor.shell import MonitorService


def run() -> None:
    """Read the environment and serve until stopped."""
    settings = Settings()

    def build(context: Context) -> MonitorService:
        policy = Policy.of(
            context.project,
            margin=settings.persisting_margin,
            limit=settings.persisting_limit,
            new_version=settings.persisting_new_version,
        )
        return MonitorService(context, policy, open_ms=round(settings.open_s * 1000))

    main("monitor", settings, build)


if __name__ == "__main__":
    run()
