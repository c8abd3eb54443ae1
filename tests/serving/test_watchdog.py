"""Alarms go off when they are due, from another thread, and not when they were taken back."""

import threading
import time

from services.serving import watchdog
from services.serving.watchdog import Watchdog


def test_an_alarm_goes_off_when_it_is_due():
    """Not before, and soon after."""
    went_off, began = threading.Event(), time.monotonic()
    Watchdog()(0.1, went_off.set)

    assert went_off.wait(10)
    assert time.monotonic() - began >= 0.1


def test_an_alarm_that_was_taken_back_never_goes_off():
    """One that is due later, and does go off, is the proof that the first would have."""
    dog, seen, last = Watchdog(), list[str](), threading.Event()
    first = dog(0.05, lambda: seen.append("first"))
    dog(0.1, last.set)
    first.cancel()

    assert last.wait(10)
    assert [] == seen
    first.cancel()


def test_the_thread_ends_when_it_is_idle_and_begins_again(monkeypatch):
    """A process whose rollout is over has no thread that wakes up for nothing."""
    monkeypatch.setattr(watchdog, "IDLE_S", 0.05)
    dog, again = Watchdog(), threading.Event()
    dog(0.01, lambda: None)
    thread = dog._thread
    thread.join(10)
    dog(0.01, again.set)

    assert again.wait(10)
    assert not thread.is_alive()
