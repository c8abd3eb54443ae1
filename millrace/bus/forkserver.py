"""Starting a child from the fork server, which may have died meanwhile."""

import time
from multiprocessing.context import ForkServerProcess

from millrace.bus.retry import backoff_s
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
LAUNCHES = 5  # tries, within a second


def launch(process: ForkServerProcess) -> None:
    """Start it. A fork server that has died is found out and replaced by a later try, once its remains are gone.

    Raises:
        EOFError, OSError: none of the tries has started it.
    """
    for attempt in range(1, LAUNCHES + 1):
        try:
            process.start()
        except (EOFError, OSError) as error:
            if attempt == LAUNCHES:
                raise
            log.warning("the fork server does not answer", attempt=attempt, error=repr(error))
            time.sleep(backoff_s(attempt))
        else:
            return
