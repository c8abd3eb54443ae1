"""The list of the reaper."""

import os
import subprocess

import psutil

from millrace.local.reaper import kill_family, note


def test_lines_add_and_remove() -> None:
    """A process is watched from its plus to its minus."""
    watched: dict[int, psutil.Process] = {}
    me = psutil.Process()
    note(f"+{me.pid} {me.create_time()!r}\n", watched)
    assert [me.pid] == list(watched)
    note(f"-{me.pid}\n", watched)
    assert not watched


def test_a_process_id_that_was_given_away_is_not_watched() -> None:
    """Same number, other birth: not ours."""
    watched: dict[int, psutil.Process] = {}
    note(f"+{os.getpid()} {psutil.Process().create_time() - 60!r}\n", watched)

    assert not watched


def test_a_process_that_is_gone_is_not_watched() -> None:
    """It ended before the line was read."""
    ended = subprocess.Popen(["true"])
    created_at_s = psutil.Process(ended.pid).create_time()
    ended.wait()
    watched: dict[int, psutil.Process] = {}
    note(f"+{ended.pid} {created_at_s!r}\n", watched)

    assert not watched


def test_a_process_without_a_group_of_its_own_is_killed_alone() -> None:
    """Its group is ours: only the process dies."""
    child = subprocess.Popen(["sleep", "600"])
    kill_family(psutil.Process(child.pid))

    assert child.wait() == -9
