"""What a view of the demo is told."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from millrace.demo.measure import Run
from millrace.demo.score import Score
from millrace.local.process import ProcessState


@dataclass(slots=True)
class Progress:
    """What a view is shown, twice a second. ``phase`` is in words; ``rows`` is how many will be sent."""

    phase: str = "starting"
    rows: int = 0
    sent: int = 0
    elapsed_s: float = 0.0
    run: Run | None = None
    score: Score = field(default_factory=Score)
    services: dict[str, ProcessState] = field(default_factory=dict)
    console: str = ""  # its address, once it runs
    ended: list[str] = field(default_factory=list)
    """Deaths and returns of services, in words."""


class View(Protocol):
    """Shows progress while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, progress: Progress) -> None:
        """Called twice a second, and at each change of phase."""
        ...
