"""Answers that do not end by themselves: how many at once, and what a client that reads slowly gets.

Drop policy: newest wins. Nothing is queued for a client; while it has not taken its frame, none is made, and those left out are counted in
`api_frames_skipped_total`. What it gets next is the state of then. `tail` leaves nothing out: it reads as fast as its reader does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from actors.context import Context
from control.problems import Kind, Problem


class Seats:
    """Places for readers of one kind."""

    def __init__(self, context: Context, kind: str, most: int, free_one: str) -> None:
        """`free_one`: what a person does to free a place."""
        self._context, self._kind, self.most, self._free_one = context, kind, most, free_one
        self.taken = 0

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Raises Problem when all are taken."""
        if self.taken >= self.most:
            self._context.count(f'api_refused_total{{kind="{self._kind}"}}')
            raise Problem(Kind.BUSY, f"all {self.most} places for readers of {self._kind} are taken; {self._free_one}")
        self._move(1)
        try:
            yield
        finally:
            self._move(-1)

    def _move(self, by: int) -> None:
        self.taken += by
        self._context.gauge(f'api_readers{{kind="{self._kind}"}}', self.taken)


class Stream(StreamingResponse):
    """An answer that takes a seat from its first byte to its end, however it ends."""

    def __init__(self, frames: AsyncGenerator[str, None], seats: Seats, media_type: str) -> None:
        super().__init__(frames, media_type=media_type)
        self._frames, self._seats = frames, seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        with self._seats.taking():
            async with aclosing(self._frames):
                await super().__call__(scope, receive, send)


async def ticks(context: Context, every_s: float) -> AsyncIterator[None]:
    """Now and then each `every_s`, until the worker stops; those missed because the client did not read are counted."""
    clock = asyncio.get_running_loop().time
    due = clock()
    while not context.stopping.is_set():
        yield
        due += every_s
        missed = int((clock() - due) / every_s) if clock() > due else 0
        if missed:
            context.count("api_frames_skipped_total", missed)
            due += missed * every_s
        try:
            await asyncio.wait_for(context.stopping.wait(), max(0.0, due - clock()))
        except TimeoutError:
            continue
