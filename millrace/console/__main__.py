"""Entry: ``python -m millrace.console``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from millrace.console.service import ConsoleService, Options
from millrace.console.settings import Settings


def run() -> None:
    """Read the environment and serve until stopped."""
    settings = Settings()

    def build(context: Context) -> ConsoleService:
        return ConsoleService(context, Options.of(settings))

    main("console", settings, build)


if __name__ == "__main__":
    run()
