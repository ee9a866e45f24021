"""What every adapter must do, whatever its protocol: the checks, and how a protocol brings its peer.

A protocol joins by a module `tests/protocols/peers_<protocol>.py` (the name as in `protocols.ADAPTERS`) with

    @asynccontextmanager
    async def peer(tmp_path) -> AsyncIterator[Peer]: ...

that starts a real server on a free loopback port and yields a `Peer`. Rules for it:
- while it runs it brings a reading at least every 0.5 s by itself (polled fast, or values that keep changing / being published);
- `stop()` makes it vanish as if the plug was pulled (connections die, the port refuses); `start()` brings it back on the same port;
- `config` has short times: polls <= 0.2 s, request timeouts and connect_timeout <= 2 s, silence noticed within 5 s.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import protocols
from protocols.contract import Adapter, BadAnswer, BadConfig, Batch, NotConnected
from protocols.load import make, validated
from tests.kit.waiting import until

ROOM = Path(__file__).resolve().parents[1] / "protocols"
DEADLINE_S = 30


@dataclass
class Peer:
    """A real server and how to reach it."""

    config: dict[str, Any]
    """The adapter's JSON configuration, as in the gateway's file."""
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]
    hopeless: list[dict[str, Any]] = field(default_factory=list)
    """At least one configuration that can never work: refused by the model, or by connect() with BadConfig."""


def peer_module(protocol: str) -> ModuleType:
    return importlib.import_module(f"tests.protocols.peers_{protocol}")


def open_peer(protocol: str, tmp_path: Path) -> AbstractAsyncContextManager[Peer]:
    """The protocol's own peer, started."""
    manager: AbstractAsyncContextManager[Peer] = peer_module(protocol).peer(tmp_path)
    return manager


@asynccontextmanager
async def connected(peer: Peer) -> AsyncIterator[Adapter]:
    adapter = make(validated(peer.config))
    try:
        await connect(adapter)
        yield adapter
    finally:
        await asyncio.wait_for(adapter.close(), DEADLINE_S)


async def connect(adapter: Adapter) -> None:
    await asyncio.wait_for(adapter.connect(), DEADLINE_S)


async def reading(adapter: Adapter) -> Batch:
    """The next batch that has readings; bad answers and empty batches are passed over."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with suppress(BadAnswer):
                batch = await adapter.read()
                batch.delivered()
                if batch.readings:
                    return batch


async def lost(adapter: Adapter) -> NotConnected:
    """Read on until the adapter says that its peer is gone."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with suppress(BadAnswer):
                try:
                    (await adapter.read()).delivered()
                except NotConnected as gone:
                    return gone


# The checks. Each starts from a peer that runs.


async def brings_readings(peer: Peer) -> None:
    """Readings come with a time in microseconds, a reason unless GOOD, and are among the known points."""
    async with connected(peer) as adapter:
        batch = await reading(adapter)
        assert abs(batch.gateway_time / 1e6 - time.time()) < 60, "gateway_time is not microseconds since 1970"
        known = set(adapter.points())
        for one in batch.readings:
            assert one.point in known, f"{one.point} was read but is not in points()"
            assert one.status == 0 or one.reason, f"{one} is not GOOD and gives no reason"
            assert one.device_time is None or abs(one.device_time / 1e6 - time.time()) < 3600 * 24 * 365 * 30
        adapter.health()


async def closes_any_time(peer: Peer) -> None:
    """Before connect, twice, and after the peer is gone."""
    adapter = make(validated(peer.config))
    await asyncio.wait_for(adapter.close(), DEADLINE_S)
    await connect(adapter)
    await peer.stop()
    await asyncio.wait_for(adapter.close(), DEADLINE_S)
    await asyncio.wait_for(adapter.close(), DEADLINE_S)


async def says_when_nobody_is_there(peer: Peer) -> None:
    await peer.stop()
    adapter = make(validated(peer.config))
    with pytest.raises(NotConnected, match=r"\w"):
        await connect(adapter)
    await asyncio.wait_for(adapter.close(), DEADLINE_S)


async def says_when_the_peer_vanishes(peer: Peer) -> None:
    """And works again, the same object, when the peer is back."""
    async with connected(peer) as adapter:
        await reading(adapter)
        await peer.stop()
        gone = await lost(adapter)
        assert str(gone).strip(), "NotConnected without words"
        await adapter.close()
        await peer.start()
        await _connect_again(adapter)
        await reading(adapter)


async def survives_cancelled_reads(peer: Peer) -> None:
    """A read that is cancelled at any time costs nothing but that read."""
    async with connected(peer) as adapter:
        await reading(adapter)
        for wait_s in (0, 0.005, 0.02, 0.1):
            task = asyncio.ensure_future(adapter.read())
            await asyncio.wait({task}, timeout=wait_s)
            task.cancel()
            with suppress(asyncio.CancelledError, BadAnswer):
                (await task).delivered()
        await reading(adapter)


async def connects_again_after_close(peer: Peer) -> None:
    async with connected(peer) as adapter:
        await reading(adapter)
        await adapter.close()
        await _connect_again(adapter)
        await reading(adapter)


async def leaves_nothing_behind(peer: Peer) -> None:
    """After the peer vanished and close(): no thread and no task of a library that goes on trying."""
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    async with connected(peer) as adapter:
        await reading(adapter)
        await peer.stop()
        await lost(adapter)
    await until(
        lambda: not _left(threads, tasks), DEADLINE_S, lambda: f"after close(): {_left(threads, tasks)} are left"
    )


async def refuses_what_can_never_work(peer: Peer) -> None:
    assert peer.hopeless, "the peer names no configuration that can never work"
    for config in peer.hopeless:
        with pytest.raises(BadConfig, match=r"\w"):
            await _build_and_connect(config)


async def _build_and_connect(config: dict[str, Any]) -> None:
    adapter = make(validated(config))
    try:
        await connect(adapter)
    finally:
        await asyncio.wait_for(adapter.close(), DEADLINE_S)


CHECKS = (
    brings_readings,
    closes_any_time,
    says_when_nobody_is_there,
    says_when_the_peer_vanishes,
    survives_cancelled_reads,
    connects_again_after_close,
    leaves_nothing_behind,
    refuses_what_can_never_work,
)


def folder(protocol: str) -> Path:
    """`protocols/modbus` for `modbus_tcp`."""
    return Path(protocols.__file__).parent / protocols.ADAPTERS[protocol].split(":")[0].split(".")[1]


async def _connect_again(adapter: Adapter) -> None:
    """Servers take a moment to listen again or to let the old session go; NotConnected meanwhile is right."""

    async def connects() -> bool:
        try:
            await adapter.connect()
        except NotConnected:
            await adapter.close()
            return False
        return True

    await until(connects, DEADLINE_S)


def _left(threads: set[threading.Thread], tasks: set[asyncio.Task[Any]]) -> list[str]:
    """Names of threads and tasks that were not there before. The loop's own pool keeps its idle threads."""
    new_threads = [t.name for t in set(threading.enumerate()) - threads if not t.name.startswith("asyncio_")]
    return new_threads + [repr(t.get_coro()) for t in asyncio.all_tasks() - tasks if not t.done()]
