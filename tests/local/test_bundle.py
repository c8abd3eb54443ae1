"""Pinned downloads: a wrong byte is refused, a whole bundle is used without a network."""

import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha1, sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millrace.local import bundle, maven
from millrace.local.bundle import Bundle, build, intact, verify
from millrace.local.errors import DamagedError, DownloadError
from millrace.local.maven import Artefact, read_lock, write_lock

NOBODY = {"nobody": "http://127.0.0.1:9"}


class Quiet(SimpleHTTPRequestHandler):
    """A web server that keeps its log to itself."""

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A Maven repository on this machine: its folder, and how to reach it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, {"test": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    thread.join()
    server.server_close()


def publish(folder: Path, content: bytes, packaging: str = "jar", classifier: str = "") -> Artefact:
    """Put an artefact with its checksum into a repository; return it pinned to this content."""
    artefact = Artefact("org.example", "thing", "1.0", packaging, classifier, sha256(content).hexdigest(), len(content))
    place = folder / "org" / "example" / "thing" / "1.0"
    place.mkdir(parents=True, exist_ok=True)
    (place / artefact.file_name).write_bytes(content)
    (place / f"{artefact.file_name}.sha1").write_text(sha1(content).hexdigest())
    return artefact


def archive(**files: bytes) -> bytes:
    """A tar.gz with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"lib/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_a_lock_file_reads_back() -> None:
    """Writing and reading are inverse, with and without a classifier."""
    here = Path(__file__)
    names = ["org.example:thing:jar:1.0", "org.example:thing:tar.gz:all:1.0"]

    artefacts = read_lock(write_lock(dict.fromkeys(names, here)))

    assert [str(artefact) for artefact in artefacts] == names
    assert {(one.sha256, one.size_bytes) for one in artefacts} == {(maven.digest(here), here.stat().st_size)}


def test_the_pinned_programs_are_complete() -> None:
    """Every line of the real lock files names a file with a digest; the two programs are among them."""
    kafka, apicurio = bundle.pinned_bundles()

    assert len(kafka.artefacts) == 46
    assert "org.apache.kafka:kafka_2.13:jar:4.2.1" in map(str, kafka.artefacts)
    assert [str(one) for one in apicurio.artefacts] == ["io.apicurio:apicurio-registry-app:tar.gz:all:3.3.3"]
    assert all(len(one.sha256) == 64 and one.size_bytes > 0 for one in (*kafka.artefacts, *apicurio.artefacts))


def test_a_bundle_is_built_once_and_then_needs_no_network(
    tmp_path: Path, repository: tuple[Path, dict[str, str]]
) -> None:
    """After the build the folder holds jars and unpacked archives, and is intact."""
    folder, repositories = repository
    things = publish(folder, b"jar"), publish(folder, archive(one=b"1", two=b"22"), "tar.gz", "all")
    arrived: list[int] = []

    built = build(Bundle("b", things), tmp_path / "cache", repositories=repositories, advance=arrived.append)

    assert intact(built)
    assert (built / "thing-1.0.jar").read_bytes() == b"jar"
    assert (built / "lib" / "two").read_bytes() == b"22"
    assert sum(arrived) == sum(one.size_bytes for one in things)
    assert [built.name] == [path.name for path in (tmp_path / "cache").iterdir()]


def test_a_wrong_byte_in_the_repository_is_refused(tmp_path: Path, repository: tuple[Path, dict[str, str]]) -> None:
    """The repository serves other bytes, with a checksum that agrees: the pinned one does not, and nothing stays."""
    folder, repositories = repository
    artefact = publish(folder, b"right")
    publish(folder, b"wrong")

    with pytest.raises(DamagedError, match="is not the pinned file"):
        build(Bundle("b", (artefact,)), tmp_path / "cache", repositories=repositories)

    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unreachable_repository_is_an_error_of_its_own(tmp_path: Path) -> None:
    """No network: the message says that it is needed once."""
    artefact = Artefact("org.example", "thing", "1.0", "jar", "", "0" * 64, 1)

    with pytest.raises(DownloadError, match=r"could not be downloaded.*without a network"):
        build(Bundle("b", (artefact,)), tmp_path / "cache", repositories=NOBODY)


@pytest.mark.parametrize("name", ["thing-1.0.jar", "lib/one"])
def test_a_wrong_byte_in_the_cache_is_refused(
    tmp_path: Path, repository: tuple[Path, dict[str, str]], name: str
) -> None:
    """A file that was changed in place, its length kept, is not used; the next build replaces it."""
    folder, repositories = repository
    whole = Bundle("b", (publish(folder, b"jar"), publish(folder, archive(one=b"1"), "tar.gz", "all")))
    built = build(whole, tmp_path / "cache", repositories=repositories)
    damaged = built / name
    damaged.write_bytes(b"X" * damaged.stat().st_size)

    with pytest.raises(DamagedError, match="is not the file that was installed"):
        verify(built)
    assert not intact(built)
    assert intact(build(whole, tmp_path / "cache", repositories=repositories))


def test_a_missing_file_is_noticed(tmp_path: Path, repository: tuple[Path, dict[str, str]]) -> None:
    """A bundle from which a file was removed is not intact."""
    folder, repositories = repository
    built = build(Bundle("b", (publish(folder, b"jar"),)), tmp_path / "cache", repositories=repositories)
    (built / "thing-1.0.jar").unlink()

    assert not intact(built)


def test_a_copied_cache_is_still_good(tmp_path: Path, repository: tuple[Path, dict[str, str]]) -> None:
    """Another modification time only makes the file be read again."""
    folder, repositories = repository
    built = build(Bundle("b", (publish(folder, b"jar"),)), tmp_path / "cache", repositories=repositories)
    (built / "thing-1.0.jar").touch()

    assert intact(built)
