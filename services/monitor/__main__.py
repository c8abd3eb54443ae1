"""Entry: ``python -m services.monitor``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from services.monitor.policy import Policy
from services.monitor.settings import Settings
from services.monitor.shell import MonitorService


def run() -> None:
    """Read the environment and watch until stopped."""

    def build(context: Context) -> MonitorService:
        return MonitorService(context, Policy.of(context.project))

    main("monitor", Settings(), build)


if __name__ == "__main__":
    run()
