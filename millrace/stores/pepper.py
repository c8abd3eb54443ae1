"""The pepper: the one secret under which the key store finds a person, kept apart from its database.

Given by a setting, or else in a file beside the store that only its owner may read.
"""

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from millrace.contracts.errors import MillraceError

CHARS_MIN = 32
BYTES = 32

RandomBytes = Callable[[int], bytes]


class SubjectKeysError(MillraceError):
    """The key store cannot be used as it is: the pepper or the database is not the right one."""


def pepper_of(given: str | None, file: Path, random_bytes: RandomBytes = secrets.token_bytes) -> bytes:
    """The pepper that was given, else that of the file, which is made with mode 0600 if there is none.

    Raises:
        SubjectKeysError: it is too short to be a secret, or others may read the file.
    """
    if given is not None:
        return _long_enough(given, "MILLRACE_PEPPER")
    try:
        if not file.exists():
            _make_pepper(file, random_bytes(BYTES).hex())
        mode = file.stat().st_mode & 0o777
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SubjectKeysError(f"pepper file {file} cannot be used: {error}") from error
    if mode & 0o077:
        raise SubjectKeysError(f"pepper file {file} has mode {mode:04o}: others may read it; chmod 600 {file}")
    return _long_enough(content, f"pepper file {file}")


def _long_enough(pepper: str, where: str) -> bytes:
    pepper = pepper.strip()
    if len(pepper) < CHARS_MIN:
        raise SubjectKeysError(f"{where} has {len(pepper)} characters, at least {CHARS_MIN} are a secret")
    return pepper.encode()


def _make_pepper(file: Path, pepper: str) -> None:
    """Whole or not at all; of two who make it at once the first one wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.{hashlib.sha256(pepper.encode()).hexdigest()[:8]}")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(f"{pepper}\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(partial, file)
    finally:
        partial.unlink()
