"""A TCP proxy on loopback that can misbehave: refuse, cut, swallow answers, go silent. Runs on the test's own loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self


class TcpProxy:
    """`async with TcpProxy(port) as proxy`: connect to `proxy.port`. The switches act on connections old and new."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.refuse = False
        """Close new connections at once."""
        self.silent = False
        """Take everything, pass nothing on in either direction."""
        self.cut_after: bytes | None = None
        """Pass this on to the target once it is seen, wait for the target's answer, swallow the answer, and cut."""
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every open connection without ceremony."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        swallow = asyncio.Event()
        for pump in (
            self._to_target(reader, far_writer, swallow),
            self._to_client(far_reader, writer, far_writer, swallow),
        ):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _to_target(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallow: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if self.silent:
                    continue
                if self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    swallow.set()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _to_client(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far: asyncio.StreamWriter,
        swallow: asyncio.Event,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if swallow.is_set():
                    self.cuts += 1
                    writer.transport.abort()
                    far.transport.abort()
                    return
                if self.silent:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()
