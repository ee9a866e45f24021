"""A broker that hangs for a while and then goes on, as a frozen machine does: it reads the attempts of that time, and each throws out
the connection that stands by then (seen with mochi-mqtt). That is this gateway itself and no other client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from protocols.contract import NotConnected
from protocols.mqtt import adapter as mqtt
from tests.kit.waiting import until
from tests.protocols.mqtt_kit import DEADLINE_S, VERSIONS, adapter, numbers, read, scripted

CONNACK = {"5": bytes.fromhex("2003000000"), "3.1.1": bytes.fromhex("20020000")}
SUBACK = {"5": bytes.fromhex("900400010001"), "3.1.1": bytes.fromhex("9003000101")}
TAKEN_OVER = {"5": bytes.fromhex("e0018e"), "3.1.1": b""}
SHUTTING_DOWN = bytes.fromhex("e0018b")


class Broker:
    """Answers nobody while `hangs`; what came then is read with the next that is let in."""

    def __init__(self, version: str) -> None:
        self.version, self.hangs, self.unread, self.let_in = version, False, 0, 0
        self.standing = list[asyncio.StreamWriter]()
        """The connection that was let in last."""
        self.served = set[asyncio.Task[None]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.add(asyncio.current_task())
        await reader.read(1000)
        if self.hangs:
            self.unread += 1
            await reader.read(1000)
        else:
            writer.write(CONNACK[self.version])
            await reader.read(1000)
            writer.write(SUBACK[self.version])
            self.let_in += 1
            self.standing = [writer]
            if self.unread:
                self.unread -= 1
                writer.write(TAKEN_OVER[self.version])
            else:
                await reader.read(1000)
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def hanging(version):
    broker = Broker(version)
    async with await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server:
        one = adapter(server.sockets[0].getsockname()[1], version=version, connect_timeout="300ms")
        try:
            yield broker, one
        finally:
            await one.close()
            await asyncio.wait_for(asyncio.gather(*broker.served), DEADLINE_S)


@VERSIONS
async def test_it_is_connected_to_again_at_once(version):
    async with hanging(version) as (broker, one):
        await one.connect()
        broker.hangs = True
        for _ in range(3):
            with pytest.raises(NotConnected, match="takes connections but no longer answers"):
                await one.connect()
        broker.hangs = False
        for _ in range(3):
            await one.connect()
            with pytest.raises(NotConnected) as gone:
                await read(one)
            await one.close()
            if version == "5":
                assert "an attempt of this gateway to connect, which the broker reads only now" in str(gone.value)
                assert gone.value.next_step.startswith("nothing: the adapter connects again by itself")
        await one.connect()
        assert broker.let_in == 5


@pytest.mark.parametrize("ghosts", [0, 1])
async def test_a_takeover_during_the_start_counts_once(ghosts):
    """The one who calls closes the adapter after a connect that failed, too."""
    async with scripted(CONNACK["5"] + TAKEN_OVER["5"]) as port:
        one = adapter(port, version="5")
        one.contest.ghosts = ghosts
        with pytest.raises(NotConnected, match="an attempt of this gateway" if ghosts else "another client"):
            await one.connect()
        await one.close()
    assert (one.contest.rounds, one.contest.ghosts) == (1 - ghosts, 0)


async def test_one_that_sends_nothing_after_it_hung_is_connected_to_once_more(monkeypatch):
    """mochi takes the attempt it read last for the newest, though it ended before, and the connection that stands gets nothing."""
    monkeypatch.setattr(mqtt, "FORGOTTEN_AFTER_S", 0.2)
    message = b"\x30\x06\x00\x03t/a7"
    async with hanging("3.1.1") as (broker, one):
        broker.hangs = True
        with pytest.raises(NotConnected):
            await one.connect()
        broker.hangs, broker.unread = False, 0
        await one.connect()
        reading = asyncio.create_task(numbers(one, 1))
        await until(lambda: broker.let_in == 2)
        for writer in broker.standing:
            writer.write(message)
        assert await reading == [7]
        assert broker.let_in == 2
        assert one.health().counters["connected_anew_total"] == 1


async def test_one_that_never_let_us_in_may_speak_another_protocol():
    async with hanging("5") as (broker, one):
        broker.hangs = True
        with pytest.raises(NotConnected, match="does this port speak MQTT"):
            await one.connect()


async def test_a_broker_that_says_that_it_shuts_down_is_no_other_client():
    async with scripted(CONNACK["5"], SUBACK["5"] + SHUTTING_DOWN) as port:
        one = adapter(port, version="5")
        one.contest.short = 2
        await one.connect()
        with pytest.raises(NotConnected, match="shutting down") as gone:
            await read(one)
        await one.close()
    assert one.contest.wait_s(0) == 0
    assert gone.value.next_step.startswith("nothing: the adapter connects again when the broker is back")
