"""Errors of the API as problem details (RFC 9457), and the exit codes the command line gives for the same kinds."""

from __future__ import annotations

from enum import Enum

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Kind(Enum):
    """slug, HTTP status, exit code."""

    INTERNAL = ("internal", 500, 1)
    USAGE = ("usage", 400, 2)
    INVALID_CONFIG = ("invalid-config", 422, 3)
    UNREACHABLE = ("unreachable", 503, 4)
    FORBIDDEN = ("forbidden", 403, 5)
    NOT_FOUND = ("not-found", 404, 6)
    CONFLICT = ("conflict", 409, 6)
    TIMEOUT = ("timeout", 504, 8)

    def __init__(self, slug: str, status: int, exit_code: int) -> None:
        self.slug, self.status, self.exit_code = slug, status, exit_code


class Problem(Exception):
    """What was asked cannot be done; the text says which thing, what was wrong, what would be right."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


def response(problem: Problem) -> Response:
    kind = problem.kind
    body = {
        "type": f"urn:streamforge:problem:{kind.slug}",
        "title": kind.slug,
        "status": kind.status,
        "detail": problem.detail,
    }
    return JSONResponse(body, status_code=kind.status, media_type="application/problem+json")


async def handle(_request: Request, error: Exception) -> Response:
    """Starlette's hook for Problem."""
    assert isinstance(error, Problem)
    return response(error)


async def handle_http(_request: Request, error: Exception) -> Response:
    """Starlette's own refusals in the same shape."""
    assert isinstance(error, HTTPException)
    kind = {404: Kind.NOT_FOUND, 403: Kind.FORBIDDEN}.get(error.status_code, Kind.USAGE)
    body = {
        "type": f"urn:streamforge:problem:{kind.slug}",
        "title": kind.slug,
        "status": error.status_code,
        "detail": error.detail,
    }
    return JSONResponse(
        body, status_code=error.status_code, media_type="application/problem+json", headers=error.headers
    )


def exit_code(slug: str) -> int:
    """The exit code for a problem's title; 1 for one this version does not know."""
    return next((kind.exit_code for kind in Kind if kind.slug == slug), 1)
