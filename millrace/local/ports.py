"""Ports of one data folder: chosen once, remembered, so that addresses survive a restart."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from zlib import crc32

from millrace.local.atomic import write_json
from millrace.local.errors import LocalError

HOST = "127.0.0.1"
# Below the ports that Linux (32768-60999), macOS and Windows (49152-65535) hand to outgoing connections. While a broker
# is down its clients keep knocking; a client that happens to be given the broker's own port as its source connects to
# itself, and then the broker cannot come back.
FIRST, LAST = 20_000, 29_999


class PortBook:
    """The file that remembers which port each part of one data folder has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def choose(self, names: Iterable[str]) -> dict[str, int]:
        """Return a free port for each name: the remembered one if it is still free, otherwise a new one.

        A port that is returned is free now, not reserved. Raises LocalError when none is left.
        """
        remembered: dict[str, int] = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}
        with ExitStack() as held:  # Every chosen port stays taken until all are chosen, so that no two are the same.
            chosen = {name: self._one(held, remembered, name) for name in names}
        write_json(self._path, remembered | chosen)
        return chosen

    def _one(self, held: ExitStack, remembered: dict[str, int], name: str) -> int:
        """Take the first free port, the remembered one before all others."""
        for port in self._candidates(remembered, name):
            taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            # As servers do: connections of an earlier run that linger do not make the port taken.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind((HOST, port))
                taken.listen(1)
            except OSError:
                taken.close()
                continue
            held.enter_context(taken)
            return port
        message = f"no port between {FIRST} and {LAST} is free on {HOST}"
        raise LocalError(message)

    def _candidates(self, remembered: dict[str, int], name: str) -> Iterator[int]:
        """The remembered port, then all that no other name has, from a place that differs between data folders."""
        if name in remembered:
            yield remembered[name]
        count = LAST - FIRST + 1
        start = crc32(str(self._path.resolve()).encode()) % count
        everything = (FIRST + (start + step) % count for step in range(count))
        yield from (port for port in everything if port not in remembered.values())
