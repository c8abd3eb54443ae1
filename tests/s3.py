"""A real S3 server for tests: S3Proxy, keeping objects in memory, on a free port of this machine.

It was chosen over Adobe's S3Mock 5.2.0, whose conditional puts are not atomic: of 30 commits by six writers at a time
it lost two. S3Proxy gave exactly one of eight rivals the commit, 40 times of 40, and it checks signatures.

A conftest.py imports the fixture: ``from tests.s3 import s3_server  # noqa: F401``; its tests ask for ``s3``.
"""

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyarrow import fs

from millrace.local import bundle, maven
from millrace.local.errors import DownloadError, JavaNotFoundError
from millrace.local.java import find_java
from millrace.local.ports import HOST, PortBook
from millrace.local.settings import cache_folder
from millrace.stores.lake import s3_options
from tests.faults.processes import Reaper, wait_for

PINNED = bundle.Bundle(
    "s3proxy",
    maven.read_lock(
        "a4d025969aaf796616ed4b1e2491d87d455ce84bb28cb9db086b2e6aaa68b48d 54955934 "
        "org.gaul:s3proxy:jar:jar-with-dependencies:4.1.0"
    ),
)
KEY, SECRET, BUCKET = "millrace-test", "no-secret-at-all", "lake"


@dataclass(slots=True)
class S3:
    """Where the server is. ``folder`` is a place of its own for every call."""

    endpoint: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def options(self) -> Mapping[str, str]:
        """What a lake is told."""
        return s3_options(endpoint=self.endpoint, key=KEY, secret=SECRET)

    def folder(self) -> str:
        """A URI under which nobody has written yet."""
        return f"s3://{BUCKET}/{os.getpid()}-{next(self._numbers)}"


def _installed() -> Path:
    cache = cache_folder()
    folder = cache / PINNED.folder_name
    if not bundle.intact(folder):
        bundle.build(PINNED, cache, repositories=maven.repositories())
    return folder / PINNED.artefacts[0].file_name


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.fixture(scope="session", name="s3")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server with one empty bucket."""
    try:
        java, jar = find_java().path, _installed()
    except (DownloadError, JavaNotFoundError) as error:
        pytest.skip(f"no S3 server could be had: {error}")
    folder = tmp_path_factory.mktemp("s3")
    port = PortBook(folder / "ports.json").choose(["s3"])["s3"]
    (folder / "s3proxy.conf").write_text(
        f"s3proxy.endpoint=http://{HOST}:{port}\ns3proxy.authorization=aws-v2-or-v4\n"
        f"s3proxy.identity={KEY}\ns3proxy.credential={SECRET}\n"
        "jclouds.provider=transient-nio2\njclouds.identity=none\njclouds.credential=none\n"
    )
    reaper = Reaper()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", jar, "--properties", folder / "s3proxy.conf"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    reaper.tell("+", process.pid)
    try:
        wait_for(lambda: _answers(port), lambda: f"no S3 server; it said:\n{(folder / 'log').read_text()}")
        client = fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, endpoint_override=f"{HOST}:{port}", scheme="http", region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        client.create_dir(BUCKET)
        yield S3(f"http://{HOST}:{port}")
    finally:
        process.terminate()
        process.wait()
        reaper.tell("-", process.pid)
        reaper.close()
        shutil.rmtree(folder, ignore_errors=True)
