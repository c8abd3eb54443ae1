"""What runs in a thread and what does not."""

import asyncio
import threading
import time

from millrace.bus.tasks import Offload


def where(work_s: float) -> str:
    """The thread that this runs in, after so much CPU time."""
    until_s = time.thread_time() + work_s
    while time.thread_time() < until_s:
        pass
    return threading.current_thread().name


async def test_small_work_is_done_here_and_large_work_in_a_thread():
    """By what the last call needed: what is unknown or large goes into a thread; more rows, more time."""
    offload, here = Offload(asyncio.to_thread), threading.current_thread().name
    places = [
        await offload(rows, where, work_s)
        for rows, work_s in [
            (10, 0.0),
            (10, 0.0),
            (10, 0.05),
            (10, 0.05),
            (10, 0.0),
            (10, 0.0),
            (10_000_000, 0.0),
            (1, 0.0),
        ]
    ]

    assert [False, True, True, False, False, True, False] == [place == here for place in places[:7]]


async def test_an_error_comes_back_as_it_is():
    """From either place."""
    offload = Offload(asyncio.to_thread)
    seen = []
    for _ in range(2):
        try:
            await offload(1, int, "x")
        except ValueError as error:
            seen.append(str(error))

    assert ["invalid literal for int() with base 10: 'x'"] * 2 == seen
