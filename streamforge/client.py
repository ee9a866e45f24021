"""A running gateway, as the command line sees it: its local API over the Unix socket in its data directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from control.local_socket import socket_path
from control.problems import Kind, Problem, exit_code


class Refused(Problem):
    """The gateway's own refusal, with the exit code of its kind."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(Kind.INTERNAL, detail)
        self.exit_code = exit_code(slug)


class Gateway:
    """Raises Problem for everything that fails."""

    def __init__(self, data_dir: Path, timeout_s: float = 10.0) -> None:
        self.path = socket_path(data_dir)
        transport = httpx.HTTPTransport(uds=str(self.path))
        self._http = httpx.Client(transport=transport, base_url="http://gateway", timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return self._asked("GET", path)

    def post(self, path: str, timeout_s: float = 70.0) -> Any:
        return self._asked("POST", path, timeout=timeout_s)

    def lines(self, path: str) -> Iterator[Any]:
        """JSON lines as they come."""
        try:
            with self._http.stream("GET", path, timeout=httpx.Timeout(10.0, read=None)) as response:
                if response.status_code >= 400:
                    response.read()
                    raise _refusal(response)
                for line in response.iter_lines():
                    yield json.loads(line)
        except httpx.TransportError as error:
            raise self._away(error) from None

    def _asked(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._away(error) from None
        if response.status_code >= 400 and response.headers.get("content-type") != "application/json":
            raise _refusal(response)
        return response.json()

    def _away(self, error: httpx.TransportError) -> Problem:
        if isinstance(error, httpx.TimeoutException):
            return Problem(Kind.TIMEOUT, f"the gateway at {self.path} did not answer in time")
        if isinstance(error, httpx.ConnectError) and self.path.exists():
            return Problem(
                Kind.UNREACHABLE,
                f"the gateway at {self.path} does not answer ({error}); it may be stopping, or not yours",
            )
        if isinstance(error, httpx.ConnectError):
            start = "start one with: streamforge run FILE; or name its data directory with --data"
            return Problem(Kind.UNREACHABLE, f"no gateway runs here ({self.path} is not there); {start}")
        return Problem(Kind.UNREACHABLE, f"the gateway broke the connection: {error}")


def _refusal(response: httpx.Response) -> Refused:
    try:
        body = response.json()
        return Refused(body["code"], body["detail"])
    except (ValueError, KeyError, TypeError):
        return Refused("internal", f"the gateway answered {response.status_code}: {response.text[:200]}")
