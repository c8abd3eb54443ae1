"""A run's record: the zip file that the trainer made of it. It comes from a store, so it is opened with care. Pure."""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Mapping

from millrace.contracts.errors import ArtifactError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BYTES_MAX = 100_000_000  # unpacked; the trainer stays below 20 MB


def files_of(record: bytes) -> Mapping[str, bytes]:
    """Its files by name, without folders.

    Raises:
        ArtifactError: it is no record: no zip file, too large, or with names that are no plain file names.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(record)) as archive:
            entries = archive.infolist()
            wrong = [entry.filename for entry in entries if not NAME.fullmatch(entry.filename)]
            if wrong:
                raise ArtifactError(f"a record has plain file names, not {wrong[0]!r}")
            size = sum(entry.file_size for entry in entries)
            if size > BYTES_MAX:
                raise ArtifactError(f"the record has {size} bytes unpacked, {BYTES_MAX} are allowed")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise ArtifactError(f"this is no record of a run: {error}") from error


def table(files: Mapping[str, bytes], name: str) -> list[dict[str, str]]:
    """The rows of one of its tables; none if it is absent."""
    text = files.get(name, b"").decode(errors="replace")
    return list(csv.DictReader(io.StringIO(text)))


def numbers(rows: list[dict[str, str]], column: str) -> list[tuple[int, float]]:
    """Step and value, where there is one.

    >>> numbers([{"step": "1", "loss": "0.5"}, {"step": "2", "loss": ""}], "loss")
    [(1, 0.5)]
    """
    return [(int(row["step"]), float(row[column])) for row in rows if row.get(column) and row.get("step")]
