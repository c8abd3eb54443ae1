"""What can go wrong with the embedded default, and whose fault it is.

LocalError (a MillraceError)
├── JavaNotFoundError       no usable Java on this machine
├── DownloadError           a program could not be fetched
├── DamagedError            what was fetched is not what was pinned
├── DataFolderInUseError    another Millrace runs on this data folder
└── ProcessFailedError      a child process ended, or never became ready
"""

from pathlib import Path

from millrace.contracts.errors import MillraceError


class LocalError(MillraceError):
    """The embedded default cannot do what was asked; the message says what to do about it."""


class JavaNotFoundError(LocalError):
    """No Java of the needed version is on this machine."""


class DownloadError(LocalError):
    """A pinned program could not be fetched."""


class DamagedError(LocalError):
    """A file is not the one that was pinned. It is never used."""


class DataFolderInUseError(LocalError):
    """Another Millrace runs on this data folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{folder} is in use by {holder}; stop that one or choose another data folder")
        self.pid = pid


class ProcessFailedError(LocalError):
    """A child process ended, or did not become ready in time. Carries the end of its log."""

    def __init__(self, name: str, what: str, log_path: Path, tail: str) -> None:
        shown = tail.strip() or "(it wrote nothing)"
        super().__init__(f"{name} {what}; the end of {log_path}:\n{shown}")
        self.name = name
        self.tail = tail
