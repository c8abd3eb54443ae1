"""What a run was at, and when: the parts of its span."""

from millrace.bus.clock import Clock
from millrace.telemetry.loop_spans import Stage

STAGES_MAX = 50  # noted; a fit that goes to and fro between two would else have a span for each time


class Stages:
    """The stages of one run, one after another."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended: list[Stage] = []
        self._now: tuple[str, int] | None = None

    def enter(self, name: str) -> None:
        """This begins, unless it is under way already, and what went on until now has ended."""
        if (self._now is not None and self._now[0] == name) or len(self._ended) >= STAGES_MAX:
            return
        self._end()
        self._now = (name, self._clock.now_ms())

    def take(self) -> list[Stage]:
        """All of them; the last one has ended too."""
        self._end()
        stages, self._ended = self._ended, []
        return stages

    def _end(self) -> None:
        if self._now is not None:
            self._ended.append(Stage(*self._now, self._clock.now_ms()))
            self._now = None
