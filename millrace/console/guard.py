"""Who may ask, and what a browser may do with the answer.

Rules:

- A name that the console is not known by is refused: another site's page whose name was pointed at this machine must
  not read it (DNS rebinding). Where the console listens on this machine only, its names are those of this machine.
- What changes something must be JSON and come from the console's own pages, as far as a browser says where it comes
  from (``Sec-Fetch-Site``, ``Origin``). What is no browser says neither, and is no danger.
- With a token set, every call of the API needs it, as a bearer token; server-sent events, for which a browser can set
  no header, take it as ``?token=``.
- A page may load scripts, pictures and data from here and nowhere else, and no script may stand in a page.
"""

import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.console.answers import problem

OPEN = frozenset({"/livez", "/readyz", "/metrics"})
NO_TOKEN = frozenset({"/api/session"})
FROM_ELSEWHERE = frozenset({"/api/alertmanager"})
EVENTS = "/api/events"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_BYTES_MAX = 1_000_000
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Styles may stand in a page, because Plotly sets them on what it draws; scripts may not."""
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class RefusedError(Exception):
    """A call that is not let through: its status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def names_of(host: str, further: Iterable[str]) -> frozenset[str] | None:
    """The names that the console is known by; None for any.

    >>> names_of("0.0.0.0", ()) is None
    True
    """
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    known = frozenset(further)
    return (known | LOCAL | {host}) if is_local else (known or None)


class Guard:
    """Stands before the application.

    Args:
        app: what is asked if all is well.
        names: the names that the console is known by; None for any.
        token: what every call of the API must bring; None for nothing.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str] | None, token: str | None) -> None:
        self._app = app
        self._names = names
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the call through, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except RefusedError as refused:
            response = problem(refused.status, str(refused), scope["path"])
            if refused.status == 401:  # Unauthorized
                response.headers["WWW-Authenticate"] = "Bearer"
            await response(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    def _check(self, scope: Scope) -> None:
        path, headers = scope["path"], Headers(scope=scope)
        if path in OPEN:
            return
        self._check_name(headers)
        if scope["method"] not in SAFE:
            self._check_origin(path, headers)
        if path.startswith(("/api/", "/openapi.json")) and path not in NO_TOKEN:
            self._check_token(scope, headers)

    def _check_name(self, headers: Headers) -> None:
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self._names is not None and name not in self._names:
            raise RefusedError(
                403, f"the console is not known as {name!r}; MILLRACE_CONSOLE_NAMES lists further names, as JSON"
            )

    def _check_origin(self, path: str, headers: Headers) -> None:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError(415, f"the content type is {kind or 'missing'!r}; send application/json")
        if int(headers.get("content-length") or 0) > BODY_BYTES_MAX:
            raise RefusedError(
                413, f"the body has {headers['content-length']} bytes, at most {BODY_BYTES_MAX} are read"
            )
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site not in {None, "same-origin"}:
            raise RefusedError(403, f"the request comes from another site ({site}); open the console itself")
        if origin is not None and urlsplit(origin).netloc != headers.get("host") and path not in FROM_ELSEWHERE:
            raise RefusedError(403, f"the request comes from {origin}, not from the console's own pages")

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._token is None:
            return
        given = headers.get("authorization", "")
        token = given.removeprefix("Bearer ") if given.startswith("Bearer ") else ""
        if not token and scope["path"] == EVENTS:
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise RefusedError(401, "the token is missing or wrong; it is the one in MILLRACE_CONSOLE_TOKEN")
