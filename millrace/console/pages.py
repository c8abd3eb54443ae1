"""The pages: templates without data. What they show, their scripts ask the API for."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, TemplateNotFound

from millrace.console.files import Files

FOLDER = Path(__file__).parent / "templates"
PAGES: Mapping[str, tuple[str, str]] = {
    "/": ("overview", "Overview"),
    "/models": ("models", "Models"),
    "/models/{model}": ("model", "Model"),
    "/models/{model}/versions": ("versions", "Versions"),
    "/models/{model}/drifts/{id:path}": ("drift", "Drift"),
    "/models/{model}/runs": ("runs", "Runs"),
    "/models/{model}/runs/{id:path}": ("run", "Run"),
    "/models/{model}/card/{version}": ("card", "Model card"),
    "/runs": ("runs", "Runs"),
    "/dead-letters": ("dead_letters", "Dead letters"),
    "/alerts": ("alerts", "Alerts"),
    "/audit": ("audit", "Audit"),
    "/help": ("help", "Help"),
}
"""By path: the template's name, and the page's title."""


class Pages:
    """Renders templates. A change of one is seen at once."""

    def __init__(self, served: Files, folder: Path = FOLDER) -> None:
        self._templates = Environment(loader=FileSystemLoader(folder), autoescape=True)
        self._templates.globals["asset"] = served.url

    def render(self, name: str, title: str, parts: Mapping[str, str], stream: str | None = None) -> str:
        """One page. Raises ``HTTPException`` 404 where there is no such template."""
        context = {key: parts.get(key) for key in ("model", "version", "id")}
        try:
            template = self._templates.get_template(f"{name}.html")
        except TemplateNotFound as error:
            raise HTTPException(404, f"there is no page {name!r}") from error
        return template.render(page=name, title=title, stream=stream, **context)


def add_routes(app: FastAPI, pages: Pages) -> None:
    """Add every page."""
    for path, (name, title) in PAGES.items():
        _add(app, pages, path, name, title)


def _add(app: FastAPI, pages: Pages, path: str, name: str, title: str) -> None:
    async def show(request: Request) -> HTMLResponse:
        parts = {key: str(value) for key, value in request.path_params.items()}
        text = pages.render(name, title, parts, request.query_params.get("stream"))
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    app.add_api_route(path, show, methods=["GET"], include_in_schema=False)
