"""Transactions that were left open: found, judged and ended (DESIGN 6).

A transaction that stays open holds back every `read_committed` reader of its partitions. Normally its coordinator ends it when its time is
over. It cannot when it does not know of it: a write that arrived after the end (partition verification is off), or, after a power cut under
`lazy`, a coordinator whose own log was lost. Judging is pure; asking and ending are thin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka.protocol.metadata import MetadataRequest_v1
from aiokafka.protocol.transaction import InitProducerIdRequest_v0

from stream.broker.requests import TAGS, DescribeProducers, DescribeTransactions, ListTransactions, WriteTxnMarkers
from stream.broker.wire import Wire

GRACE_S = 10.0
"""So long an open transaction may stand without an owner: what is in order looks so for an instant between two questions."""
OVERDUE_MS = 30_000
"""So far beyond its own timeout the coordinator should have ended it."""
ASK_WITHIN_S = 10.0


@dataclass(frozen=True)
class Open:
    """One open transaction in one partition, as the partition's leader knows it."""

    topic: str
    partition: int
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    start_offset: int


@dataclass(frozen=True)
class Known:
    """One transactional id, as its coordinator knows it."""

    transactional_id: str
    state: str
    """Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort, PrepareEpochFence, Dead."""
    timeout_ms: int
    started_ms: int
    producer_id: int
    producer_epoch: int
    partitions: frozenset[tuple[str, int]]
    """Of the running transaction; while it is being ended, those whose marker is still missing."""


@dataclass(frozen=True)
class Marker:
    """End this transaction in this partition by hand."""

    open: Open
    commit: bool
    why: str


@dataclass(frozen=True)
class Fence:
    """Have the coordinator end it, by taking over its transactional id."""

    transactional_id: str
    timeout_ms: int
    why: str


def judge(open_one: Open, known: Mapping[int, Known], now_ms: int) -> Marker | Fence | None:
    """What to do with a transaction that has been open for the grace time; None when its owner will see to it. Pure.

    `known` is by producer id. A marker commits only where the coordinator recorded the commit of this very epoch: then the marker was lost, not
    the decision. Everything else is aborted: it was never acknowledged to anybody.
    """
    owner = known.get(open_one.producer_id)
    here = (open_one.topic, open_one.partition)
    where = f"{open_one.topic} partition {open_one.partition} from offset {open_one.start_offset}"
    if owner is None:
        return Marker(open_one, False, f"{where}: no coordinator knows producer {open_one.producer_id}")
    name = f"{owner.transactional_id} (producer {owner.producer_id}, epoch {open_one.producer_epoch}, {owner.state})"
    mine = here in owner.partitions
    if owner.producer_epoch == open_one.producer_epoch and owner.state == "CompleteCommit":
        return Marker(open_one, True, f"{where}: the commit of {name} did not reach it")
    if not mine:
        return Marker(open_one, False, f"{where}: {name} does not have it")
    if owner.state == "Ongoing" and now_ms - owner.started_ms > owner.timeout_ms + OVERDUE_MS:
        return Fence(
            owner.transactional_id,
            owner.timeout_ms,
            f"{where}: {name} is {(now_ms - owner.started_ms) // 1000} s old, its timeout is {owner.timeout_ms // 1000} s",
        )
    return None


@dataclass
class Watch:
    """Remembers since when each transaction is open without progress. `look` is called every few seconds."""

    host: str
    port: int
    grace_s: float = GRACE_S
    open_now: int = 0
    _seen: dict[Open, float] = field(default_factory=dict)

    async def look(self) -> list[Marker | Fence]:
        """Ask the broker, end what nobody owns; what was ended. Errors of the connection pass to the caller."""
        async with Wire(self.host, self.port, ASK_WITHIN_S) as wire:
            found = await open_transactions(wire)
            self.open_now = len(found)
            old = self._standing(found, time.monotonic())
            if not old:
                return []
            known = await known_transactions(wire)
            if known is None:
                return []
            # What ended between the two questions is no longer open now, or begins elsewhere.
            still = set(await open_transactions(wire))
            now_ms = time.time_ns() // 1_000_000
            verdicts = [verdict for one in old if one in still and (verdict := judge(one, known, now_ms))]
            done = await _end(wire, verdicts)
        for verdict in done:
            if isinstance(verdict, Marker):
                self._seen.pop(verdict.open, None)
        return done

    def oldest(self) -> tuple[Open, float] | None:
        """The transaction that has been open longest, and for how many seconds."""
        if not self._seen:
            return None
        one, since = min(self._seen.items(), key=lambda item: item[1])
        return one, time.monotonic() - since

    def _standing(self, found: Iterable[Open], now: float) -> list[Open]:
        """Those seen at every look for the grace time."""
        self._seen = {one: self._seen.get(one, now) for one in found}
        return [one for one, since in self._seen.items() if now - since >= self.grace_s]


async def settle(host: str, port: int, within_s: float, wait_s: float = 0.5) -> list[Open]:
    """Before an orderly stop: let transactions end, have the coordinator abort those that do not; what is open even then.

    While a broker stops there is an instant in which it drops the markers of a transaction that is just being ended and may still record it as
    ended (seen with Kafka 4.3.1 in a controlled shutdown), as at a start that is not a safe one.
    """
    began = time.monotonic()
    fenced: set[str] = set()
    async with Wire(host, port, within_s) as wire:
        while found := await open_transactions(wire):
            passed = time.monotonic() - began
            if passed > within_s:
                return found
            if passed > wait_s:
                producers = {one.producer_id for one in found}
                known = await known_transactions(wire) or {}
                ongoing = [one for number, one in known.items() if number in producers and one.state == "Ongoing"]
                verdicts = [Fence(one.transactional_id, one.timeout_ms, "the broker stops") for one in ongoing]
                await _end(wire, [one for one in verdicts if one.transactional_id not in fenced])
                fenced |= {one.transactional_id for one in verdicts}
            await asyncio.sleep(0.05)
    return []


async def open_transactions(wire: Wire) -> list[Open]:
    """Every open transaction in every partition the broker leads, offsets of consumer groups included."""
    metadata = await wire.ask(MetadataRequest_v1(None))
    topics = [
        (t["topic"], [p["partition"] for p in t["partitions"]], TAGS)
        for t in metadata["topics"]
        if t["topic"] != "__transaction_state"
    ]
    answer = await wire.ask(DescribeProducers(topics, TAGS))
    return [
        Open(
            topic["name"],
            partition["partition"],
            p["producer_id"],
            p["producer_epoch"],
            p["coordinator_epoch"],
            p["start_offset"],
        )
        for topic in answer["topics"]
        for partition in topic["partitions"]
        if partition["error_code"] == 0
        for p in partition["producers"]
        if p["start_offset"] >= 0
    ]


async def known_transactions(wire: Wire) -> dict[int, Known] | None:
    """All transactional ids by producer id; None while the coordinator is still loading: then nobody may be judged."""
    listed = await wire.ask(ListTransactions([], [], TAGS))
    if listed["error_code"] != 0:
        return None
    names = [one["transactional_id"] for one in listed["transactions"]]
    described = await wire.ask(DescribeTransactions(names, TAGS)) if names else {"transactions": []}
    if any(one["error_code"] for one in described["transactions"]):
        return None
    return {
        one["producer_id"]: Known(
            one["transactional_id"], one["state"], one["timeout_ms"], one["started_ms"], one["producer_id"], one["producer_epoch"],
            frozenset((t["topic"], p) for t in one["topics"] for p in t["partitions"]),
        )
        for one in described["transactions"]
    }  # fmt: skip


async def _end(wire: Wire, verdicts: Iterable[Marker | Fence]) -> list[Marker | Fence]:
    """Carry out the verdicts; those the broker accepted."""
    done: list[Marker | Fence] = []
    fenced: set[str] = set()
    for verdict in verdicts:
        if isinstance(verdict, Marker):
            if await _mark(wire, verdict):
                done.append(verdict)
        elif verdict.transactional_id not in fenced:
            fenced.add(verdict.transactional_id)
            answer = await wire.ask(InitProducerIdRequest_v0(verdict.transactional_id, verdict.timeout_ms))
            # CONCURRENT_TRANSACTIONS (51): it has begun to abort.
            if answer["error_code"] in (0, 51):
                done.append(verdict)
    return done


async def _mark(wire: Wire, marker: Marker) -> bool:
    one = marker.open
    topics = [(one.topic, [one.partition], TAGS)]
    request = WriteTxnMarkers(
        [(one.producer_id, one.producer_epoch, marker.commit, topics, max(one.coordinator_epoch, 0), TAGS)], TAGS
    )
    answer = await wire.ask(request)
    codes = [p["error_code"] for m in answer["markers"] for t in m["topics"] for p in t["partitions"]]
    return codes == [0]
