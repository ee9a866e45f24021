"""The conformance suite passes a good adapter and fails each kind of broken one: a suite that cannot fail proves nothing."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

import protocols
from protocols.contract import Batch, NotConnected, Point, Reading
from schemas.records import Quality
from tests.kit import adapter_conformance as suite
from tests.kit.line_protocol import LineAdapter, LineServer

SAYS_EVERY_S = 0.05
BREATH_S = 0.01
"""So that an adapter that never waits lets others run."""


class OncePerConnection(LineAdapter):
    """Does not survive a cancelled read."""

    async def read(self):
        try:
            return await super().read()
        except asyncio.CancelledError:
            await self.close()
            raise


class Pretends(LineAdapter):
    """Connects to nobody."""

    async def connect(self):
        try:
            await super().connect()
        except NotConnected:
            self._streams = None

    async def read(self):
        await asyncio.sleep(BREATH_S)
        return await super().read()


class NeverNotices(LineAdapter):
    async def read(self):
        try:
            return await super().read()
        except NotConnected:
            await asyncio.Event().wait()


class NoReason(LineAdapter):
    async def read(self):
        batch = await super().read()
        return Batch([Reading(r.point, r.value, None, Quality.BAD) for r in batch.readings], batch.gateway_time)


class Unknown(LineAdapter):
    def points(self):
        return [Point("other", "point")]


class ClosesOnce(LineAdapter):
    async def close(self):
        self._streams[1].close()
        self._streams = None


class KeepsThread(LineAdapter):
    async def connect(self):
        await super().connect()
        threading.Thread(target=threading.Event().wait, args=(5,), name="reconnect", daemon=True).start()


BROKEN = [
    (OncePerConnection, suite.survives_cancelled_reads),
    (Pretends, suite.says_when_nobody_is_there),
    (NeverNotices, suite.says_when_the_peer_vanishes),
    (NoReason, suite.brings_readings),
    (Unknown, suite.brings_readings),
    (ClosesOnce, suite.closes_any_time),
    (KeepsThread, suite.leaves_nothing_behind),
]


@asynccontextmanager
async def talking():
    """A peer that says something again and again."""
    server = await LineServer().start()
    point = {"asset": "press", "parameter": "force"}
    config = {"id": "plc", "protocol": "lines", "port": server.port, "points": [point]}

    async def talk() -> None:
        while True:
            await server.say(("press", "force", 1.5, "GOOD"))
            await asyncio.sleep(SAYS_EVERY_S)

    async def start() -> None:
        await server.start()

    task = asyncio.create_task(talk())
    try:
        yield suite.Peer(config, server.stop, start, hopeless=[{**config, "port": 1}, {**config, "port": "x"}])
    finally:
        task.cancel()
        await server.stop()


@pytest.fixture
def register(monkeypatch):
    def one(adapter: type) -> None:
        monkeypatch.setitem(protocols.ADAPTERS, "lines", f"{adapter.__module__}:{adapter.__name__}")
        monkeypatch.setitem(protocols.CONFIGS, "lines", "tests.kit.line_protocol:LineConfig")

    return one


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
async def test_a_good_adapter_passes(check, register):
    register(LineAdapter)
    async with talking() as peer:
        await check(peer)


@pytest.mark.parametrize(("adapter", "check"), BROKEN, ids=lambda x: x.__name__)
async def test_a_broken_adapter_fails(adapter, check, register, monkeypatch):
    register(adapter)
    monkeypatch.setattr(suite, "DEADLINE_S", 1)
    async with talking() as peer:
        with pytest.raises((Exception, pytest.fail.Exception)):
            await check(peer)
