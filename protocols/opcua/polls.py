"""Polled reads: points with the same interval are one group, one Read request (in the server's chunks), one time base.

A group whose turn comes while the one before still waits is left out and counted: there are never two reads of a group under way,
and no burst afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from asyncua import ua

from protocols.contract import NotConnected, Reading, Reject
from protocols.opcua import binary, quality
from protocols.opcua.inbox import Inbox
from protocols.opcua.items import Item
from protocols.opcua.link import Link, NoAnswer
from protocols.opcua.monitored import value_of

_PATIENCE = 2
"""Reads in a row without an answer that end the connection."""


@dataclass(slots=True)
class Group:
    """Points read together."""

    every: float
    items: list[Item]
    due: float


def groups_of(items: list[Item], now: float) -> list[Group]:
    """One group for each interval, all due now."""
    by_interval: dict[float, list[Item]] = defaultdict(list)
    for item in items:
        if item.config.mode == "poll":
            by_interval[item.config.every].append(item)
    return [Group(every, members, now) for every, members in sorted(by_interval.items())]


def next_turn(group: Group, now: float) -> tuple[float, int]:
    """When the group is due after its turn at `group.due`, on its own time base, and how many turns were missed by `now`."""
    missed = max(0, int((now - group.due) / group.every))
    return group.due + (missed + 1) * group.every, missed


@dataclass(slots=True)
class Poller:
    link: Link
    groups: list[Group]
    inbox: Inbox
    counters: Counter[str]
    trouble: str | None = None
    _unanswered: int = 0

    async def run(self) -> None:
        """Poll until the connection is over. Raises NotConnected."""
        while True:
            group = min(self.groups, key=lambda g: g.due)
            await asyncio.sleep(max(0.0, group.due - time.monotonic()))
            if self.inbox.has_room:
                await self._poll(group)
            else:
                self.counters["missed_polls"] += 1
            group.due, missed = next_turn(group, time.monotonic())
            self.counters["missed_polls"] += missed

    async def _poll(self, group: Group) -> None:
        items = [i for i in group.items if i.node_id is not None]
        try:
            async for some, answer in self.link.in_parts("read", items, self._read):
                self._unanswered, self.trouble = 0, None
                self._take(some, answer)
        except NoAnswer as late:
            self._failed(str(late))
            if self._unanswered >= _PATIENCE:
                raise
        except (ua.UaStatusCodeError, binary.Refused) as refused:
            why = f"{self.link.config.endpoint}: Read is refused: {quality.words(refused.code)}"
            self._failed(why)
            if self._unanswered >= _PATIENCE:
                raise NotConnected(why) from None

    async def _read(self, items: list[Item]) -> bytes:
        return await self.link.call(read_request(items))

    def _failed(self, why: str) -> None:
        self._unanswered += 1
        self.counters["unanswered_reads"] += 1
        self.trouble = why

    def _take(self, items: list[Item], answer: bytes) -> None:
        try:
            values = binary.read_response(answer)
        except binary.Malformed as wrong:
            self.counters["malformed"] += 1
            self.inbox.reject(Reject("opcua_malformed", str(wrong), answer))
            return
        if len(values) != len(items):
            self.counters["malformed"] += 1
            self.inbox.reject(Reject("opcua_malformed", f"{len(values)} values, asked for {len(items)}", answer))
            return
        readings: list[Reading] = []
        for item, value in zip(items, values, strict=True):
            made = item.take(value)
            if made is not None:
                readings.append(made)
            if value.status in quality.NODE_GONE:
                item.node_id = None  # caretaker.py looks for it again, rarely
        self.counters["values"] += len(values)
        self.inbox.put(readings)


def read_request(items: list[Item]) -> object:
    request = ua.ReadRequest()
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.NodesToRead = [value_of(item) for item in items]
    return request
