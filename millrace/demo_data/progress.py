"""What one sees while the demo runs: a table in place on a terminal, a line every few seconds elsewhere."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from millrace.demo_data.checks import WORDS
from millrace.local.process import ProcessState

PLAIN_EVERY_S = 5.0


@dataclass(slots=True)
class Progress:
    """What a view is shown, twice a second. ``bad`` is what was injected, ``caught`` is by dead letters and flags."""

    phase: str = "starting"
    rows: int = 0
    sent: int = 0
    elapsed_s: float = 0.0
    predictions: int = 0
    champion: int = 0
    judgements: int = 0
    bad: Mapping[str, int] = field(default_factory=Counter)
    caught: Mapping[str, int] = field(default_factory=Counter)
    services: dict[str, ProcessState] = field(default_factory=dict)
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


class LiveView:
    """Redraws one picture in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, progress: Progress) -> None:
        """Draw it anew."""
        self._live.update(picture(progress), refresh=True)


class PlainView:
    """A line for each change of phase, each death of a service, and every five seconds."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._phase = ""
        self._next_s = 0.0
        self._ended = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clear away."""

    def show(self, progress: Progress) -> None:
        """Write what is new."""
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._write(f"{progress.phase} …")
        for text in progress.ended[self._ended :]:
            self._write(f"  {text}")
        self._ended = len(progress.ended)
        if progress.sent and progress.elapsed_s >= self._next_s:
            self._next_s = progress.elapsed_s + PLAIN_EVERY_S
            self._write(line(progress))


def line(progress: Progress) -> str:
    """Everything in a line."""
    caught = ", ".join(f"{count} {reason}" for reason, count in progress.caught.items()) or "nothing"
    return (
        f"{progress.elapsed_s:4.0f} s  {progress.sent:,} of {progress.rows:,} rows, {progress.predictions:,} "
        f"predictions; {sum(progress.bad.values())} bad events sent, caught: {caught}"
    )


def picture(progress: Progress) -> RenderableType:
    """Everything at a glance."""
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(progress.rows, 1), completed=min(progress.sent, progress.rows), width=40)
    grid.add_row(bar, f"{progress.sent:,} of {progress.rows:,} rows sent", f"{progress.elapsed_s:.0f} s")
    numbers = Table.grid(padding=(0, 2))
    champion = f"version {progress.champion}" if progress.champion else "none yet"
    numbers.add_row("predictions", f"{progress.predictions:,}", "champion", champion)
    numbers.add_row("windows judged bad", str(progress.judgements), "", "")
    both = Table.grid(padding=(0, 4))
    both.add_row(_counts("bad events sent", {WORDS[name]: count for name, count in progress.bad.items()}, "yellow"),
                 _counts("what caught them", progress.caught, "green"))  # fmt: skip
    return Group(
        Panel(Group(grid, Text(), numbers), title=f"Millrace: {progress.phase}", title_align="left"),
        Panel(both, title="trust", title_align="left"),
        Panel(_services(progress), title="services", title_align="left"),
    )


def _counts(title: str, counts: Mapping[str, int], style: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text(title, style="bold"), Text(str(sum(counts.values())), style=f"bold {style}"))
    for name, count in counts.items():
        table.add_row(name, Text(str(count), style=style))
    return table


def _services(progress: Progress) -> Text:
    text = Text()
    for name, state in progress.services.items():
        text.append("● " if state.ready else "○ ", style="green" if state.ready else "red")
        again = f" ({state.restarts} restarts)" if state.restarts else ""
        text.append(f"{name}{again}   ")
    return text
