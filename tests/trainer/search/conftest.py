"""Searches in the tests run as they do in the trainer's child: with one thread."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_thread():
    """Threads beyond the idle cores make boosting many times slower."""
    with threadpool_limits(1):
        yield
