"""Programs on this disk: folders built once from verified artefacts, and looked over at every start.

A bundle is built in a scratch folder and renamed into place, so it is whole or absent. Its seal lists every file with
digest, size and modification time. A start compares size and time only, as git's index does, and reads a file again
where they differ; a file whose bytes are not the sealed ones makes the whole bundle be thrown away and built anew.
"""

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from millrace.local import maven
from millrace.local.errors import DamagedError, LocalError
from millrace.local.java import Java, find_java
from millrace.local.maven import Artefact
from millrace.local.settings import cache_folder
from millrace.telemetry.log import get_logger

log = get_logger(__name__)

SEAL = "seal.json"
HERE = Path(__file__).parent

Progress = Callable[[int, int], None]
"""Called with the bytes that have arrived so far and the bytes there are in all."""


@dataclass(frozen=True)
class Bundle:
    """The artefacts of one program. Archives are unpacked, jars are laid side by side."""

    name: str
    artefacts: tuple[Artefact, ...]

    @property
    def folder_name(self) -> str:
        """A name that changes with every pinned byte, so that an old folder is never taken for a new one."""
        pinned = "\n".join(f"{artefact} {artefact.sha256}" for artefact in self.artefacts)
        return f"{self.name}-{sha256(pinned.encode()).hexdigest()[:16]}"

    @property
    def size_bytes(self) -> int:
        """What has to be downloaded."""
        return sum(artefact.size_bytes for artefact in self.artefacts)


@dataclass(frozen=True)
class Software:
    """What the two Java programs need: a Java, Kafka's class path, and the folder of the schema registry."""

    java: Java
    kafka_class_path: str
    apicurio: Path


def pinned_bundles() -> tuple[Bundle, Bundle]:
    """Kafka and the schema registry, as the lock files pin them."""
    kafka, apicurio = (maven.read_lock((HERE / f"{name}.lock").read_text("utf-8")) for name in ("kafka", "apicurio"))
    return Bundle("kafka", kafka), Bundle("apicurio", apicurio)


def install(*, cache: Path | None = None, progress: Progress | None = None) -> Software:
    """Make Java, Kafka and the schema registry available; download what is missing, once per user.

    Touches no network when everything is there. Safe to call from several processes at once. `progress` is called only
    while something is downloaded.

    Raises JavaNotFoundError, DownloadError, or DamagedError when a repository serves something else than was pinned.
    """
    java = find_java()
    cache = cache or cache_folder()
    bundles = pinned_bundles()
    missing = [bundle for bundle in bundles if not intact(cache / bundle.folder_name)]
    count = _counter(sum(bundle.size_bytes for bundle in missing), progress)
    for bundle in missing:
        build(bundle, cache, repositories=maven.repositories(), advance=count)
    kafka, apicurio = (cache / bundle.folder_name for bundle in bundles)
    jars = (str(kafka / artefact.file_name) for artefact in bundles[0].artefacts)
    return Software(java, ":".join(jars), apicurio)


def intact(folder: Path) -> bool:
    """Whether a bundle is there with exactly the bytes it was sealed with."""
    try:
        verify(folder)
    except FileNotFoundError:
        return False
    except DamagedError as error:
        log.warning("a cached program is damaged and will be fetched again", folder=str(folder), error=str(error))
        return False
    return True


def verify(folder: Path, *, every_byte: bool = False) -> None:
    """Compare a bundle with its seal.

    Args:
        folder: the bundle's folder.
        every_byte: also read files whose size and time have not changed; this finds what a failing disk changed.

    Raises FileNotFoundError when there is no bundle, DamagedError when a file is missing or is not the sealed one.
    """
    seal: dict[str, list[str | int]] = json.loads((folder / SEAL).read_text("utf-8"))
    for name, (digest, size_bytes, modified_ns) in seal.items():
        path = folder / name
        try:
            status = path.stat()
            untouched = (status.st_size, status.st_mtime_ns) == (size_bytes, modified_ns)
            good = (untouched and not every_byte) or maven.digest(path) == digest
        except FileNotFoundError:
            good = False
        if not good:
            message = f"{path} is not the file that was installed"
            raise DamagedError(message)


def build(bundle: Bundle, cache: Path, *, repositories: dict[str, str], advance: maven.Advance | None = None) -> Path:
    """Download, verify, unpack and seal a bundle, replacing what is in its place. Returns its folder."""
    cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(mkdtemp(dir=cache, prefix=f".{bundle.name}-"))
    try:
        for artefact in bundle.artefacts:
            path = maven.fetch(artefact, scratch, repositories=repositories, advance=advance)
            if path.name.endswith(".tar.gz"):
                with tarfile.open(path) as archive:
                    archive.extractall(scratch, filter="data")
                path.unlink()
        _seal(scratch)
        return _put_in_place(scratch, cache / bundle.folder_name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _seal(folder: Path) -> None:
    """Write down every file with digest, size and modification time."""
    seal: dict[str, tuple[str, int, int]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        seal[str(path.relative_to(folder))] = (maven.digest(path), status.st_size, status.st_mtime_ns)
    (folder / SEAL).write_text(json.dumps(seal), encoding="utf-8")


def _put_in_place(scratch: Path, folder: Path) -> Path:
    """Rename the finished folder into place. Where another process was faster, its folder stays."""
    scratch.chmod(0o755)
    if folder.exists() and not intact(folder):
        shutil.rmtree(folder)
    try:
        scratch.rename(folder)
    except OSError:
        if not intact(folder):
            message = f"{scratch} could not be moved to {folder}"
            raise LocalError(message) from None
    return folder


def _counter(total_bytes: int, progress: Progress | None) -> maven.Advance:
    """Add up what arrives and report it."""
    arrived_bytes = 0

    def advance(size_bytes: int) -> None:
        nonlocal arrived_bytes
        arrived_bytes += size_bytes
        if progress is not None:
            progress(arrived_bytes, total_bytes)

    return advance
