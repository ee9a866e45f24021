"""A broker's byte stream to packets: PUBLISH parsed here, all others left whole for paho. Pure.

Why not paho's own reading: it takes three system calls and two objects with locks for each message (README.md has the figures),
and it holds a packet whole, whatever its size (MQTT allows 256 MB). Here a long payload is cut while it comes in: only its beginning is kept,
so the message can be rejected and acknowledged like any other, with bounded memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PUBLISH: Final = 3
PUBREL: Final = 6
HEAD_MOST: Final = 2 + 65535 + 2
"""Longest topic and packet id of a PUBLISH."""
OTHER_MOST: Final = 256 * 1024
"""Longest packet that is not a PUBLISH; a SUBACK of 1000 filters has about 1 kB."""


class Malformed(Exception):
    """The broker does not keep to the protocol; the text says where."""


@dataclass(frozen=True, slots=True)
class Publish:
    topic: bytes
    payload: bytes
    """The whole of it, or its beginning."""
    length: int
    """Of the whole payload."""
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    """0 for QoS 0."""


class Splitter:
    """Give it what the socket brings; it gives back what is complete."""

    def __init__(self, version: int, payload_most: int) -> None:
        self.version = version
        self.body_most = HEAD_MOST + payload_most
        self.buffer = bytearray()
        self.skip = 0
        """Bytes still to come of a packet that was cut."""

    def feed(self, data: bytes) -> list[Publish | bytes]:
        """Packets completed by this data, in order. Raises Malformed."""
        if self.skip:
            cut = min(self.skip, len(data))
            self.skip -= cut
            data = data[cut:]
        self.buffer += data
        packets: list[Publish | bytes] = []
        place = 0
        while (found := self._packet(place, packets)) is not None:
            place = found
        del self.buffer[:place]
        return packets

    def _packet(self, place: int, packets: list[Publish | bytes]) -> int | None:
        """Take the packet that begins at `place`, if it is there; where the next one begins."""
        buffer = self.buffer
        head = _varint(buffer, place + 1)
        if head is None:
            return None
        length, body = head
        first = buffer[place]
        if first >> 4 != PUBLISH:
            if length > OTHER_MOST:
                raise Malformed(f"a packet of type {first >> 4} with {length} bytes")
            if len(buffer) < body + length:
                return None
            packets.append(bytes(buffer[place : body + length]))
            return body + length
        kept = min(length, self.body_most)
        if len(buffer) < body + kept:
            return None
        packets.append(self._publish(first, bytes(buffer[body : body + kept]), length))
        there = min(len(buffer) - body, length)
        self.skip = length - there
        return body + there

    def _publish(self, first: int, body: bytes, length: int) -> Publish:
        qos = first >> 1 & 3
        end = 2 + int.from_bytes(body[:2], "big")
        topic, packet_id = body[2:end], 0
        if qos:
            packet_id = int.from_bytes(body[end : end + 2], "big")
            end += 2
        if qos == 3 or end > length or not topic or (qos and not packet_id):
            raise Malformed(f"a PUBLISH with QoS {qos}, packet id {packet_id} and topic {topic[:80]!r}")
        if self.version == 5:
            properties = _varint(body, end)
            if properties is None or sum(properties) > length:
                raise Malformed("a PUBLISH whose properties are longer than itself")
            end = sum(properties)
        return Publish(topic, body[end:], length - end, qos, bool(first & 1), bool(first & 8), packet_id)


def _varint(data: bytes | bytearray, place: int) -> tuple[int, int] | None:
    """A variable byte integer and where it ends; None while it is not whole. Raises Malformed."""
    value = shift = 0
    for at in range(place, min(place + 4, len(data))):
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
    if len(data) >= place + 4:
        raise Malformed("a length of more than four bytes")
    return None
