"""A running gateway, as the command line sees it: its local API over the Unix socket in its data directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

from actors.surroundings import log_place, prefix
from control.local_socket import socket_path
from control.problems import MEDIA_TYPE, Kind, Problem, exit_code
from streamforge.lock import holder


class Refused(Problem):
    """The gateway's own refusal, with the exit code of its kind."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(Kind.INTERNAL, detail)
        self.exit_code = exit_code(code)


class Gateway:
    """Raises Problem for everything that fails."""

    def __init__(self, data_dir: Path, timeout_s: float = 10.0) -> None:
        self._data_dir = data_dir
        self.path = socket_path(data_dir)
        # A local socket: no certificates to load, and no proxy of the surroundings.
        transport = httpx.HTTPTransport(uds=str(self.path), verify=False)
        self._http = httpx.Client(transport=transport, base_url="http://gateway", timeout=timeout_s, trust_env=False)

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
        if response.headers.get("content-type") == MEDIA_TYPE:
            raise _refusal(response)
        return response.json()

    def _away(self, error: httpx.TransportError) -> Problem:
        pid = holder(self._data_dir)
        if "[Errno 13]" in str(error):
            text = f"the gateway in {self._data_dir} belongs to another user; ask as that one: sudo -u {_owner(self.path)} {prefix()} ..."
            return Problem(Kind.FORBIDDEN, text)
        if pid is not None:
            why = "did not answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
            text = (
                f"the gateway in {self._data_dir} runs (pid {pid}) but its API does not answer ({why}): it may be starting or stopping, so ask "
                f"again in a moment; if that does not help, its log says more ({log_place(pid)}), as lines of control_path/api"
            )
            return Problem(Kind.TIMEOUT if isinstance(error, httpx.TimeoutException) else Kind.UNREACHABLE, text)
        if isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
            text = f"the gateway broke off its answer ({error}): its API was stopped or restarted, or nobody read on; ask again"
            return Problem(Kind.UNREACHABLE, text)
        start = f"start one with: {prefix()} run FILE; or name its data directory with --data"
        return Problem(Kind.UNREACHABLE, f"no gateway runs in {self._data_dir}; {start}")


def _owner(path: Path) -> str:
    """Of the nearest folder that may be looked at."""
    for each in (path, *path.parents):
        with suppress(OSError, KeyError):
            return each.owner()
    return "its owner"


def _refusal(response: httpx.Response) -> Refused:
    try:
        body = response.json()
        return Refused(body["code"], body["detail"])
    except (ValueError, KeyError, TypeError):
        return Refused("internal", f"the gateway answered {response.status_code}: {response.text[:200]}")
