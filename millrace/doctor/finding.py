"""What a check says."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "trouble", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``subject`` is what was looked at, ``what`` what was seen. ``mend`` says how to mend it; empty where it is well.

    ``trouble``: something does not work now. ``warning``: it works, and somebody should look. ``unknown``: it could not
    be looked at, mostly because of another trouble.
    """

    subject: str
    level: Level
    what: str
    mend: str = ""


def well(subject: str, what: str) -> Finding:
    """Nothing to mend."""
    return Finding(subject, "ok", what)
