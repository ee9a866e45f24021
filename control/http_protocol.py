"""uvicorn's HTTP protocol with the two bounds it lacks: how long a request's head may take to come, and how long a client may leave an
answer unread. Without them a silent client keeps a connection, and a stream that nobody reads keeps its place, for ever.

h11 itself bounds the size of the head (64 KiB); control/gate.py the body and the number of requests.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from control.problems import MEDIA_TYPE, Kind, Problem, document

HEAD_WITHIN_S = 10.0
CONNECTIONS_MAX = 256
"""To one listener; more are closed unheard."""


class BoundedProtocol(H11Protocol):
    """Of the page's port."""

    unread_within_s: ClassVar[float] = 20.0

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._read_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._head_came()

    def pause_writing(self) -> None:
        """More than the high-water mark (64 KiB) waits for the client."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.unread_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_on()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what is no HTTP, as a problem like all others."""
        body = json.dumps(document(Problem(Kind.USAGE, msg))).encode()
        head: list[tuple[bytes, bytes]] = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events: tuple[Any, ...] = (
            h11.Response(status_code=400, headers=head, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _read_on(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


class PatientProtocol(BoundedProtocol):
    """Of the Unix socket: `tail | less` may wait for its reader a while."""

    unread_within_s = 600.0
