"""Real receivers of alerts: an HTTP server and an SMTP server, each of which can be told to fail."""

import email
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass
class Posted:
    """One request that a web server got; the names of its headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """An HTTP server. It answers with ``statuses``, one after the other, then always with 204."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    taken: list[Posted] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where alerts are posted to."""
        return f"http://127.0.0.1:{self.port}/alerts"


@contextmanager
def web_server(*statuses: int) -> Iterator[Web]:
    """A web server in a thread."""
    web = Web(statuses=list(statuses))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = Posted(
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers["Content-Length"])),
            )
            status = web.statuses.pop(0) if web.statuses else 204
            web.posted.append(request)
            if status < 300:
                web.taken.append(request)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Post:
    """A mail server's handler. It answers to what is sent with ``answers``, then always takes it."""

    answers: list[str] = field(default_factory=list)
    taken: list[EmailMessage] = field(default_factory=list)
    receivers: list[list[str]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take a message, or answer as told."""
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.taken.append(cast(EmailMessage, email.message_from_bytes(content, policy=default)))
        self.receivers.append(list(envelope.rcpt_tos))
        return "250 taken"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        """Let in who knows the word."""
        self.users.append(data.login.decode())
        return AuthResult(success=data.password == b"p@ss/word")


@contextmanager
def mail_server(*answers: str, port: int | None = None, **options: Any) -> Iterator[Post]:
    """A mail server in a thread; ``options`` are aiosmtpd's."""
    post = Post(list(answers))
    port = free_port() if port is None else port
    controller = Controller(post, hostname="127.0.0.1", port=port, authenticator=post.authenticate, **options)
    controller.start()
    post.port = controller.port
    try:
        yield post
    finally:
        controller.stop()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
