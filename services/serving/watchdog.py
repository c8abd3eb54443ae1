"""Calls back when something takes too long, at no cost to what does not.

A thread for each call, as ``threading.Timer`` has it, costs a small micro-batch twenty times its scoring. One thread
looks at what is under way every ``POLL_S``; setting an alarm and taking it back is an entry in a table. It goes off
up to ``POLL_S`` late. The thread begins with the first alarm, and ends when there was none for ``IDLE_S``.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

POLL_S = 0.02
IDLE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """An alarm that is set."""

    dog: "Watchdog"
    number: int
    due_s: float
    call: Callable[[], None]

    def cancel(self) -> None:
        """Take it back; too late is harmless."""
        self.dog.forget(self.number)


class Watchdog:
    """Sets alarms: ``guard.SetAlarm``. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = 0  # alarms so far
        self._entries: dict[int, _Entry] = {}
        self._thread: threading.Thread | None = None

    def __call__(self, after_s: float, call: Callable[[], None]) -> _Entry:
        """Call, from another thread, after so many seconds, unless it is taken back."""
        with self._lock:
            self._set += 1
            entry = _Entry(self, self._set, time.monotonic() + after_s, call)
            self._entries[entry.number] = entry
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
        return entry

    def forget(self, number: int) -> None:
        """Do not call any more."""
        with self._lock:
            self._entries.pop(number, None)

    def _watch(self) -> None:
        seen, since_s = 0, time.monotonic()
        while True:
            time.sleep(POLL_S)
            now_s = time.monotonic()
            with self._lock:
                due = [entry for entry in self._entries.values() if entry.due_s <= now_s]
                for entry in due:
                    del self._entries[entry.number]
                if self._entries or self._set > seen:
                    seen, since_s = self._set, now_s
                elif now_s - since_s > IDLE_S:
                    self._thread = None
                    return
            for entry in due:
                entry.call()
