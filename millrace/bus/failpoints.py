"""Named places in the code where a test lets the process die; without a test they do nothing.

``MILLRACE_FAILPOINTS="commit.after-offsets=kill@3"`` kills the process, as ``kill -9`` would, when it comes to that
place for the third time. Several are separated by commas; ``@3`` may be left out, then it is the first time. Actions:

- ``kill``: SIGKILL to itself. Nothing is closed, nothing is flushed.
- ``stop``: SIGSTOP to itself, as a long pause. Somebody else has to send SIGCONT.
- ``raise``: :class:`FailpointError`, an ``OSError``, as if the connection broke here, that one time.

One line is logged before, so that a test sees that the fault has happened. At a place that is not named the cost is one
look into an empty dictionary.
"""

import os
import re
import signal
from dataclasses import dataclass
from typing import Literal

from millrace.contracts.errors import MillraceError
from millrace.telemetry.log import get_logger

log = get_logger(__name__)

POINTS: dict[str, str] = {
    "commit.begin": "a transaction has been begun",
    "commit.after-offsets": "the positions are in the transaction, no record is",
    "commit.mid-send": "a batch of records is acknowledged, others perhaps not",
    "commit.before-end": "all records are acknowledged, the commit is not asked for",
    "commit.after-end": "the commit is acknowledged, the caller does not know yet",
    "train.in-fit": "the fit process has its task",
    "train.between-artifact-and-event": "the model file is stored, the log does not know of it",
    "lake.before-write": "rows are about to be written to the lake",
    "lake.between-write-and-commit": "their files are written, the table does not know of them",
    "lake.after-commit": "the table has them, the writer does not know yet",
    "lake.before-compaction": "small files are about to be merged",
    "lake.between-merge-and-commit": "the merged files are written, the table does not know of them",
    "lake.before-deletion": "a person's rows are about to be removed",
    "registry.mid-decision": "a run is decided about, nothing is written",
}
"""Every place, and what is true when it is reached."""

Action = Literal["kill", "stop", "raise"]
_ENTRY = re.compile(r"(?P<name>[a-z.-]+)=(?P<action>kill|stop|raise)(@(?P<hit>[1-9][0-9]*))?")


class FailpointError(OSError):
    """A failpoint was told to raise."""


class UnknownFailpointError(MillraceError):
    """MILLRACE_FAILPOINTS cannot be understood. The message lists what can be."""


@dataclass(slots=True)
class _Armed:
    action: Action
    hit: int
    seen: int = 0


_armed: dict[str, _Armed] = {}


def install(text: str) -> None:
    """Arm the failpoints that the text names, and no other.

    Raises:
        UnknownFailpointError: an entry is not of the form ``name=action@hit``, or there is no such place.
    """
    armed: dict[str, _Armed] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        found = _ENTRY.fullmatch(entry)
        if found is None or found["name"] not in POINTS:
            raise UnknownFailpointError(
                f"MILLRACE_FAILPOINTS holds {entry!r}; name=kill, name=stop or name=raise, with @hit behind it, are "
                f"understood, and these names: {', '.join(POINTS)}"
            )
        action: Action = "kill" if found["action"] == "kill" else "stop" if found["action"] == "stop" else "raise"
        armed[found["name"]] = _Armed(action, int(found["hit"] or 1))
    _armed.clear()
    _armed.update(armed)


def failpoint(name: str) -> None:
    """Do here what ``MILLRACE_FAILPOINTS`` says; nothing if it does not name this place."""
    armed = _armed.get(name)
    if armed is not None:
        _reached(name, armed)


def _reached(name: str, armed: _Armed) -> None:
    armed.seen += 1
    if armed.seen != armed.hit:
        return
    log.warning("failpoint reached", point=name, action=armed.action, hit=armed.seen)
    match armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise FailpointError(f"failpoint {name}, time {armed.seen}")
