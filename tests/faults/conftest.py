"""Fixtures of the fault tests."""

from collections.abc import Iterator

import pytest

from tests.faults.net import Net


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A broker that is paused and killed, and a proxy before it: nobody else's."""
    with Net(tmp_path_factory.mktemp("net")) as made:
        yield made
