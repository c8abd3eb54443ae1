"""Health and metrics over HTTP, the same three paths in every service.

- ``/livez``: 200 while the process answers at all.
- ``/readyz``: 200 when every check passes; 503 otherwise, naming each failing check and why it fails.
- ``/metrics``: Prometheus text format; OpenMetrics, with exemplars, for whoever accepts it.

How long other requests take is measured by the route's template: what a caller makes up is never a label.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.telemetry.metrics import ASYNCIO_TASKS, CHECK_PASSING, HTTP_REQUEST_SECONDS

Checks = Callable[[], Mapping[str, str | None]]
OWN = frozenset({"/livez", "/readyz", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _nothing() -> None:
    """There is nothing to measure."""


def build_app(service: str, checks: Checks, measure: Callable[[], None] = _nothing) -> FastAPI:
    """The HTTP application of a service.

    Args:
        service: its name, for the OpenAPI title.
        checks: asked at each ``/readyz``; maps a check's name to None when it passes, else to what is wrong.
        measure: called at each ``/metrics``, to bring up to date what nobody else does.
    """
    # No /docs and /redoc: these pages load scripts from other sites. /openapi.json is there.
    app = FastAPI(title=f"Millrace {service}", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(_Timed, service=service)

    def checked() -> dict[str, str | None]:
        results = dict(checks())
        for name, why in results.items():
            CHECK_PASSING.labels(service, name).set(why is None)
        return results

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether the service can do its work now."""
        results = checked()
        failing = {name: why for name, why in results.items() if why is not None}
        body = {"status": "not ready" if failing else "ready", "failing": failing, "checks": sorted(results)}
        return JSONResponse(body, status_code=503 if failing else 200)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """All metrics of this process, in the format that the caller accepts."""
        ASYNCIO_TASKS.set(len(asyncio.all_tasks()))
        checked()
        measure()
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), media_type=kind)

    return app


class _Timed:
    """Measures requests. A stream counts until its headers are sent: how long somebody listens is up to them."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["path"] in OWN:
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = 500  # if it raises before it answers

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._measure(scope, status, time.perf_counter() - began_s)
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception:  # counted as what it is, then raised again
            self._measure(scope, status, time.perf_counter() - began_s)
            raise

    def _measure(self, scope: Scope, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        HTTP_REQUEST_SECONDS.labels(self._service, method, route, f"{status // 100}xx").observe(took_s)
