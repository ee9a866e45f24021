"""Where a stage goes on after a start: its committed offsets, its snapshots, and from where the log must be replayed between them.

A stage's state must be that of the records before the committed offsets, no more and no less. A snapshot is older than them, so
the records between are taken again with the outputs thrown away. Without a snapshot as much of the log is replayed as the stage
can still remember. Not responsible for the replay itself (processor.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors import stage_snapshots
from actors.stage_snapshots import Shelf, Snapshot
from pipeline.contract import Stage
from stream.consumer import StreamConsumer
from stream.producer import Partition

LOOK_BACK = 1000
"""Offsets before the committed one at which the age of the last processed record is looked up; some are control records."""


@dataclass(slots=True)
class Start:
    """Where to go on, and from where to replay to there."""

    offsets: dict[Partition, int]
    replay: dict[Partition, int] = field(default_factory=dict)
    """Only what must be replayed."""
    shelves: dict[int, Shelf] = field(default_factory=dict)
    restored: dict[int, dict[str, int]] = field(default_factory=dict)
    """By partition: the offsets its restored state stands for."""


@dataclass(frozen=True, slots=True)
class OffTheLog:
    """A committed offset that the log does not hold: records were deleted unprocessed, or the log lost its tail."""

    place: Partition
    committed: int
    at: int

    @property
    def lost(self) -> int:
        """Records that were never processed and are gone."""
        return max(0, self.at - self.committed)

    def __str__(self) -> str:
        name = f"{self.place[0]}/{self.place[1]}"
        if self.lost:
            return f"{name}: records {self.committed} to {self.at} were deleted before they were processed"
        gone = self.committed - self.at
        return f"{name}: the log ends at {self.at}, {gone} records before what was processed: it lost its tail"


async def find(
    consumer: StreamConsumer,
    stage: Stage,
    state_topic: str,
    partitions: list[int],
    off_the_log: Callable[[OffTheLog], None],
    unreadable: Callable[[int, str], None],
) -> Start:
    """Restore the stage's snapshots. Uses the consumer's assignment. Raises StreamLost."""
    places = [(topic, partition) for topic in stage.inputs for partition in partitions]
    committed = await consumer.committed(places)
    begins, ends = await consumer.beginnings(places), await consumer.ends(places)
    start = Start({place: _within(begins[place], committed[place], ends[place]) for place in places})
    for place, wanted in committed.items():
        if wanted is not None and wanted != start.offsets[place]:
            off_the_log(OffTheLog(place, wanted, start.offsets[place]))
    found = await stage_snapshots.find(consumer, state_topic, partitions)
    for partition in partitions:
        if partition in found:
            snapshot, start.shelves[partition] = found[partition]
            _restore(stage, snapshot, committed, start, unreadable)
        for topic in stage.inputs:
            place = topic, partition
            if start.offsets[place] <= begins[place]:
                continue
            if partition in start.restored:
                at = max(begins[place], start.restored[partition].get(topic, 0))
            else:
                at = await _as_far_as_it_remembers(consumer, stage, place, begins[place], start.offsets[place])
            if at < start.offsets[place]:
                start.replay[place] = at
    return start


def _within(begin: int, committed: int | None, end: int) -> int:
    return begin if committed is None else max(begin, min(committed, end))


def _restore(
    stage: Stage,
    snapshot: Snapshot,
    committed: dict[Partition, int | None],
    start: Start,
    unreadable: Callable[[int, str], None],
) -> None:
    partition = snapshot.partition
    for topic, offset in snapshot.offsets.items():
        if offset > (committed.get((topic, partition)) or 0):
            # Only a power cut under `lazy` does that: the state knows records that will be processed again.
            unreadable(partition, f"it stands for {topic} up to {offset}, beyond what was committed")
            return
    try:
        stage.restore_parts(partition, snapshot.parts)
        start.restored[partition] = snapshot.offsets
    except ValueError as wrong:
        stage.forget(partition)
        unreadable(partition, str(wrong))


async def _as_far_as_it_remembers(
    consumer: StreamConsumer, stage: Stage, place: Partition, begin: int, offset: int
) -> int:
    consumer.assign({place: max(begin, offset - LOOK_BACK)})
    last = [m.timestamp for m in (await consumer.poll(LOOK_BACK, 1.0)).get(place, []) if m.offset < offset]
    if not last:
        return begin
    at = (await consumer.offsets_at({place: last[-1] - int(stage.memory_s * 1000)}))[place]
    return offset if at is None else max(begin, min(at, offset))
