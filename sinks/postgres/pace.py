"""Which way a partition's readings go into the table: straight, or by a staging table that copes with keys that are there already.

Straight is twice as fast, but one known key undoes the whole attempt. So a partition that clashed goes by staging for a while, twice
as long each time it clashes again. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Partition = tuple[str, int]

LONGEST = 256
"""Batches until straight is tried again, at most."""


@dataclass(slots=True)
class Pace:
    _left: dict[Partition, int] = field(default_factory=dict)
    """Batches that still go by staging."""
    _penalty: dict[Partition, int] = field(default_factory=dict)

    def straight(self, partition: Partition) -> bool:
        """Whether this batch of the partition may go straight; asked once for each batch."""
        left = self._left.get(partition, 0)
        if left == 0:
            return True
        self._left[partition] = left - 1
        return False

    def clashed(self, partition: Partition) -> None:
        """A key of the partition was there already."""
        penalty = min(2 * self._penalty.get(partition, 1), LONGEST)
        self._penalty[partition] = self._left[partition] = penalty

    def went_well(self, partition: Partition) -> None:
        """The partition's readings went straight into the table."""
        if partition in self._penalty:
            self._penalty[partition] //= 2
            if self._penalty[partition] == 0:
                del self._penalty[partition]
                self._left.pop(partition, None)
