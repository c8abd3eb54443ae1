"""Pinned Maven artefacts: each with the SHA-256 digest and the size of the one file that is accepted.

jgo fetches. What it fetched is checked here and only here, because jgo 3.2 merely logs a warning when a checksum
differs, checks nothing when none is published, trusts whatever lies in its cache, and leaves an interrupted download
there. The closure of dependencies is pinned too (`kafka.lock`), so a start resolves nothing and reads no POM.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver

from millrace.local.errors import DamagedError, DownloadError
from millrace.telemetry.log import get_logger

log = get_logger(__name__)

ATTEMPTS = 3
TIMEOUT_S = 30

Advance = Callable[[int], None]
"""Called with the number of bytes that have just arrived."""


@dataclass(frozen=True)
class Artefact:
    """One file of a Maven repository, and the only content that is accepted for it."""

    group: str
    name: str
    version: str
    packaging: str
    classifier: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Return the name the file has in a repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{classifier}.{self.packaging}"

    def __str__(self) -> str:
        """Return the coordinates: group:name:packaging[:classifier]:version."""
        parts = (self.group, self.name, self.packaging, self.classifier, self.version)
        return ":".join(part for part in parts if part)


def read_lock(text: str) -> tuple[Artefact, ...]:
    """Parse lines of `sha256 size_bytes coordinates`; blank lines and lines starting with # are skipped."""
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple(_parse(*line) for line in lines)


def _parse(sha256: str, size_bytes: str, coordinates: str) -> Artefact:
    """Build one artefact from the three columns of a lock file."""
    group, name, packaging, *classifier, version = coordinates.split(":")
    return Artefact(group, name, version, packaging, "".join(classifier), sha256, int(size_bytes))


def write_lock(files: Mapping[str, Path]) -> str:
    """Return the text of a lock file: the inverse of `read_lock`, from coordinates and trusted files."""
    lines = (f"{digest(path)} {path.stat().st_size} {coordinates}" for coordinates, path in files.items())
    return "\n".join(lines) + "\n"


def digest(path: Path) -> str:
    """Return the SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repositories() -> dict[str, str]:
    """Return the repositories to ask: Maven Central, or what the user's jgo settings put in its place or beside it."""
    return {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}


def fetch(artefact: Artefact, folder: Path, *, repositories: dict[str, str], advance: Advance | None = None) -> Path:
    """Download one artefact into `folder` and return its path.

    After it the file is there, whole and verified, or it is not there at all. Raises DamagedError when the repository
    holds something else, DownloadError when it could not be had.
    """
    reason: Exception | None = None
    for attempt in range(1, ATTEMPTS + 1):
        with TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            try:
                return _fetch_once(artefact, Path(scratch), repositories, advance or _ignore).rename(
                    folder / artefact.file_name
                )
            except (OSError, RuntimeError, DamagedError) as error:  # jgo and requests raise the first two
                reason = error
                log.warning("download failed", artefact=str(artefact), attempt=attempt, error=str(error))
    if isinstance(reason, DamagedError):
        raise reason
    message = f"{artefact} could not be downloaded: {reason}. It is needed once; then Millrace starts without a network"
    raise DownloadError(message)


def _fetch_once(artefact: Artefact, scratch: Path, repositories: dict[str, str], advance: Advance) -> Path:
    """Let jgo download into an empty folder, so that nothing it finds there can be taken for the download."""
    arrived = 0

    @contextmanager
    def progress(_name: str, _size_bytes: int) -> Iterator[Advance]:
        def count(size_bytes: int) -> None:
            nonlocal arrived
            arrived += size_bytes
            advance(size_bytes)

        yield count

    context = MavenContext(
        resolver=PythonResolver(progress_callback=progress),
        repo_cache=scratch,
        local_repos=[],
        remote_repos=repositories,
        timeout=TIMEOUT_S,
    )
    component = context.project(artefact.group, artefact.name).at_version(artefact.version)
    try:
        path = component.artifact(classifier=artefact.classifier, packaging=artefact.packaging).resolve()
        verify(path, artefact)
    except BaseException:  # cancellation too: what was begun is undone, and it goes on
        advance(-arrived)  # The bar goes back: these bytes come again, or never.
        raise
    return path


def verify(path: Path, artefact: Artefact) -> None:
    """Raise DamagedError unless the file is byte for byte the pinned one."""
    found = digest(path)
    if found != artefact.sha256:
        message = f"{artefact} is not the pinned file: its SHA-256 is {found}, {artefact.sha256} was expected"
        raise DamagedError(message)


def _ignore(_size_bytes: int) -> None:
    """Show no progress."""
