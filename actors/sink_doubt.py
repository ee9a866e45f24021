"""Which records a destination was being given, kept where the end of the process does not reach, so that no record can kill a sink
for ever.

First a whole batch is in doubt. When the worker died over it twice, or once by an exception, its successor offers those records
one by one; one that then kills it alone, again twice or once by an exception, is poison: it is not offered again. That is four
deaths at most, less than the restarts a supervisor grants. A destination that is away or refuses puts nothing in doubt. The file
is memory-mapped: writing costs no system call. Decoding has a doubt of its own, of one partition at a time (stage_doubt.py).
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sinks.contract import NotConnected
from stream.producer import Partition

IDLE, BUSY = 0, 1
_HEAD = struct.Struct("<BB2xI")
"""state, proven, bytes that follow."""
SIZE = 1 << 17
DEATHS_WITHOUT_PROOF = 2

Span = tuple[str, int, int, int]
"""Topic, partition, first offset, the one after the last."""


@dataclass
class Memory:
    """What the file holds."""

    batch: list[Span] = field(default_factory=list)
    """What the destination is being given."""
    deaths: int = 0
    """Over these or some of these before."""
    suspects: list[tuple[str, int, int]] = field(default_factory=list)
    """Topic, partition, and the offset up to which records are offered one by one."""
    poison: tuple[str, int, int] | None = None
    """Topic, partition and offset of the record not to offer."""


class GivenDoubt:
    """One sink's file. Read at the start, which is where the end of the last process is judged."""

    def __init__(self, path: Path) -> None:
        self._map = _mapped(path)
        self._now = self._read()
        if self._map[0] == BUSY:
            self._judge(bool(self._map[1]))
        self._last = Memory(self._now.batch, self._now.deaths) if self._now.deaths else None
        """What was died over without proof."""
        self._write(IDLE)

    @property
    def one_by_one(self) -> bool:
        return bool(self._now.suspects)

    @property
    def poison(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset of the record not to offer."""
        return self._now.poison

    @contextmanager
    def over(self, batch: list[Span]) -> Iterator[None]:
        """These records are in doubt while the destination is given them."""
        self._now.batch, self._now.deaths = batch, self._deaths_before(batch)
        self._write(BUSY)
        try:
            yield
        except NotConnected:
            self._map[0] = IDLE
            raise
        except Exception:
            self._map[1] = 1
            raise
        except BaseException:
            self._map[0] = IDLE
            raise
        self._map[0] = IDLE

    def passed(self, delivered: Mapping[Partition, int]) -> None:
        """The destination has the records before these offsets, or they were set aside."""
        now = self._now
        if not now.suspects and now.poison is None:
            return
        self._keep([s for s in now.suspects if delivered.get(s[:2], 0) < s[2]], delivered)

    def located(self, starts: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        """Reading begins here. Suspects that are not in the stream any more, or of which nobody reads, are forgotten."""
        self._keep([s for s in self._now.suspects if s[:2] in starts and starts[s[:2]] < s[2] <= ends[s[:2]]], starts)

    def close(self) -> None:
        self._map.close()

    def _keep(self, suspects: list[tuple[str, int, int]], reached: Mapping[Partition, int]) -> None:
        now = self._now
        poison = now.poison if now.poison and reached.get(now.poison[:2], 0) <= now.poison[2] else None
        if (suspects, poison) != (now.suspects, now.poison):
            now.suspects, now.poison = suspects, poison
            self._write(IDLE)

    def _judge(self, proven: bool) -> None:
        now = self._now
        now.deaths += 1
        if not now.batch or (not proven and now.deaths < DEATHS_WITHOUT_PROOF):
            return
        if _single(now.batch):
            now.poison = now.batch[0][:3]
        else:
            now.suspects = [(topic, partition, after) for topic, partition, _, after in now.batch]
        now.batch, now.deaths = [], 0

    def _deaths_before(self, batch: list[Span]) -> int:
        last = self._last
        if last is None or (_single(batch) and batch != last.batch):
            return 0
        return last.deaths if any(_meet(one, other) for one in batch for other in last.batch) else 0

    def _read(self) -> Memory:
        size = _HEAD.unpack_from(self._map)[2]
        try:
            held = json.loads(self._map[_HEAD.size : _HEAD.size + size] or b"")
        except ValueError:  # new, or torn by a power cut
            return Memory()
        return Memory(
            [(topic, int(partition), int(first), int(after)) for topic, partition, first, after in held["batch"]],
            int(held["deaths"]),
            [(topic, int(partition), int(after)) for topic, partition, after in held["suspects"]],
            (held["poison"][0], int(held["poison"][1]), int(held["poison"][2])) if held["poison"] else None,
        )

    def _write(self, state: int) -> None:
        """The state last: a process killed in between leaves nothing half told."""
        body = json.dumps(asdict(self._now)).encode()
        self._map[0] = IDLE
        if len(body) > SIZE - _HEAD.size:
            return  # thousands of partitions: delivered without this net
        self._map[_HEAD.size : _HEAD.size + len(body)] = body
        _HEAD.pack_into(self._map, 0, IDLE, 0, len(body))
        self._map[0] = state


def _mapped(path: Path) -> mmap.mmap:
    """The file in memory, its blocks taken beforehand: writing to one that finds no room kills the process. Without room, memory
    alone: delivering goes on, only the net is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("a+b") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE)
            return mmap.mmap(file.fileno(), SIZE)
    except OSError:
        return mmap.mmap(-1, SIZE)


def _single(batch: list[Span]) -> bool:
    return len(batch) == 1 and batch[0][3] - batch[0][2] == 1


def _meet(one: Span, other: Span) -> bool:
    return one[:2] == other[:2] and one[2] < other[3] and other[2] < one[3]
