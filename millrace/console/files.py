"""Files for the browser: our own, and the chart library from its Python package. Nothing comes from another site."""

import asyncio
import gzip
import hashlib
import mimetypes
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI, HTTPException, Request, Response

FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
FOREVER = "public, max-age=31536000, immutable"
A_DAY = "public, max-age=86400"
WORTH_PACKING_BYTES = 1_000
KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
         ".woff2": "font/woff2", ".webmanifest": "application/manifest+json", ".ico": "image/x-icon"}  # fmt: skip


class File(NamedTuple):
    """A file as it is sent. ``stamp`` says which state of the file it is."""

    stamp: tuple[int, int]
    content: bytes
    packed: bytes | None
    kind: str
    tag: str


class Files:
    """The files, kept in memory as they were when last read."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()
        self._known: dict[str, File] = {}

    def url(self, name: str) -> str:
        """The address of a file, which changes with its content, so that a browser may keep it for ever."""
        found = self.get(name)
        return f"/static/{name}" if found is None else f"/static/{name}?v={found.tag[:12]}"

    def get(self, name: str) -> File | None:
        """The file; None if there is none of that name."""
        path = self._path(name)
        if path is None:
            return None
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(name)
        if known is None or known.stamp != stamp:
            known = self._known[name] = _read(path, stamp)
        return known

    def _path(self, name: str) -> Path | None:
        path = (self._folder / name).resolve()
        if path.is_relative_to(self._folder) and path.is_file():
            return path
        return Path(str(files("plotly") / "package_data" / PLOTLY)) if name == PLOTLY else None


def _read(path: Path, stamp: tuple[int, int]) -> File:
    content = path.read_bytes()
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = kind.startswith("text/") or kind.endswith(("json", "xml"))
    packed = gzip.compress(content, 6, mtime=0) if is_text and len(content) > WORTH_PACKING_BYTES else None
    return File(stamp, content, packed, kind, hashlib.sha256(content).hexdigest())


def add_routes(app: FastAPI, served: Files) -> None:
    """Add ``/static``."""

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        found = await asyncio.to_thread(served.get, name)
        if found is None:
            raise HTTPException(404, f"there is no file {name!r}")
        tag = f'"{found.tag[:32]}"'
        is_named = request.query_params.get("v") == found.tag[:12]
        keep = FOREVER if is_named else A_DAY if name == PLOTLY else "no-cache"
        headers = {"ETag": tag, "Cache-Control": keep, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        content = found.content
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = found.packed, "gzip"
        return Response(content, headers=headers, media_type=found.kind)
