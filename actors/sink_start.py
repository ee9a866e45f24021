"""Where a sink begins to read each partition, and what it says when the stream no longer holds that place. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Moved:
    """Reading goes on elsewhere than where it stopped."""

    topic: str
    partition: int
    at: int
    to: int
    reason: str

    @property
    def lost(self) -> int:
        """Offsets that were never delivered."""
        return max(0, self.to - self.at)


def start_offsets(
    delivered: Mapping[Partition, int | None], firsts: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> tuple[dict[Partition, int], list[Moved]]:
    """For each partition of `firsts` the offset to read from. `delivered` holds the next offset as the destination or, for one
    that keeps none, the consumer group has it; nothing there means all that the stream still holds.
    """
    starts: dict[Partition, int] = {}
    moved: list[Moved] = []
    for place, first in firsts.items():
        at = delivered.get(place)
        end = max(ends[place], first)
        starts[place] = first if at is None else min(max(at, first), end)
        if at is not None and at < first:
            moved.append(Moved(*place, at, first, "deleted by retention before the destination had it"))
        if at is not None and at > end:
            moved.append(
                Moved(
                    *place,
                    at,
                    end,
                    "the stream ends before what was delivered: it lost its tail, in a power cut perhaps",
                )
            )
    return starts, moved
