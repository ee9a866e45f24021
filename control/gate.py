"""What stands before every route: who may ask at all, how much at once, and the headers of every answer.

A web page from elsewhere can make a browser on this machine ask the loopback port. Its name in the Host header (DNS rebinding) or the
browser's own Sec-Fetch-Site gives it away. Not responsible for slow connections: http_protocol.py is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.problems import Kind, Problem, response

ANY_HOST = "*"
BODY_MAX = 64 * 1024
"""No route takes a body; some clients send an empty object."""
REQUESTS_MAX = 200
"""At the same time on one listener, streams included."""
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Gate:
    """The outermost layer of the application. `hosts`: names in the Host header that are ours, besides any IP address."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            return
        self._requests += 1
        try:
            problem = self._refusal(Headers(scope=scope))
            app = self._app if problem is None else response(problem, Connection="close")
            await app(scope, receive, with_headers)
        finally:
            self._requests -= 1

    def _refusal(self, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if not known_host(host, self._hosts):
            text = f"this is not {host[:100] or 'named'!r}; right would be this machine's IP address, or a name in api.names of the gateway file"
            return Problem(Kind.USAGE, text)
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
            return Problem(Kind.FORBIDDEN, "a page of another site asks; only the gateway's own page may")
        if not 0 <= _length(headers) <= BODY_MAX:
            return Problem(Kind.TOO_LARGE, f"the body is too large; nothing here takes more than {BODY_MAX} bytes")
        if self._requests > REQUESTS_MAX:
            return Problem(Kind.BUSY, f"{REQUESTS_MAX} requests are being answered already; try again in a moment")
        return None


def known_host(host: str, names: Collection[str]) -> bool:
    """Whether a Host header is ours: a page that rebinds its name to our address sends its name, never an address."""
    if ANY_HOST in names:
        return True
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if port and not port.isdecimal():
        return False
    name = name.lower().removesuffix(".")
    return name in names or _is_address(name.removeprefix("[").removesuffix("]"))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 19 else -1
