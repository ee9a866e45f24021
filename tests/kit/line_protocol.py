"""A toy protocol over real TCP, for tests of what runs adapters: the server says one JSON object a line, the adapter answers each with its
number once the stream has it.

A line is `{"n": 7, "readings": [["press", "force", 1.5, "GOOD"], ...]}`; other words in it: `device_time`, `reject` (text), `bad` (the
adapter calls it nonsense), `crash` (the adapter breaks).
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from protocols.contract import Adapter, BadAnswer, BadConfig, Batch, Health, NotConnected, Point, Reading, Reject
from schemas.gateway import AdapterConfig, PointConfig
from schemas.records import Quality


class LineConfig(AdapterConfig):
    port: int
    """Where the server is, on loopback."""
    points: list[PointConfig]
    """What it may name."""


class LineAdapter(Adapter):
    version = "7.0.0"

    def __init__(self, config: LineConfig) -> None:
        self.config = config
        self._points = {
            (p.asset, p.parameter): Point(p.asset or "", p.parameter, p.unit, p.classification) for p in config.points
        }
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        if self.config.port == 1:
            raise BadConfig("port: 1 is never a line server; right would be its real port")
        try:
            self._streams = await asyncio.open_connection("127.0.0.1", self.config.port)
        except OSError as error:
            raise NotConnected(f"127.0.0.1:{self.config.port}: {error.strerror}") from None

    async def read(self) -> Batch:
        if self._streams is None:
            raise NotConnected("not connected")
        try:
            line = await self._streams[0].readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            raise NotConnected("the server closed the connection")
        said = json.loads(line)
        if "crash" in said:
            raise RuntimeError(said["crash"])
        if "bad" in said:
            raise BadAnswer(said["bad"])
        return Batch(
            [self._reading(*row, said.get("device_time")) for row in said.get("readings", [])],
            time.time_ns() // 1000,
            [Reject("payload", said["reject"], said["reject"].encode())] if "reject" in said else [],
            lambda: self._answer(said["n"]),
        )

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams:
            streams[1].close()

    def points(self) -> list[Point]:
        return list(self._points.values())

    def health(self) -> Health:
        return Health([], {"lines_total": 1})

    def _reading(self, asset: str, parameter: str, value: Any, status: str, device_time: int | None) -> Reading:
        code = Quality[status]
        return Reading(
            self._points[asset, parameter], value, device_time, code, None if code is Quality.GOOD else "as told"
        )

    def _answer(self, number: int) -> None:
        if self._streams:
            self._streams[1].write(b"%d\n" % number)


class LineServer:
    """The other end: says lines to every client, remembers the answers."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.answered: list[int] = []
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._here = asyncio.Event()
        self._n = 0

    async def start(self) -> LineServer:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for client in list(self._clients):
            client.transport.abort()
        self._here.clear()

    async def say(self, *readings: tuple[str, str, Any, str], **words: Any) -> int:
        """One line to all; waits for a client first. Returns its number."""
        await asyncio.wait_for(self._here.wait(), 30)
        self._n += 1
        line = json.dumps({"n": self._n, "readings": readings, **words}).encode() + b"\n"
        for client in self._clients:
            client.write(line)
            await client.drain()
        return self._n

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        self._here.set()
        try:
            while line := await reader.readline():
                self.answered.append(int(line))
        except ConnectionError:
            return
        finally:
            self._clients.discard(writer)
            writer.close()
