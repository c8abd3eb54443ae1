"""Entry: ``python -m services.serving``."""

from functools import partial

from millrace.bus.service import main
from services.serving.settings import Settings
from services.serving.wiring import build


def run() -> None:
    """Read the environment and serve until stopped."""
    settings = Settings()
    main("serving", settings, partial(build, settings))


if __name__ == "__main__":
    run()
