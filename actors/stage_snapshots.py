"""A stage's snapshots in its compacted topic `state.<stage>`: cut into records that fit the stream, found again, put together.

A snapshot is written inside the transaction whose end it stands for, so all its chunks are there or none. Chunks of an older,
longer snapshot may linger under higher numbers; the id tells them apart.
"""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from stream.consumer import StreamConsumer
from stream.producer import Parcel, Partition

VERSION = 1
CHUNK_BYTES = 768 * 1024
_LENGTH = struct.Struct(">I")
READ_MAX = 500


@dataclass(frozen=True)
class Snapshot:
    """One partition's state and the offset of the next record of each input topic that it does not know yet."""

    partition: int
    offsets: dict[str, int]
    state: bytes


def parcel(topic: str, snapshot: Snapshot, now_ms: int) -> Parcel:
    """The records that keep a snapshot."""
    packed = zlib.compress(snapshot.state, 1)
    pieces = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)] or [b""]
    one = uuid.uuid4().hex
    keys, values = [], []
    for number, piece in enumerate(pieces):
        head = {"version": VERSION, "id": one, "chunk": number, "chunks": len(pieces), "offsets": snapshot.offsets}
        text = json.dumps(head).encode()
        keys.append(f"{snapshot.partition}/{number}".encode())
        values.append(_LENGTH.pack(len(text)) + text + piece)
    return Parcel(topic, snapshot.partition, keys, values, now_ms)


def assemble(partition: int, records: Iterable[tuple[bytes | None, bytes | None]]) -> Snapshot | None:
    """The newest whole snapshot among records of a state topic in offset order; None if there is none that this program reads."""
    newest: dict[bytes, tuple[dict[str, object], bytes]] = {}
    latest: str | None = None
    for key, value in records:
        parsed = _parse(value)
        if key is None or parsed is None:
            continue
        newest[key] = parsed
        latest = str(parsed[0]["id"])
    chunks = sorted((h for h in newest.values() if h[0]["id"] == latest), key=lambda h: int(str(h[0]["chunk"])))
    if not chunks or len(chunks) != chunks[0][0]["chunks"]:
        return None
    offsets = chunks[0][0]["offsets"]
    assert isinstance(offsets, dict)
    try:
        state = zlib.decompress(b"".join(piece for _, piece in chunks))
    except zlib.error:
        return None
    return Snapshot(partition, {str(t): int(o) for t, o in offsets.items()}, state)


def _parse(value: bytes | None) -> tuple[dict[str, object], bytes] | None:
    """Head and piece; None for what was not written by this version."""
    if value is None or len(value) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(value)
    try:
        head = json.loads(value[_LENGTH.size : _LENGTH.size + length])
    except ValueError:
        return None
    return (head, value[_LENGTH.size + length :]) if isinstance(head, dict) and head.get("version") == VERSION else None


async def find(consumer: StreamConsumer, topic: str, partitions: Iterable[int]) -> dict[int, Snapshot]:
    """The newest snapshot of each partition. Uses the consumer's assignment. Raises StreamLost."""
    places: list[Partition] = [(topic, p) for p in partitions]
    begins, ends = await consumer.beginnings(places), await consumer.ends(places)
    wanted = {place: begins[place] for place in places if ends[place] > begins[place]}
    records: dict[int, list[tuple[bytes | None, bytes | None]]] = {p: [] for _, p in places}
    consumer.assign(wanted)
    while wanted and any([await consumer.position(place) < ends[place] for place in wanted]):
        for (_, partition), messages in (await consumer.poll(READ_MAX, 0.5)).items():
            records[partition] += [(m.key, m.value) for m in messages]
    found = {p: assemble(p, kept) for p, kept in records.items()}
    return {p: snapshot for p, snapshot in found.items() if snapshot is not None}
