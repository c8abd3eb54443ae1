"""How the API answers: plain JSON without NaN, pages of long lists, and problems in words (RFC 9457)."""

import json
import math
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from millrace.contracts.errors import ContractError, MillraceError
from services.registry.paging import CursorError
from services.registry.queries import NotKnownError

PROBLEM = "application/problem+json"
LIMIT, LIMIT_MAX = 50, 500
TITLES: Mapping[int, str] = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 413: "Content Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Content",
    503: "Service Unavailable",
}  # fmt: skip


class Answer(JSONResponse):
    """JSON with null for what is no number; what it says is true now, so nobody keeps it."""

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json.dumps(plain(content), allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def plain(value: Any) -> Any:
    """The value with null for what is no number: JSON has no NaN.

    >>> plain({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def problem(status: int, detail: str, path: str) -> JSONResponse:
    """Why there is no answer."""
    body = {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    return JSONResponse({**body, "instance": path}, status, {"Cache-Control": "no-store"}, media_type=PROBLEM)


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """What FastAPI refuses, and what our own code does."""
    assert isinstance(error, HTTPException), "registered for it"
    return problem(error.status_code, str(error.detail), request.url.path)


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """A request whose fields are wrong: which, and why."""
    assert isinstance(error, RequestValidationError), "registered for it"
    found = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
    return problem(422, "; ".join(found) or "the request cannot be understood", request.url.path)


async def on_known_error(request: Request, error: Exception) -> JSONResponse:
    """What our own code raises."""
    return problem(_status(error), str(error), request.url.path)


def _status(error: Exception) -> int:
    match error:
        case NotKnownError():
            return 404
        case CursorError():
            return 400
        case ContractError():
            return 422
        case MillraceError(retryable=False):
            return 409
        case _:
            return 503


HANDLERS: Mapping[type[Exception], Any] = {
    HTTPException: on_http_error,
    RequestValidationError: on_invalid,
    NotKnownError: on_known_error,
    CursorError: on_known_error,
    MillraceError: on_known_error,
    SQLAlchemyError: on_known_error,
}
