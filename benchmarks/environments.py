"""Environments of peers that cannot live in ours: built once with venv and pip from a lock with hashes, then kept."""

import hashlib
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).parent / "envs"
BUILD_TIMEOUT_S = 600
REASON_CHARS = 300


class NotBuiltError(Exception):
    """The environment cannot be had here; the message is the reason."""


def python_of(name: str, folder: Path) -> Path:
    """The Python of that environment under ``folder``, built now unless it was built from the same lock before.

    Raises:
        NotBuiltError: pip said why.
    """
    lock = LOCKS / f"{name}.lock"
    wanted = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version.split()[0]}"
    place, stamp = folder / name, folder / name / ".built"
    python = place / "bin" / "python"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(place)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
          "-r", str(lock)])  # fmt: skip
    stamp.write_text(wanted, "utf-8")
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotBuiltError(f"its environment was not built within {BUILD_TIMEOUT_S} s") from error
    if done.returncode:
        raise NotBuiltError(f"its environment cannot be built: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    r"""What pip said last, short enough for a table.

    >>> _last_line("Looking\n\nERROR: No matching distribution found for quixstreams==3.28.1\n")
    'ERROR: No matching distribution found for quixstreams==3.28.1'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "pip gave no reason")[:REASON_CHARS]
