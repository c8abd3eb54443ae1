"""Fixtures of serving's tests."""

from collections.abc import Iterator
from multiprocessing import forkserver

import pytest

from services.serving.probe import warm


@pytest.fixture(scope="module")
def fork_server() -> Iterator[None]:
    """A fork server that has serving's libraries. A process has one only, and the trainer's tests want theirs."""
    server = forkserver._forkserver
    before = server._preload_modules
    server._stop()
    warm()
    yield
    server._stop()
    forkserver.set_forkserver_preload(before)
