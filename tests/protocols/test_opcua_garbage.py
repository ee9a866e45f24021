"""Bytes that are not OPC UA, in the midst of a connection: it ends at once, for nothing after them can be understood."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from protocols.contract import NotConnected
from protocols.load import make, validated
from protocols.opcua.client import may_begin
from tests.kit.opcua import Gate, Tap, adapter_config, point, shared_server

AT_ONCE_S = 5.0
LONG = {"watchdog": "60s", "request_timeout": "60s"}
"""Neither of these ends the connection."""
NONSENSE = {
    "noise": random.Random(5).randbytes(300),
    "one byte too many": b"\x00",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a chunk of two gigabytes": struct.pack("<4sI", b"MSGF", 2**31),
}


class BabblingGate(Gate):
    """Puts something before the next bytes from the server."""

    babble = b""

    async def _pump(self, reader, writer):
        to_us = writer.get_extra_info("peername")[1] != self.target
        while data := await reader.read(65536):
            if to_us:
                data, self.babble = self.babble + data, b""
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
async def test_bytes_that_are_not_opc_ua_end_the_connection_at_once(nonsense):
    gate = BabblingGate(shared_server().server.port)
    await gate.open()
    adapter = make(validated(adapter_config(gate.url, [point("ticking", "Ticking")], **LONG)))
    try:
        await adapter.connect()
        await Tap(adapter).next("ticking")
        gate.babble = nonsense
        with pytest.raises(NotConnected, match="bytes that are not OPC UA came"):
            async with asyncio.timeout(AT_ONCE_S):
                while True:
                    (await adapter.read()).delivered()
    finally:
        await adapter.close()
        await gate.shut()


def test_a_chunk_may_begin_with_each_kind_of_message_and_with_too_few_bytes_to_tell():
    assert all(may_begin(kind + b"F" + struct.pack("<I", 65535)) for kind in (b"ACK", b"ERR", b"OPN", b"MSG", b"CLO"))
    assert may_begin(b"MSGC\xff\xff")


def test_a_chunk_may_be_larger_than_was_agreed_as_those_of_node_opcua_are():
    assert may_begin(bytes.fromhex("4d53474660990400"))
    assert not may_begin(b"MSGF" + struct.pack("<I", 64 * 2**20 + 1))
