"""A stage's snapshots in its compacted topic `state.<stage>`: written in parts, found again, put together and checked.

For each partition one record, the manifest (key `<partition>`), names the offsets the state stands for, its parts, and in which
records (keys `<partition>/<number>`) each part's pieces stand. All are written inside the transaction whose end they stand for, so
they are there together or not at all. Numbers are used again, so the topic keeps no more keys than the largest snapshot needed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from actors.stage_read import read_between
from stream.consumer import StreamConsumer
from stream.producer import Parcel, Partition

VERSION = 2
PIECE_BYTES = 768 * 1024
READ_MAX = 100


@dataclass(frozen=True)
class Snapshot:
    """One partition's state and the offset of the next record of each input topic that it does not know yet."""

    partition: int
    offsets: dict[str, int]
    parts: dict[str, bytes]


@dataclass(frozen=True)
class Place:
    """Where a part stands: the numbers of its records, and its CRC-32."""

    numbers: list[int]
    crc: int


class Shelf:
    """What of one partition stands in the topic, as of the newest manifest."""

    def __init__(self, partition: int, places: Mapping[str, Place] | None = None) -> None:
        self._partition = partition
        self._places = dict(places or {})

    @property
    def written(self) -> Container[str]:
        """The parts that need not be written again unless they changed."""
        return self._places.keys()

    def records(self, offsets: dict[str, int], parts: Mapping[str, bytes | None]) -> tuple[list[bytes], list[bytes]]:
        """Keys and values that keep a snapshot; a part that is None stands there already. To be written in one transaction;
        if that fails the shelf is wrong and the worker must end."""
        kept = {name: self._places[name] for name, content in parts.items() if content is None}
        taken = {number for place in kept.values() for number in place.numbers}
        free = (number for number in count() if number not in taken)
        keys, values = [], []
        for name, content in parts.items():
            if content is None:
                continue
            pieces = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)] or [b""]
            kept[name] = Place([next(free) for _ in pieces], zlib.crc32(content))
            keys += [f"{self._partition}/{number}".encode() for number in kept[name].numbers]
            values += pieces
        self._places = kept
        listed = {name: [place.crc, place.numbers] for name, place in kept.items()}
        keys.append(str(self._partition).encode())
        values.append(json.dumps({"version": VERSION, "offsets": offsets, "parts": listed}).encode())
        return keys, values

    def parcel(self, topic: str, offsets: dict[str, int], parts: Mapping[str, bytes | None], now_ms: int) -> Parcel:
        return Parcel(topic, self._partition, *self.records(offsets, parts), now_ms)


def assemble(partition: int, newest: Mapping[bytes, bytes | None]) -> tuple[Snapshot, Shelf] | None:
    """The snapshot in the newest record of each key of a state topic; None if there is none that is whole."""
    try:
        manifest = json.loads(newest.get(str(partition).encode()) or b"{}")
        if manifest["version"] != VERSION:
            return None
        places = {
            str(name): Place([int(n) for n in numbers], int(crc)) for name, (crc, numbers) in manifest["parts"].items()
        }
        offsets = {str(topic): int(offset) for topic, offset in manifest["offsets"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    parts = {}
    for name, place in places.items():
        pieces = [newest.get(f"{partition}/{number}".encode()) for number in place.numbers]
        content = b"".join(piece for piece in pieces if piece is not None)
        if None in pieces or zlib.crc32(content) != place.crc:
            return None
        parts[name] = content
    return Snapshot(partition, offsets, parts), Shelf(partition, places)


async def find(consumer: StreamConsumer, topic: str, partitions: Iterable[int]) -> dict[int, tuple[Snapshot, Shelf]]:
    """The newest snapshot of each partition that has one. Uses the consumer's assignment. Raises StreamLost."""
    places: list[Partition] = [(topic, p) for p in partitions]
    begins, ends = await consumer.beginnings(places), await consumer.ends(places)
    newest: dict[int, dict[bytes, bytes | None]] = {p: {} for _, p in places}
    async for (_, partition), messages in read_between(consumer, begins, ends, READ_MAX):
        newest[partition].update((m.key, m.value) for m in messages if m.key is not None)
    found = {p: assemble(p, records) for p, records in newest.items()}
    return {p: one for p, one in found.items() if one is not None}
