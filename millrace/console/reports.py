"""What others hold and the console shows: the registry's cards and histories, data reports, the records of runs."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse

from millrace.bus.context import Context
from millrace.console.http import Fetch
from millrace.console.watch import Watcher
from millrace.contracts.errors import ArtifactError, ArtifactStoreUnavailableError, MillraceError
from millrace.contracts.project import Project
from millrace.data_report.make import make_report
from millrace.data_report.page import render
from millrace.runs.record import files_of, numbers, table
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.lake import Lake

REGISTRY_S = 10.0
REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
HISTORY = "history.csv"
TEXT_BYTES_MAX = 200_000
ROWS_MAX = 500


class Registry:
    """The registry's API, as far as the console hands its answers on."""

    def __init__(self, url: str | None, watcher: Watcher, fetch: Fetch) -> None:
        self._url = url
        self._watcher = watcher
        self._fetch = fetch

    async def get(self, path: str, accept: str = "application/json") -> Response:
        """Its answer, whatever it is. Raises ``HTTPException`` 503 if it gives none."""
        seen = self._watcher.seen.get("registry")
        url = self._url or (None if seen is None else seen.url)
        if url is None:
            raise HTTPException(503, "no registry is known; MILLRACE_CONSOLE_REGISTRY_URL names it")
        try:
            reply = await self._fetch(f"{url.rstrip('/')}{path}", REGISTRY_S, {"Accept": accept})
        except OSError as error:
            raise HTTPException(503, f"the registry does not answer at {url}: {error}") from error
        if reply.status >= 400:  # an error
            raise HTTPException(reply.status, _detail(reply.body))
        return Response(reply.body, media_type=reply.content_type, headers={"Cache-Control": "no-store"})


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:1000]


def add_registry_routes(app: FastAPI, registry: Registry) -> None:
    """Add what is asked of the registry."""

    @app.get("/api/models/{model}/card/{version}", tags=["models"])
    async def card(model: str, version: int, format: str = "json") -> Response:  # noqa: A002  # the query's name
        """A model card, as JSON or (`format=markdown`) as text."""
        accept = "text/markdown" if format == "markdown" else "application/json"
        return await registry.get(f"/v1/models/{quote(model, safe='')}/versions/{version}/card", accept)

    @app.get("/api/models/{model}/history", tags=["models"])
    async def history(model: str, at: str | None = None) -> Response:
        """What served at a time and why; without a time, the model's whole life."""
        query = f"?at={quote(at, safe='')}" if at else ""
        return await registry.get(f"/v1/models/{quote(model, safe='')}/history{query}")


class Reports:
    """Makes the page about a snapshot's data, and keeps it: a snapshot does not change."""

    def __init__(
        self, context: Context, projects: Mapping[str, Project], lakes: Mapping[str, Lake], folder: Path
    ) -> None:
        self._context = context
        self._projects = projects
        self._lakes = lakes
        self._folder = folder
        self._making = asyncio.Lock()  # it reads many rows: one at a time

    async def page(self, model: str, snapshot: str) -> str:
        """The page. Raises ``HTTPException`` 404 for a model whose project is not known here."""
        project = self._projects.get(model)
        if project is None:
            raise HTTPException(404, f"the project of {model!r} is not known here; known are {sorted(self._projects)}")
        async with self._making:
            kept = self._folder / f"{project.stream}-{quote(snapshot, safe='')}.html"
            if snapshot != "newest" and await asyncio.to_thread(kept.is_file):
                return await asyncio.to_thread(kept.read_text, "utf-8")
            return await self._make(project, model, snapshot, kept)

    async def _make(self, project: Project, model: str, snapshot: str, kept: Path) -> str:
        context, lake = self._context, self._lakes.get(model)
        report = await make_report(project, context.transport, context.codec, lake, snapshot)
        text = await asyncio.to_thread(render, report)
        if snapshot != "newest":
            await asyncio.to_thread(_keep, kept, text)
        return text


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.replace(file)


def add_report_routes(app: FastAPI, reports: Reports) -> None:
    """Add the data reports."""

    @app.get("/api/data-report", tags=["data"], response_class=HTMLResponse)
    async def data_report(model: str, snapshot: str = "newest") -> HTMLResponse:
        """A page about the data of a snapshot, in one file; the first time it is asked for takes some seconds."""
        try:
            text = await reports.page(model, snapshot)
        except MillraceError as error:
            raise HTTPException(503 if error.retryable else 404, str(error)) from error
        return HTMLResponse(text, headers={"Content-Security-Policy": REPORT_CSP, "Cache-Control": "no-store"})


class Records:
    """The records of runs, from the artefact store."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    async def of(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What a run's record holds: its files, its texts, its curves; or why there is none."""
        digest = run["record_sha256"]
        if digest is None:
            why = (
                "only a run that succeeded has a record" if run["status"] != "SUCCEEDED" else "the run wrote no record"
            )
            return {"record": None, "record_missing": why}
        try:
            files = files_of(await asyncio.to_thread(self._store.get, digest))
        except (ArtifactError, ArtifactStoreUnavailableError) as error:
            return {"record": None, "record_missing": str(error)}
        return {"record": _shown(files), "record_missing": None, "losses": [*_curves(files), *run["losses"]]}


def _shown(files: Mapping[str, bytes]) -> dict[str, Any]:
    small = {name: content for name, content in files.items() if len(content) <= TEXT_BYTES_MAX}
    return {
        "files": [{"name": name, "bytes": len(content)} for name, content in sorted(files.items())],
        "json": {name: json.loads(content) for name, content in small.items() if name.endswith(".json")},
        **{name: table(files, f"{name}.csv")[:ROWS_MAX] for name in ("trials", "importances")},
    }


def _curves(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    rows = table(files, HISTORY)
    names = [name for name in (rows[0] if rows else {}) if name != "step"]
    curves = {name: numbers(rows, name) for name in names}
    return [
        {"name": name, "points": [{"step": step, "value": value} for step, value in points]}
        for name, points in curves.items()
        if points
    ]
