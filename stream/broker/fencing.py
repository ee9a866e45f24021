"""Does the controller's own log, on the disk, say that the broker is fenced? A fenced broker leads nothing when it starts, and that is what makes a
start after a crash safe (DESIGN 6).

Kafka logs "Fencing broker" before the record is written; a controller stopped at that moment forgets it (seen with 4.3.1), so it is the
log that is asked. Reads the records that register, fence and unfence the node, and nothing else of the metadata.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    TaggedFields,
    UnsignedVarInt32,
)
from aiokafka.record.memory_records import MemoryRecords

from stream.broker.metadata_log import whole_until
from stream.broker.settings import NODE_ID

REGISTER, UNREGISTER, FENCE, UNFENCE, CHANGE = 0, 1, 7, 8, 17
"""The apiKey of each record (Kafka's metadata/*.json)."""
FENCED_TAG = 0
UUID_BYTES = 16


def fenced(directory: Path) -> bool:
    """Of the `__cluster_metadata-0` directory: is the node fenced, or not registered at all? Looks at the newest snapshot and the log after it."""
    state = True
    for value in _values(directory):
        state = after(state, value)
    return state


def after(state: bool, value: bytes) -> bool:
    """The node's state after one metadata record. Pure. Records of other kinds and other nodes change nothing."""
    buffer = io.BytesIO(value)
    frame, kind, version = (UnsignedVarInt32.decode(buffer) for _ in range(3))
    if frame != 1 or kind not in (REGISTER, UNREGISTER, FENCE, UNFENCE, CHANGE) or Int32.decode(buffer) != NODE_ID:
        return state
    if kind == REGISTER:
        return _registered_fenced(buffer, version)
    if kind == CHANGE:
        Int64.decode(buffer)  # broker epoch
        tags = TaggedFields.decode(buffer)
        change = int.from_bytes(tags.get(FENCED_TAG, b"\0"), signed=True)
        return state if change == 0 else bool(change > 0)
    return bool(kind != UNFENCE)


def _registered_fenced(buffer: io.BytesIO, version: int) -> bool:
    """The `Fenced` of a RegisterBrokerRecord: true for a new registration, either in a snapshot."""
    if version >= 2:
        Boolean.decode(buffer)  # migrating from ZooKeeper
    buffer.read(UUID_BYTES)
    Int64.decode(buffer)
    text = CompactString("utf-8")
    CompactArray(("name", text), ("host", text), ("port", Int16), ("protocol", Int16), ("tags", TaggedFields)).decode(
        buffer
    )
    CompactArray(("name", text), ("lowest", Int16), ("highest", Int16), ("tags", TaggedFields)).decode(buffer)
    text.decode(buffer)  # rack
    return bool(Boolean.decode(buffer))


def _values(directory: Path) -> Iterator[bytes]:
    """The metadata records from the newest snapshot on, in order."""
    snapshots = sorted(directory.glob("*.checkpoint"))
    since = int(snapshots[-1].name.partition("-")[0]) if snapshots else 0
    if snapshots:
        yield from (value for _, value in _records(snapshots[-1].read_bytes()))
    for segment in sorted(directory.glob("*.log")):
        yield from (value for offset, value in _records(segment.read_bytes()) if offset >= since)


def _records(raw: bytes) -> Iterator[tuple[int, bytes]]:
    batches: Any = MemoryRecords(raw[: whole_until(raw)])
    while (batch := batches.next_batch()) is not None:
        if not batch.is_control_batch:
            yield from ((record.offset, record.value) for record in batch)
