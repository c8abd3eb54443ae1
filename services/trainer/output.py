"""What a fit prints: read as it comes, so that it never waits for a reader, and forgotten but for its end."""

import contextlib
import os
import threading
from multiprocessing.connection import Connection

KEPT_BYTES = 1000
LOOK_S = 0.2


class Output:
    """Empties a pipe in a thread of its own. ``bytes_seen`` counts what came."""

    def __init__(self, pipe: Connection) -> None:
        self.bytes_seen = 0
        self._pipe = pipe
        self._end = b""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def close(self) -> str:
        """Stop reading; what was printed last. Call it when the writers are gone, or should be."""
        self._closing.set()
        self._thread.join()
        return self._end.decode(errors="replace").strip()

    def _drain(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                if self._pipe.poll(LOOK_S):
                    data = os.read(self._pipe.fileno(), 1 << 16)
                    if not data:
                        return
                    self.bytes_seen += len(data)
                    self._end = (self._end + data)[-KEPT_BYTES:]
                elif self._closing.is_set():
                    return
