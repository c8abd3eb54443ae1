"""Fixtures of the tests of stores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.stores.lake import Lake
from tests.s3 import s3_server  # noqa: F401
from tests.stores.lake_rows import DAILY


@pytest.fixture(params=["folder", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Lake]:
    """Lakes of one table, as several processes have them: in a folder, and on an S3 server."""
    if request.param == "folder":
        return lambda **more: Lake(tmp_path / "lake", "tiny", DAILY, **more)
    server = request.getfixturevalue("s3")
    folder = server.folder()
    return lambda **more: Lake(folder, "tiny", DAILY, server.options, **more)
