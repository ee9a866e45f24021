"""Which records a stage is at, kept where the end of the process does not reach, so that one bad record cannot kill it for ever.

First a whole batch is in doubt. When a worker died over the same records twice, its successor takes them one by one; a record that
then kills it alone is poison: it is not touched again. A Python exception proves guilt at once; a death without one may have been
somebody's `kill -9`, so it takes two. The file is memory-mapped: writing costs no system call.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

IDLE, BATCH, ALONE = 0, 1, 2
_LAYOUT = struct.Struct("<BBBiqq200s")
"""state, strikes, proven, partition, first, next, topic."""
STRIKES_WITHOUT_PROOF = 2


@dataclass(frozen=True)
class Range:
    """Offsets of one partition, from `first` up to, not including, `next`."""

    topic: str
    partition: int
    first: int
    next: int

    def __contains__(self, place: tuple[str, int, int]) -> bool:
        topic, partition, offset = place
        return (topic, partition) == (self.topic, self.partition) and self.first <= offset < self.next

    def meets(self, other: Range) -> bool:
        """Have both an offset in common?"""
        same = (self.topic, self.partition) == (other.topic, other.partition)
        return same and self.first < other.next and other.first < self.next


class Doubt:
    """One worker's file. `suspects`: the records to take one by one; `poison`: the record not to take at all."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(2 * _LAYOUT.size)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 2 * _LAYOUT.size)
        self.suspects: Range | None = None
        self.poison: Range | None = None
        self._last: Range | None = None
        """What the last process died over without proof, and how often."""
        self._strikes = 0
        self._judge()

    def _judge(self) -> None:
        """What the end of the last process tells."""
        state, strikes, proven, found = self._read(0)
        strikes += 1
        guilty = bool(proven) or strikes >= STRIKES_WITHOUT_PROOF
        if state == ALONE:
            self.suspects = self._read(1)[3]
        if state == IDLE:
            return
        if not guilty:
            self._last, self._strikes = found, strikes
        elif state == ALONE:
            self.poison = found
        else:
            self.suspects = found

    def batch(self, taken: Range) -> None:
        """From now on these records are being worked on together."""
        self._write(0, BATCH, self._strikes if self._last and self._last.meets(taken) else 0, taken)

    def alone(self, one: Range) -> None:
        """From now on this one record of the suspects is."""
        assert self.suspects is not None, "only suspects are taken alone"
        self._write(1, BATCH, 0, self.suspects)
        self._write(0, ALONE, self._strikes if one == self._last else 0, one)

    def proven(self) -> None:
        """What is being worked on has raised an exception."""
        self._map[2] = 1

    def done(self) -> None:
        """Nothing is in doubt."""
        self._map[0] = IDLE
        self._map[2] = 0

    def passed(self) -> None:
        """The suspects were all taken or set aside, and that is committed."""
        self.suspects = self.poison = self._last = None
        self._strikes = 0
        self.done()

    def close(self) -> None:
        self._map.close()

    def _read(self, slot: int) -> tuple[int, int, int, Range]:
        state, strikes, proven, partition, first, after, topic = _LAYOUT.unpack_from(self._map, slot * _LAYOUT.size)
        return state, strikes, proven, Range(topic.rstrip(b"\0").decode(errors="replace"), partition, first, after)

    def _write(self, slot: int, state: int, strikes: int, taken: Range) -> None:
        fields = (state, strikes, 0, taken.partition, taken.first, taken.next, taken.topic.encode()[:200])
        _LAYOUT.pack_into(self._map, slot * _LAYOUT.size, *fields)
