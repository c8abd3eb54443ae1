"""Fault 8: serving processes come and go every two seconds, politely or not, while events go on."""

import signal
import time
from pathlib import Path

import pytest

from tests.faults.harness import Service, wait_for
from tests.faults.net import Net, Work, lasts

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SEED = 8_001
EVERY_S = 2.0


def storm(work: Work, turns: int) -> tuple[int, int]:
    """One joins, then it leaves, and so on: by SIGTERM and SIGKILL in turn. How many joined, and how many left."""
    guest: Service | None = None
    joined = left = 0
    for _ in range(turns):
        began_s = time.monotonic()
        if guest is None:
            guest = work.another_serving(restarts=False)
            _has_joined(guest)
            joined += 1
        else:
            guest.kill(signal.SIGKILL if left % 2 else signal.SIGTERM)
            guest.wait_deaths(1)
            guest, left = None, left + 1
        lasts(max(0.0, EVERY_S - (time.monotonic() - began_s)))
    return joined, left


def _has_joined(guest: Service) -> None:
    wait_for(lambda: guest.said("lanes assigned"), lambda: f"it has joined and owns something:\n{guest.tail()}")


def go_through(net: Net, folder: Path, turns: int) -> None:
    """The storm, what it must leave alone, and that it was one."""
    with Work(net, folder, seed=SEED) as work:
        before = work.seen()
        joined, left = storm(work, turns)
        after = work.seen()
        work.goes_on()
        work.finish()

    assert (turns + 1) // 2 == joined
    assert turns // 2 == left
    assert len(work.serving.said("lanes assigned")) > joined, "whoever stayed was reassigned at each join"
    assert all(after[number] > before[number] + 100 for number in before), f"a partition stood still: {before}, {after}"
    assert [0] == work.serving.exits, "who stayed has lived through it"


def test_each_event_is_predicted_once_in_a_rebalance_storm(net: Net, tmp_path: Path) -> None:
    """Five turns: each partition makes progress during them, each event is predicted once and in order."""
    go_through(net, tmp_path, 5)


@pytest.mark.matrix
def test_a_long_rebalance_storm(net: Net, tmp_path: Path) -> None:
    """Twenty turns."""
    go_through(net, tmp_path, 20)
