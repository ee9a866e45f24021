"""Errors of the API as problem details (RFC 9457), and the exit codes the command line gives for the same kinds.

Every answer above 399 that the routes, the gate before them or Starlette gives has this shape; docs/api.md lists the kinds.
"""

from __future__ import annotations

import http
import json
from enum import Enum
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actors.surroundings import log_place

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Kind(Enum):
    """code, HTTP status, exit code."""

    INTERNAL = ("internal", 500, 1)
    USAGE = ("usage", 400, 2)
    NO_METHOD = ("method-not-allowed", 405, 2)
    TOO_LARGE = ("too-large", 413, 2)
    UNREACHABLE = ("unreachable", 503, 4)
    BUSY = ("busy", 503, 4)
    FORBIDDEN = ("forbidden", 403, 5)
    NOT_FOUND = ("not-found", 404, 6)
    CONFLICT = ("conflict", 409, 6)
    TIMEOUT = ("timeout", 504, 8)

    def __init__(self, code: str, status: int, exit_code: int) -> None:
        self.code, self.status, self.exit_code = code, status, exit_code

    @property
    def retryable(self) -> bool:
        """The same request may succeed in a moment, with nothing changed."""
        return self.status in (503, 504)


class Problem(Exception):
    """What was asked cannot be done; the text says which thing, what was wrong, what would be right."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


def document(problem: Problem) -> dict[str, Any]:
    kind = problem.kind
    return {
        "type": f"urn:streamforge:problem:{kind.code}",
        "title": http.HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "code": kind.code,
        "retryable": kind.retryable,
        "detail": problem.detail,
    }


def response(problem: Problem, **headers: str) -> Response:
    if problem.kind.retryable:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return Response(json.dumps(document(problem)), problem.kind.status, headers, MEDIA_TYPE)


async def handle(_request: Request, error: Exception) -> Response:
    """Starlette's hook for Problem."""
    assert isinstance(error, Problem)
    return response(error)


async def handle_http(request: Request, error: Exception) -> Response:
    """Starlette's own refusals in the same shape."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == Kind.NO_METHOD.status:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "GET, HEAD").split(", ")))
        detail = f"{request.method[:20]} means nothing to {path}; right would be {allowed}"
        return response(Problem(Kind.NO_METHOD, detail), Allow=allowed)
    if error.status_code in (401, 403, 404):
        return response(Problem(Kind.NOT_FOUND, f"there is nothing at {path}; docs/api.md lists what there is"))
    return response(Problem(Kind.USAGE if error.status_code < 500 else Kind.INTERNAL, str(error.detail)))


async def handle_any(request: Request, _error: Exception) -> Response:
    """What nobody thought of. Starlette raises it again when this has answered, so the server logs it with its traceback."""
    detail = f"{request.method[:20]} {request.url.path[:200]} failed inside the gateway; its log ({log_place()}) has the reason, as a line of component control_path/api"
    return response(Problem(Kind.INTERNAL, detail), Connection="close")  # the server closes it after what was raised


def exit_code(code: str) -> int:
    """The exit code for a problem's `code`; 1 for one this version does not know."""
    return next((kind.exit_code for kind in Kind if kind.code == code), Kind.INTERNAL.exit_code)
