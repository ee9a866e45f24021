"""Reading a known stretch of the stream to its end, which may consist of records that no poll ever returns."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from stream.consumer import StreamConsumer
from stream.producer import Partition, StreamLost

POLL_S = 0.2
STUCK_S = 30.0


async def read_between(
    consumer: StreamConsumer, starts: Mapping[Partition, int], ends: Mapping[Partition, int], max_records: int
) -> AsyncIterator[tuple[Partition, list[Any]]]:
    """The records of each partition from its start up to, not including, its end. Replaces the consumer's assignment.

    Raises StreamLost, also when for STUCK_S nothing moves.
    """
    waiting = {place: at for place, at in starts.items() if at < ends[place]}
    if not waiting:
        return
    consumer.assign(waiting)
    moved_at = time.monotonic()
    while waiting:
        for place, messages in (await consumer.poll(max_records, POLL_S)).items():
            known = [m for m in messages if m.offset < ends[place]]
            if known:
                yield place, known
        # The marks of transactions are never polled: the position tells.
        now = {place: await consumer.position(place) for place in waiting}
        if now != waiting:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > STUCK_S:
            words = ", ".join(f"{topic}/{p} at {at} of {ends[topic, p]}" for (topic, p), at in now.items())
            raise StreamLost(f"the local stream gave nothing for {STUCK_S:g} s: {words}")
        waiting = {place: at for place, at in now.items() if at < ends[place]}
