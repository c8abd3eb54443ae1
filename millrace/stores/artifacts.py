"""Artefacts, addressed by the SHA-256 of their content, in a local folder or any S3-compatible store.

An artefact is written once and never changed; its address is its proof. A write is visible whole or not at all: a
local file is renamed into place, an object store shows an object only when it is complete.
"""

import hashlib
import itertools
import os
from pathlib import Path

from pyarrow import fs

from millrace.contracts.errors import ArtifactError


class ArtifactStore:
    """Puts and gets artefacts under one root.

    Args:
        root: a folder, or a URI such as ``s3://bucket/prefix?endpoint_override=host:port&scheme=http``.
    """

    def __init__(self, root: str | Path) -> None:
        self._writes = itertools.count()  # two writers of the same bytes must not share a temporary file
        text = str(root)
        if "://" in text:
            self._fs, self._base = fs.FileSystem.from_uri(text)
        else:
            self._fs, self._base = fs.LocalFileSystem(), str(Path(text).absolute())

    def put(self, content: bytes) -> str:
        """Keep the content and return its SHA-256 in hex. Keeping the same content again changes nothing."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if self._fs.get_file_info(path).type == fs.FileType.File:
            return digest
        self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        temporary = f"{path}.{os.getpid()}-{next(self._writes)}.partial"
        with self._fs.open_output_stream(temporary) as out:
            out.write(content)
        self._fs.move(temporary, path)
        return digest

    def get(self, digest: str) -> bytes:
        """The content of that SHA-256.

        Raises:
            ArtifactError: it is missing, cannot be read, or is not what its address says.
        """
        path = self._path(digest)
        try:
            with self._fs.open_input_stream(path) as stream:
                content: bytes = stream.read()
        except OSError as error:
            raise ArtifactError(f"artefact {digest} cannot be read from {path}: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise ArtifactError(f"artefact {digest} is damaged: its {len(content)} bytes hash to {found}")
        return content

    def _path(self, digest: str) -> str:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ArtifactError(f"{digest!r} is no SHA-256: 64 hexadecimal digits are needed")
        return f"{self._base}/sha256/{digest[:2]}/{digest}"
