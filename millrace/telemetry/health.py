"""Health and metrics over HTTP, the same three paths in every service.

- ``/livez``: 200 while the process answers at all.
- ``/readyz``: 200 when every check passes; 503 otherwise, naming each failing check and why it fails.
- ``/metrics``: Prometheus text format.
"""

import asyncio
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from millrace.telemetry.metrics import ASYNCIO_TASKS

Checks = Callable[[], Mapping[str, str | None]]


def build_app(service: str, checks: Checks) -> FastAPI:
    """The HTTP application of a service.

    Args:
        service: its name, for the OpenAPI title.
        checks: asked at each ``/readyz``; maps a check's name to None when it passes, else to what is wrong.
    """
    app = FastAPI(title=f"Millrace {service}", version="1")

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether the service can do its work now."""
        results = dict(checks())
        failing = {name: why for name, why in results.items() if why is not None}
        body = {"status": "not ready" if failing else "ready", "failing": failing, "checks": sorted(results)}
        return JSONResponse(body, status_code=503 if failing else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        """All metrics of this process."""
        ASYNCIO_TASKS.set(len(asyncio.all_tasks()))
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
