"""Brokers that keep no sessions, as some in clouds: they end the connection, or say that the client id is not valid."""

from __future__ import annotations

import asyncio

import pytest

from protocols.contract import NotConnected
from tests.protocols.mqtt_kit import adapter

IDENTIFIER_REJECTED = bytes.fromhex("20020002")


@pytest.mark.parametrize("refusal", [b"", IDENTIFIER_REJECTED], ids=["ends it", "refuses the client id"])
async def test_whoever_meets_one_is_told_of_clean_sessions(refusal):
    async def serve(reader, writer):
        await reader.read(1000)
        writer.write(refusal)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        one = adapter(server.sockets[0].getsockname()[1])
        with pytest.raises(NotConnected) as gone:
            await one.connect()
        await one.close()
    assert "`session: clean`" in gone.value.next_step
