"""Artefacts, addressed by the SHA-256 of their content, in a local folder or any S3-compatible store.

An artefact is written once and never changed; its address is its proof. A write is visible whole or not at all: a
local file is renamed into place, an object store shows an object only when it is complete.
"""

import contextlib
import hashlib
import itertools
import os
from pathlib import Path

from pyarrow import fs

from millrace.contracts.errors import ArtifactError, ArtifactStoreUnavailableError
from millrace.stores.sealing import Seal, is_sealed


class ArtifactStore:
    """Puts and gets artefacts under one root.

    Args:
        root: a folder, or a URI such as ``s3://bucket/prefix?endpoint_override=host:port&scheme=http``.
        key: seals what is written, see ``sealing.py``; None writes it as it is. What is sealed cannot be read without.
    """

    def __init__(self, root: str | Path, key: str | None = None) -> None:
        self._seal = None if key is None else Seal(key)
        self._writes = itertools.count()  # two writers of the same bytes must not share a temporary file
        text = str(root)
        if "://" in text:
            self._fs, self._base = fs.FileSystem.from_uri(text)
        else:
            self._fs, self._base = fs.LocalFileSystem(), str(Path(text).absolute())

    def put(self, content: bytes) -> str:
        """Keep the content and return its SHA-256 in hex. Keeping it again changes nothing, unless it was damaged.

        Raises:
            ArtifactStoreUnavailableError: the store does not take it now; what was there still is.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if not self._holds(path, digest, content):
                self._write(path, content if self._seal is None else self._seal.close(content, digest))
        except OSError as error:
            raise ArtifactStoreUnavailableError(f"artefact {digest} cannot be written to {path}: {error}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """The content of that SHA-256.

        Raises:
            ArtifactStoreUnavailableError: the store does not answer; the file may be whole.
            ArtifactError: it is missing, or is not what its address says.
        """
        path = self._path(digest)
        try:
            content = self._read(path)
        except OSError as error:
            raise ArtifactStoreUnavailableError(f"artefact {digest} cannot be read from {path}: {error}") from error
        if content is None:
            self._require_root(digest)
            raise ArtifactError(f"artefact {digest} is missing: there is no {path}")
        content = self._opened(content, digest)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise ArtifactError(f"artefact {digest} is damaged: its {len(content)} bytes hash to {found}")
        return content

    def _holds(self, path: str, digest: str, content: bytes) -> bool:
        """Whether the content is there, in the form in which this store writes it."""
        there = self._read(path)
        if there is None or is_sealed(there) != (self._seal is not None):
            return False
        try:
            return self._opened(there, digest) == content
        except ArtifactError:
            return False

    def _opened(self, content: bytes, digest: str) -> bytes:
        if not is_sealed(content):
            return content
        if self._seal is None:
            raise ArtifactError(
                f"artefact {digest} is encrypted and this process has no key: set MILLRACE_ARTIFACTS_KEY to that of "
                "the process that wrote it"
            )
        return self._seal.open(content, digest)

    def _require_root(self, digest: str) -> None:
        """A store without a single artefact is one that is not mounted, not one from which this file was lost."""
        try:
            there = self._fs.get_file_info(f"{self._base}/sha256").type == fs.FileType.Directory
        except OSError as error:
            raise ArtifactStoreUnavailableError(f"artefact {digest}: {self._base} does not answer: {error}") from error
        if not there:
            raise ArtifactStoreUnavailableError(f"artefact {digest}: there is no artefact store at {self._base}")

    def _read(self, path: str) -> bytes | None:
        """What is there; None if nothing is. Raises ``OSError``."""
        try:
            with self._fs.open_input_stream(path) as stream:
                content: bytes = stream.read()
        except FileNotFoundError:
            return None
        return content

    def _write(self, path: str, content: bytes) -> None:
        """Replace what is there, whole or not at all. Raises ``OSError``."""
        self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        temporary = f"{path}.{os.getpid()}-{next(self._writes)}.partial"
        try:
            with self._fs.open_output_stream(temporary) as out:
                out.write(content)
            self._fs.move(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):  # it may never have come to be
                self._fs.delete_file(temporary)
            raise

    def _path(self, digest: str) -> str:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ArtifactError(f"{digest!r} is no SHA-256: 64 hexadecimal digits are needed")
        return f"{self._base}/sha256/{digest[:2]}/{digest}"
