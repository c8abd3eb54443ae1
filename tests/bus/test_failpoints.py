"""Failpoints do nothing unless they are told to, and then exactly what they are told."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from millrace.bus import failpoints
from millrace.bus.failpoints import POINTS, FailpointError, UnknownFailpointError, failpoint
from tests.faults.harness import wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from millrace.bus.failpoints import failpoint, install
from millrace.telemetry.log import configure
configure("test")
install(sys.argv[1])
for number in range(5):
    print(number, flush=True)
    failpoint("commit.begin")
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No test leaves one armed."""
    yield
    failpoints.install("")


def started(text: str) -> subprocess.Popen[str]:
    """A process that comes to ``commit.begin`` five times."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_nothing_happens_where_nothing_is_armed():
    """Also for names that nobody has heard of: the check is at the start."""
    failpoints.install("commit.after-end=raise")

    assert [None, None] == [failpoint("commit.begin"), failpoint("unheard-of")]


@pytest.mark.parametrize("text", ["commit.beginn=kill", "commit.begin=explode", "commit.begin=kill@0", "commit.begin"])
def test_what_cannot_be_understood_is_refused_with_the_known_names(text):
    """A misspelt failpoint would make a test that tests nothing."""
    with pytest.raises(UnknownFailpointError, match=r"MILLRACE_FAILPOINTS.*commit\.begin.*registry\.mid-decision"):
        failpoints.install(text)


def test_a_service_refuses_a_name_that_it_does_not_know(tmp_path):
    """The process ends with status 1 and says which names there are, before it asks for anything else."""
    env = {
        "MILLRACE_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MILLRACE_SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
        "MILLRACE_PROJECT": str(tmp_path), "MILLRACE_FAILPOINTS": "commit.nowhere=kill",
    }  # fmt: skip
    command = [sys.executable, "-m", "services.serving"]
    ended = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (1, True) == (ended.returncode, "commit.after-offsets" in ended.stderr), ended.stderr


def test_kill_is_a_sigkill_at_the_hit_that_was_named_and_is_logged_before():
    """The third time, not before; the log line is out although nothing was flushed."""
    with started("commit.begin=kill@3") as process:
        out, log = process.communicate(timeout=60)

    assert (-signal.SIGKILL, ["0", "1", "2"]) == (process.returncode, out.split())
    assert '"event": "failpoint reached"' in log
    assert '"hit": 3' in log


def test_stop_waits_for_somebody_to_continue_it():
    """SIGSTOP once; after SIGCONT it goes on as if nothing had been."""
    with started("commit.begin=stop@2") as process:
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "it stops")
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=60)

    assert (0, ["0", "1", "2", "3", "4"]) == (process.returncode, out.split())


def test_raise_raises_at_its_hit():
    """As a connection that broke: an OSError, once."""
    failpoints.install("commit.begin=raise@2, commit.after-end=raise")
    failpoint("commit.begin")

    with pytest.raises(FailpointError, match=r"commit\.begin"):
        failpoint("commit.begin")
    failpoint("commit.begin")
    with pytest.raises(OSError, match=r"commit\.after-end"):
        failpoint("commit.after-end")


def test_every_point_stands_in_the_code_once():
    """What POINTS lists is placed, and nothing is placed that it does not list."""
    sources = [path for folder in ("millrace", "services") for path in (ROOT / folder).rglob("*.py")]
    call = re.compile(r'^\s+(?:failpoint|self\._reached)\("([^"]+)"\)', re.MULTILINE)
    placed = [name for path in sources for name in call.findall(path.read_text())]

    assert sorted(POINTS) == sorted(placed)
