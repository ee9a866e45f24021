"""What every sink must do, whatever its destination. A sink joins by a module `tests/sinks/peers_<type>.py` (the name as in `sinks.SINKS`)."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sinks
from sinks.contract import Batch, NotConnected, Origin, Sink
from tests.kit.records import NOON, event, readings, series
from tests.kit.sink_conformance import Peer, make, peer_module

ROOM = Path(sinks.__file__).parent
AT = ("telemetry.clean", 0)
every = pytest.mark.parametrize("kind", sorted(sinks.SINKS))


@pytest.fixture
async def peer(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with peer_module(kind).peer(request) as peer:
        yield peer


def batch(first: int, n: int = 5, parameter: str = "speed") -> Batch:
    s = series(parameter=parameter)
    return Batch(
        [readings([(s, NOON + i, float(i)) for i in range(first, first + n)], first=first)],
        [event(first, NOON + first)],
    )


def test_the_table_of_sinks_is_the_folders() -> None:
    folders = {p.name for p in ROOM.iterdir() if (p / "sink.py").exists()}
    assert folders == set(sinks.SINKS) == set(sinks.CONFIGS)


@every
def test_the_sample_is_valid_and_shown_in_the_readme(kind: str) -> None:
    sample = (ROOM / kind / "sample.yaml").read_text()
    config = yaml.safe_load(sample)
    assert config["type"] == kind
    make(config)
    assert sample.strip() in (ROOM / kind / "README.md").read_text()


@every
def test_the_readme_names_every_setting_of_its_own(kind: str) -> None:
    readme = (ROOM / kind / "README.md").read_text()
    fields = set(type(make_config(kind)).model_fields) - {"id", "type", "enabled"}
    assert {f for f in fields if not re.search(rf"`{f}`", readme)} == set()


def make_config(kind: str) -> Any:
    module, _, name = sinks.CONFIGS[kind].partition(":")
    return getattr(importlib.import_module(module), name).model_validate(
        yaml.safe_load((ROOM / kind / "sample.yaml").read_text())
    )


@every
async def test_close_may_come_before_connect_and_twice(kind: str, peer: Peer) -> None:
    sink = make(peer.config)
    await sink.close()
    await sink.connect()
    await sink.close()
    await sink.close()
    with pytest.raises(NotConnected):
        await sink.write(batch(0), {AT: 5})


@every
async def test_write_without_connect_is_not_connected(kind: str, peer: Peer) -> None:
    with pytest.raises(NotConnected):
        await make(peer.config).write(batch(0), {AT: 5})


@every
async def test_what_is_written_is_there_and_written_again_is_there_once(kind: str, peer: Peer) -> None:
    async with _connected(peer) as sink:
        assert await sink.write(batch(0), {AT: 5}) == []
        assert await sink.write(batch(0), {AT: 5}) == []
        assert await sink.write(batch(3), {AT: 8}) == []
    assert await peer.held() == [("press", "speed", float(i)) for i in range(8)]


@every
async def test_an_empty_batch_moves_the_offsets(kind: str, peer: Peer) -> None:
    async with _connected(peer) as sink:
        assert await sink.write(Batch(), {AT: 9}) == []
    async with _connected(peer) as sink:
        assert sink.found in (None, {AT: 9})  # type: ignore[attr-defined]


@every
async def test_a_vanished_destination_is_not_connected_and_comes_back(kind: str, peer: Peer) -> None:
    sink = make(peer.config)
    await sink.connect()
    await sink.write(batch(0), {AT: 5})
    await peer.stop()
    for _ in range(2):
        with pytest.raises(NotConnected) as caught:
            async with asyncio.timeout(30):
                await sink.write(batch(5), {AT: 10})
        assert len(str(caught.value)) > 20, "says what is wrong, in words"
    with pytest.raises(NotConnected):
        async with asyncio.timeout(30):
            await sink.connect()
    await peer.start()
    stored = await sink.connect()
    assert stored in (None, {AT: 5})
    await sink.write(batch(5), {AT: 10})
    await sink.close()
    assert await peer.held() == [("press", "speed", float(i)) for i in range(10)]


@every
async def test_a_cancelled_write_is_whole_or_nothing(kind: str, peer: Peer) -> None:
    sink = make(peer.config)
    await sink.connect()
    for delay in (0.0, 0.001, 0.005, 0.02):  # cancelled at another place each time
        writing = asyncio.create_task(sink.write(batch(0, 50), {AT: 50}))
        await asyncio.sleep(delay)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await sink.connect()
        assert len(await peer.held()) in (0, 50)
    await sink.write(batch(0, 50), {AT: 50})
    await sink.close()
    assert len(await peer.held()) == 50


@every
async def test_refusals_are_reported_whole_and_the_rest_is_written(kind: str, peer: Peer) -> None:
    async with _connected(peer) as sink:
        await peer.refuse_parameter("forbidden")
        mixed = batch(0)
        mixed.readings += batch(5, 2, "forbidden").readings
        refused = await sink.write(mixed, {AT: 7})
        assert [(r.topic, r.partition, r.offset, r.wire, r.asset, r.parameter) for r in refused] == [
            (*AT, n, f"telemetry.clean/0/{n}".encode(), "press", "forbidden") for n in (5, 6)
        ]
        assert all(len(r.reason) > 10 for r in refused)
        assert await sink.unsent() in ([], refused)
        await sink.sent(refused)
        assert await sink.unsent() == []
    assert len(await peer.held()) == 5


class _connected:
    def __init__(self, peer: Peer) -> None:
        self._sink = make(peer.config)

    async def __aenter__(self) -> Sink:
        self._sink.found = await self._sink.connect()  # type: ignore[attr-defined]
        return self._sink

    async def __aexit__(self, *_: object) -> None:
        await self._sink.close()


def test_an_origin_says_whose_and_which() -> None:
    assert Origin("g", "s") != Origin("g", "t")
