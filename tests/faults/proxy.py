"""A network between clients and one broker that can be made to fail: delayed, cut, reset, half-open, cut at a moment.

It knows just enough of Kafka's protocol for the last one: a request is four bytes of size, the API key, its version and
a correlation id, and the answer repeats that id. Run by an event loop in a thread of its own, so that what a test
does meanwhile does not slow it down; the public methods return when the fault is in force.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from millrace.local.platform import INFRASTRUCTURE_PORTS, SERVICES
from millrace.local.ports import HOST, PortBook

T = TypeVar("T")
END_TXN = 26  # the API key of the request that commits or aborts a transaction: below version 3, its last byte says
QUEUED = 64  # frames that a delayed direction holds; then its sender has to wait, as on a real line
STOP_S = 5.0


class Link:
    """One client's connection and ours to the broker."""

    def __init__(self, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.ends = (client, broker)
        self.flows = asyncio.Event()  # cleared: nothing is forwarded any more, and nobody is told
        self.flows.set()
        self.withheld: int | None = None  # the correlation id whose answer never gets back

    def close(self, *, reset: bool) -> None:
        """End it both ways: with RST, or as somebody does who hangs up."""
        for end in self.ends:
            if reset:
                linger = struct.pack("ii", 1, 0)
                with contextlib.suppress(OSError):  # it is closed already
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                end.transport.abort()
            else:
                end.close()


class Proxy:
    """Listens on ``port`` and forwards to ``target``, both on this machine. ``seen`` counts what it did, by name."""

    def __init__(self, port: int, target: int) -> None:
        self.seen: Counter[str] = Counter()
        self._port = port
        self._target = target
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        self._black_hole = False
        self._delay_s = 0.0
        self._end_txn_cuts = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_error: object) -> None:
        """Close everything."""
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def cut(self) -> int:
        """Close all connections, and each new one at once, until ``mend``. Returns how many there were."""
        return self._run(self._fault(is_open=False, reset=False))

    def reset(self) -> int:
        """Answer all connections with RST; new ones work. Returns how many there were."""
        return self._run(self._fault(is_open=True, reset=True))

    def half_open(self) -> int:
        """Forward nothing any more and tell nobody. New connections work after ``mend``, these never again."""
        return self._run(self._freeze())

    def delay(self, seconds: float) -> None:
        """Hold each frame for so long, each way."""
        self._delay_s = seconds

    def cut_end_txn(self, times: int) -> None:
        """The next ``times`` commits reach the broker, and their connections end when its answer is on the way.

        ``seen["end-txn-cut"]`` counts those that the broker had answered, ``seen["end-txn-done"]`` those that it had
        answered with success.
        """
        self._end_txn_cuts = times

    def mend(self) -> None:
        """From now on connections work."""
        self._open, self._black_hole, self._delay_s, self._end_txn_cuts = True, False, 0.0, 0

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self._port)

    async def _shut(self) -> None:
        assert self._server is not None, "it was entered"
        self._server.close()
        self._close_all(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _fault(self, *, is_open: bool, reset: bool) -> int:
        self._open = is_open
        return self._close_all(reset=reset)

    def _close_all(self, *, reset: bool) -> int:
        links, self._links = self._links, set()
        for link in links:
            link.close(reset=reset)
        self.seen["reset" if reset else "cut"] += len(links)
        return len(links)

    async def _freeze(self) -> int:
        self._black_hole = True
        for link in self._links:
            link.flows.clear()
        self.seen["frozen"] += len(self._links)
        return len(self._links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A new client. Kept in a task of ours, since the server's own are not ours to cancel."""
        task = asyncio.current_task()
        assert task is not None, "a server calls this in a task"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.seen["connected" if self._open else "refused"] += 1
        try:
            broker_reader, broker_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:  # the broker is not there: neither are we
            writer.transport.abort()
            return
        link = Link(writer, broker_writer)
        if not self._open:
            link.close(reset=True)
            return
        if self._black_hole:
            link.flows.clear()
        self._links.add(link)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by ``_shut`` only; the server would log it
                await self._both_ways(link, reader, broker_reader)
        finally:
            self._links.discard(link)
            link.close(reset=False)

    async def _both_ways(self, link: Link, client: asyncio.StreamReader, broker: asyncio.StreamReader) -> None:
        """Forward until either side ends."""
        to_client, to_broker = link.ends
        ways = [
            asyncio.create_task(self._forward(link, client, to_broker, is_request=True)),
            asyncio.create_task(self._forward(link, broker, to_client, is_request=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _forward(
        self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        """One direction, frame by frame: take what comes, and send it when its delay is over."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)
        sender = asyncio.create_task(self._send(link, line, sink))
        try:
            while not sender.done():
                size = await source.readexactly(4)
                frame = await source.readexactly(int.from_bytes(size, "big"))
                if is_request:
                    self._look_at_request(link, frame)
                elif self._is_withheld(link, frame):
                    return
                await line.put((self._loop.time() + self._delay_s, size + frame))
        except (OSError, asyncio.IncompleteReadError):
            return  # this side has ended
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, link: Link, line: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        while True:
            due_s, data = await line.get()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await link.flows.wait()
            sink.write(data)
            await sink.drain()

    def _look_at_request(self, link: Link, frame: bytes) -> None:
        """Choose the commit whose answer will be withheld."""
        key, _version, correlation = struct.unpack_from(">hhi", frame)
        if key == END_TXN:
            self.seen["end-txn"] += 1
            if frame[-1] == 1 and self._end_txn_cuts > 0:
                self._end_txn_cuts -= 1
                link.withheld = correlation

    def _is_withheld(self, link: Link, frame: bytes) -> bool:
        """Whether this answer must not get back. Its error code follows the id and four bytes of throttle time."""
        (correlation,) = struct.unpack_from(">i", frame)
        if link.withheld != correlation:
            return False
        self.seen["end-txn-cut"] += 1
        self.seen["end-txn-done"] += struct.unpack_from(">h", frame, 8)[0] == 0
        link.close(reset=True)
        return True


def behind(data: Path) -> tuple[dict[str, str], int, int]:
    """For a platform in ``data``: broker settings for a second listener that says it is at the proxy's port.

    Returns the settings, the proxy's port and the listener's own. Who connects through the proxy is thus told to stay
    with it; who uses the first listener, as judges and administrators do, is not touched by its faults.
    """
    book = PortBook(data / "ports.json")
    ports = book.choose((*INFRASTRUCTURE_PORTS, *SERVICES, "proxy", "behind-proxy"))
    own, proxy, controller = ports["behind-proxy"], ports["proxy"], ports["kafka-controller"]
    direct = f"PLAINTEXT://{HOST}:{ports['kafka']}"
    settings = {
        "listeners": f"{direct},BEHIND://{HOST}:{own},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"{direct},BEHIND://{HOST}:{proxy}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
    }
    return settings, proxy, own
