"""Child processes: restarted when they die, stopped in order, never left behind."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from millrace.local.errors import LocalError, ProcessFailedError
from millrace.local.process import ProcessSpec
from millrace.local.supervisor import BackOff, Change, Supervisor

PATIENCE_S = 20

# Says that it is there by making a file, then waits; on SIGTERM it writes its name at the end of a common file.
WORKER = """
import pathlib, signal, sys
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def end(*_):
    with (folder / "ended").open("a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
(folder / f"{name}.ready").touch()
while True:
    signal.pause()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); signal.pause()"


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition is about other processes
            await asyncio.sleep(0.01)


def worker(folder: Path, name: str, **more: object) -> ProcessSpec:
    """A process that is ready once its file is there."""

    async def ready() -> bool:
        return (folder / f"{name}.ready").exists()

    argv = (sys.executable, "-c", WORKER, str(folder), name)
    return ProcessSpec(name, argv, folder / f"{name}.log", ready=ready, **more)  # type: ignore[arg-type]


class Pauses:
    """Remembers how long it was asked to sleep, and does not sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Note the pause and let others run."""
        self.seconds.append(seconds)
        await asyncio.sleep(0)


class StandingClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        """Wall time."""
        return round(self.seconds * 1000)

    def monotonic_s(self) -> float:
        """Monotonic time."""
        return self.seconds


def collect(changes: list[Change]) -> Callable[[Change], Awaitable[None]]:
    """A callback that keeps what it is told."""

    async def on_change(change: Change) -> None:
        changes.append(change)

    return on_change


async def test_a_killed_process_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    """Three kills in a row: three restarts, each pause twice as long; a healthy time takes it back to the first."""
    changes: list[Change] = []
    pauses, clock = Pauses(), StandingClock()
    async with Supervisor(clock=clock, sleep=pauses, on_change=collect(changes)) as supervisor:
        await supervisor.start(worker(tmp_path, "w"))
        for kills in (1, 2, 3, 4):
            if kills == 4:
                clock.seconds += BackOff().healthy_s
            pid = supervisor.states()["w"].pid
            assert pid is not None
            psutil.Process(pid).kill()
            await until(lambda: [change.what for change in changes].count("ready") == kills)  # noqa: B023 - awaited here
            assert supervisor.states()["w"].pid != pid
        state = supervisor.states()["w"]

    assert pauses.seconds == [0.5, 1.0, 2.0, 0.5]
    assert (state.restarts, state.ready) == (4, True)
    assert [change.what for change in changes] == ["ended", "restarted", "ready"] * 4


async def test_a_process_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    """Exit code 0 is no reason to stay away."""
    changes: list[Change] = []
    argv = (sys.executable, "-c", "print('done')")
    async with Supervisor(sleep=Pauses(), on_change=collect(changes)) as supervisor:
        await supervisor.start(ProcessSpec("w", argv, tmp_path / "w.log"))
        await until(lambda: any(change.state.restarts >= 2 for change in changes))


async def test_the_supervision_goes_on_when_nobody_waits_any_more(tmp_path: Path) -> None:
    """Who waited is cancelled; what is killed afterwards, even politely, is started again all the same."""
    async with Supervisor(back_off=BackOff(first_s=0.01)) as supervisor:
        await supervisor.start(worker(tmp_path, "one"), worker(tmp_path, "two"))
        waiting = asyncio.create_task(supervisor.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        before = {name: state.pid for name, state in supervisor.states().items()}
        assert before["one"] is not None
        psutil.Process(before["one"]).terminate()
        await until(lambda: supervisor.states()["one"].restarts == 1 and supervisor.states()["one"].ready)

        assert waiting.cancelled()
        assert before["two"] == supervisor.states()["two"].pid
        assert before["one"] != supervisor.states()["one"].pid


async def test_waiting_raises_what_broke_the_supervision(tmp_path: Path) -> None:
    """Such as an error of whoever is told of changes; also for one who begins to wait afterwards."""

    async def fails(_change: Change) -> None:
        raise LocalError("cannot be told")

    async with Supervisor(back_off=BackOff(first_s=0.01), on_change=fails) as supervisor:
        await supervisor.start(worker(tmp_path, "one"))
        pid = supervisor.states()["one"].pid
        assert pid is not None
        psutil.Process(pid).kill()
        for _ in range(2):
            with pytest.raises(LocalError, match="cannot be told"):
                await supervisor.wait()


async def test_a_failing_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    """A process that ends before it is ready: its last words and its exit code are in the error."""

    async def never() -> bool:
        return False

    argv = (sys.executable, "-c", "import sys; print('old', 'x' * 9000); print('the reason'); sys.exit(3)")
    async with Supervisor() as supervisor:
        with pytest.raises(ProcessFailedError, match=r"w ended before it was ready \(exit code 3\)") as caught:
            await supervisor.start(ProcessSpec("w", argv, tmp_path / "w.log", ready=never))

    assert caught.value.tail.endswith("the reason\n")
    assert "old" not in caught.value.tail


async def test_waiting_for_readiness_is_bounded(tmp_path: Path) -> None:
    """A process that runs but never gets ready: given up, with its log, and not left running."""

    async def never() -> bool:
        return False

    spec = ProcessSpec(
        "w", (sys.executable, "-c", STUBBORN), tmp_path / "w.log", ready=never, ready_timeout_s=1, stop_timeout_s=0.1
    )
    async with Supervisor() as supervisor:
        with pytest.raises(ProcessFailedError, match="w was not ready within 1 s"):
            await supervisor.start(spec)
        pid = supervisor.states()["w"].pid
        assert pid is not None

    assert not psutil.pid_exists(pid)


async def test_an_unknown_program_is_an_error(tmp_path: Path) -> None:
    """A program that is not there is named."""

    async def never() -> bool:
        return False

    async with Supervisor() as supervisor:
        with pytest.raises(ProcessFailedError, match="no-such-program"):
            await supervisor.start(ProcessSpec("w", ("no-such-program",), tmp_path / "w.log", ready=never))


async def test_waves_stop_in_reverse_order(tmp_path: Path) -> None:
    """What was started last ends first, by SIGTERM; after it nothing runs."""
    supervisor = Supervisor()
    for name in ("first", "second", "third"):
        await supervisor.start(worker(tmp_path, name))
    pids = [state.pid for state in supervisor.states().values()]
    reaper = supervisor.guard.pid
    await supervisor.stop()

    assert (tmp_path / "ended").read_text().split() == ["third", "second", "first"]
    assert not any(psutil.pid_exists(pid) for pid in (*pids, reaper) if pid)
    assert supervisor.states() == {}


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """Patience has an end."""

    async def ready() -> bool:
        return "here" in (tmp_path / "w.log").read_text()

    argv = (sys.executable, "-c", STUBBORN)
    supervisor = Supervisor()
    await supervisor.start(ProcessSpec("w", argv, tmp_path / "w.log", ready=ready, stop_timeout_s=0.1))
    pid = supervisor.states()["w"].pid
    await supervisor.stop()

    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_children_of_a_dead_process_do_not_stay(tmp_path: Path) -> None:
    """A killed process leaves a child in its group: it is gone before the restart."""
    changes: list[Change] = []
    async with Supervisor(sleep=Pauses(), on_change=collect(changes)) as supervisor:
        await supervisor.start(ProcessSpec("w", ("sh", "-c", "sleep 600 & wait"), tmp_path / "w.log"))
        pid = supervisor.states()["w"].pid
        assert pid is not None
        parent = psutil.Process(pid)
        await until(parent.children)
        [child] = parent.children()
        parent.kill()
        await until(lambda: changes and changes[-1].what == "ready")

        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_names_are_unique(tmp_path: Path) -> None:
    """Two processes of one name could not be told apart."""
    async with Supervisor() as supervisor:
        with pytest.raises(LocalError, match="name of its own"):
            await supervisor.start(worker(tmp_path, "w"), worker(tmp_path, "w"))
