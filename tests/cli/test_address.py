"""Where a command finds the system that it talks to."""

import os
from pathlib import Path

import pytest

from millrace.cli.address import Address, resolve
from millrace.local.errors import LocalError
from millrace.local.runfile import FolderLock, RunInfo, write_run


def test_given_addresses_are_taken_as_they_are(tmp_path: Path) -> None:
    """Nothing needs to run on the data folder."""
    address = resolve(tmp_path, "b:1", "http://r:2")

    assert Address("b:1", "http://r:2") == address


def test_the_run_file_tells_the_addresses(tmp_path: Path) -> None:
    """What runs on the data folder is used when nothing is given."""
    lock = FolderLock(tmp_path)
    lock.acquire()
    write_run(tmp_path, RunInfo("b:3", "http://r:4", None, os.getpid()))

    address = resolve(tmp_path, None, None)

    lock.release()
    assert Address("b:3", "http://r:4") == address


@pytest.mark.parametrize(
    ("bootstrap", "schema_registry", "said"),
    [
        (None, None, "nothing runs on"),
        ("b:1", None, "--schema-registry is missing"),
        (None, "http://r:2", "--bootstrap is missing"),
    ],
)
def test_half_an_address_is_refused(
    tmp_path: Path, bootstrap: str | None, schema_registry: str | None, said: str
) -> None:
    """The message says what is missing; addresses of two systems are never mixed."""
    with pytest.raises(LocalError, match=said):
        resolve(tmp_path, bootstrap, schema_registry)
