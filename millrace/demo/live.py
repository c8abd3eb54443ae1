"""What one sees while the demo runs: a live picture on a terminal, a line every few seconds elsewhere."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from millrace.contracts.events import DeploymentDecided, RetrainModel
from millrace.demo.progress import Progress
from millrace.demo.story import tell

LINES_SHOWN = 8
PLAIN_EVERY_S = 5.0


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
        self.close()

    def close(self) -> None:
        """Leave the picture as it is; nothing more is drawn."""
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw it anew."""
        if self._live.is_started:
            self._live.update(picture(progress), refresh=True)


class PlainView:
    """A line for each change of phase, each event of the loop, and every five seconds."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._phase = ""
        self._next_s = 0.0
        self._told: list[str] = []
        self._ended = 0
        self._console = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clear away."""

    def close(self) -> None:
        """Nothing to leave: each line stands as it was written."""

    def show(self, progress: Progress) -> None:
        """Write what is new."""
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._write(f"{progress.phase} …")
        if progress.console and not self._console:
            self._console = progress.console
            self._write(f"  watch it in a browser: {progress.console}")
        for text in progress.ended[self._ended :]:
            self._write(f"  {text}")
        self._ended = len(progress.ended)
        told = story(progress)
        for text in told:
            if text not in self._told and not text.endswith("; training"):  # its end will be told
                self._write(f"  {text}")
        self._told = told
        if progress.run is not None and progress.elapsed_s >= self._next_s:
            self._next_s = progress.elapsed_s + PLAIN_EVERY_S
            self._write(_line(progress))


def story(progress: Progress) -> list[str]:
    """The loop's events in words, so far."""
    return [] if progress.run is None else tell(progress.run.control, progress.run.ledger.row_at)


def picture(progress: Progress) -> RenderableType:
    """Everything at a glance."""
    told = [*story(progress)[-LINES_SHOWN:]] or ["nothing yet"]
    return Group(
        Panel(
            Group(_bar(progress), Text(), _numbers(progress)), title=f"Millrace: {progress.phase}", title_align="left"
        ),
        Panel(_services(progress), title="services", title_align="left"),
        Panel(Group(*(Text(line) for line in told)), title="what happened", title_align="left"),
    )


def _bar(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(progress.rows, 1), completed=progress.sent, width=40)
    grid.add_row(bar, f"{progress.sent:,} of {progress.rows:,} rows sent", f"{progress.elapsed_s:.0f} s")
    return grid


def _numbers(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 2))
    run, score = progress.run, progress.score
    if run is None:
        return grid
    control, ledger = run.control, run.ledger
    alarms = sum(drift.severity == "ALARM" for drift in control.drifts)
    grid.add_row("predictions", f"{ledger.predictions:,}", "dead letters", f"{sum(ledger.dead.values()):,}")
    grid.add_row("champion", f"version {control.champion}" if control.champion else "none yet",
                 "drifts", f"{alarms} alarms, {len(control.drifts) - alarms} warnings")  # fmt: skip
    grid.add_row("retrains", str(len(control.of(RetrainModel))),
                 "deployments", str(len(control.of(DeploymentDecided))))  # fmt: skip
    grid.add_row()
    grid.add_row("accuracy now", Text(_share(score.recent), style="bold"), "last 500 rows", score.spark)
    grid.add_row("so far: loop", Text(_share(score.loop), style="bold green"),
                 "first model, frozen", _share(score.frozen))  # fmt: skip
    grid.add_row("", "", "repeat last label", _share(score.repeat_last))
    return grid


def _services(progress: Progress) -> Text:
    text = Text()
    for name, state in progress.services.items():
        text.append("● " if state.ready else "○ ", style="green" if state.ready else "red")
        again = f" ({state.restarts} restarts)" if state.restarts else ""
        text.append(f"{name}{again}   ")
    if progress.console:
        text.append(f"\nwatch it in a browser: {progress.console}")
    return text


def _line(progress: Progress) -> str:
    run, score = progress.run, progress.score
    assert run is not None, "the caller has looked"
    line = f"{progress.elapsed_s:4.0f} s  {progress.sent:,} of {progress.rows:,} rows"
    line += f", {run.ledger.predictions:,} predictions"
    if score.loop is None:
        return line
    others = f"(first model {_share(score.frozen)}, last label {_share(score.repeat_last)})"
    so_far = f"accuracy now {_share(score.recent)}, so far {_share(score.loop)} {others}"
    return f"{line}; {so_far}; version {run.control.champion}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
