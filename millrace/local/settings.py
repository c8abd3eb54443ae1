"""The one place under `millrace.local` that sees the environment."""

import os
from collections.abc import Mapping
from pathlib import Path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, with `extra` laid over it: what a child process inherits."""
    return {**os.environ, **(extra or {})}  # noqa: TID251 - this is the settings file of the embedded default


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the user's cache folder for Millrace, as the XDG base directory specification says."""
    environ = environment() if environ is None else environ
    base = environ.get("XDG_CACHE_HOME", "")
    # The specification tells programs to ignore a relative path here.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "millrace"
