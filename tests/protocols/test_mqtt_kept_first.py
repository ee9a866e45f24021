"""A broker that first wants what it kept for the session acknowledged, and answers neither SUBSCRIBE nor pings before that, as rumqttd
does when the session's window is full: it was asked to subscribe again and again, for ever."""

from __future__ import annotations

import asyncio

from tests.kit.waiting import until
from tests.protocols.mqtt_kit import DEADLINE_S, RAW, VERSIONS, adapter, numbers

KEPT = 5
CONNACK = {"5": bytes.fromhex("2003010000"), "3.1.1": bytes.fromhex("20020100")}
REFUSED = {"5": b"\x87", "3.1.1": b"\x80"}
PUBACK = 0x40


def publish(version, n):
    """QoS 1 on `t/a`, packet id n, value n."""
    body = b"\x00\x03t/a" + n.to_bytes(2, "big") + (b"\x00" if version == "5" else b"") + str(n).encode()
    return bytes([0x32, len(body)]) + body


def suback(version, codes, packet_id):
    body = packet_id + (b"\x00" if version == "5" else b"") + codes
    return bytes([0x90, len(body)]) + body


@VERSIONS
async def test_what_was_kept_is_taken_before_the_answer_to_subscribe(version):
    async def serve(reader, writer):
        await reader.read(1000)
        writer.write(CONNACK[version] + b"".join(publish(version, n) for n in range(1, KEPT + 1)))
        packet_id, seen = b"", b""
        while seen.count(PUBACK) < KEPT:  # nothing else that is sent here holds this byte
            came = await reader.read(1000)
            if came[:1] == b"\x82":
                packet_id, came = came[2:4], came[2 + came[1] :]
            seen += came
        writer.write(suback(version, b"\x01" + REFUSED[version], packet_id) + publish(version, KEPT + 1))
        await reader.read(1000)
        while await reader.read(1000):
            pass
        writer.close()
        served.set()

    served = asyncio.Event()
    filters = (RAW, {**RAW, "topic": "secret/+"})
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        one = adapter(server.sockets[0].getsockname()[1], *filters, version=version, connect_timeout="2s")
        try:
            await one.connect()
            assert await numbers(one, KEPT + 1) == [*range(1, KEPT + 2)]
            await until(lambda: any("secret/+" in said for said in one.health().degraded), DEADLINE_S)
        finally:
            await one.close()
            await asyncio.wait_for(served.wait(), DEADLINE_S)
