"""Is the metadata log whole? Kafka cuts a damaged log at the first bad batch without a word, and then renames the directories of all topics it
no longer knows: every reading would seem gone. So it is read before each start; only an end torn by a power cut is left to Kafka.

Reads record batches (format v2) and their CRC-32C; understands nothing of what is in them.
"""

from __future__ import annotations

import struct
from pathlib import Path

from aiokafka.record.util import calc_crc32c

from stream.broker.data import DataError

HEAD = 61
"""Bytes of a batch before its records."""
MAGIC = 2
_FRONT = struct.Struct(">qiibI")
_OFFSET, _LAST = struct.Struct(">q"), struct.Struct(">i")


def batch_end(raw: bytes, at: int) -> int | None:
    """Where the batch that begins at `at` ends, if it is whole and its CRC right; None otherwise."""
    if len(raw) - at < HEAD:
        return None
    _, length, _, magic, crc = _FRONT.unpack_from(raw, at)
    end = int(at + 12 + length)
    if magic != MAGIC or length < HEAD - 12 or end > len(raw):
        return None
    return end if calc_crc32c(raw[at + 21 : end]) == crc else None


def whole_until(raw: bytes, first: int | None = None) -> int:
    """How many bytes from the beginning are whole batches. With `first`, their offsets must begin there and have no gap: the offset of a
    batch is outside of its checksum."""
    at = 0
    while (end := batch_end(raw, at)) is not None:
        (offset,) = _OFFSET.unpack_from(raw, at)
        if first is not None and offset != first:
            break
        first = None if first is None else first + 1 + _LAST.unpack_from(raw, at + 23)[0]
        at = end
    return at


def batch_after(raw: bytes, at: int) -> int | None:
    """Where a whole batch begins after `at`: then what lies before it was damaged, not torn."""
    mark = raw.find(MAGIC, at + 17)
    while mark != -1:
        if batch_end(raw, mark - 16) is not None:
            return mark - 16
        mark = raw.find(MAGIC, mark + 1)
    return None


def check(directory: Path, *, used: bool) -> None:
    """DataError names the file that is damaged and what Kafka would do. `used`: a broker has run on this data before."""
    segments = sorted(directory.glob("*.log"))
    snapshots = [path for path in sorted(directory.glob("*.checkpoint")) if not path.name.startswith("0" * 20 + "-")]
    readable = _check_segments(segments)
    if snapshots:
        _check_whole(snapshots[-1], snapshots[-1].read_bytes())
    elif used and not readable:
        raise DataError(
            f"{directory} has no readable record: Kafka would forget every topic and set their data aside. "
            "Restore this directory from a backup; the readings are still there"
        )


def _check_segments(segments: list[Path]) -> int:
    """How many bytes of records are readable."""
    readable = 0
    for path in segments:
        raw = path.read_bytes()
        end = whole_until(raw, int(path.stem))
        readable += end
        if end < len(raw) and (path != segments[-1] or batch_after(raw, end) is not None):
            raise _damaged(path, end)
    return readable


def _check_whole(path: Path, raw: bytes) -> None:
    end = whole_until(raw)
    if end < len(raw) or not raw:
        raise _damaged(path, end)


def _damaged(path: Path, at: int) -> DataError:
    return DataError(
        f"{path} is damaged at byte {at}: Kafka would cut it there, forget topics and set their data aside. "
        "Restore its directory from a backup, and look at the disk (dmesg); the readings are still there"
    )
