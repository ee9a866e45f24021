"""Every topic of the local stream in one table (SPEC section 3), the settings that follow from it, and what to change on a broker that differs.
What may differ on a cluster of somebody else: external.py.

Pure: no broker is asked here (actors/topics.py does). Broker-wide settings stand in broker/settings.py.

Sizes: `share` is a topic's part of `disk_budget`. All shares together leave room for the topics that are never evicted. Kafka frees whole
segments only, so segments shrink with the share: four of them at least make up what a partition may hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from stream import external

MIB = 2**20
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS

RECORD_MAX = MIB
"""Most bytes of one batch of readings or documents, as producers set `max_request_size`."""
DOCUMENT_MAX = 2 * MIB
"""Dead letters and alarms carry a whole record and the reason: what was accepted once must fit again."""
SNAPSHOT_MAX = 8 * MIB
"""Most bytes of one snapshot in a state topic. Its producer needs `max_request_size=SNAPSHOT_MAX + BATCH_HEAD`."""
BATCH_HEAD = 64 * 1024
"""Room for the batch around the one record in it."""


class Priority(IntEnum):
    """Who goes first when the disk fills (SPEC sections 3 and 10); CRITICAL never goes."""

    LOWEST = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True)
class Topic:
    name: str
    retention_ms: int
    """By the records' timestamps, which are arrival times."""
    priority: Priority
    share: float = 0.0
    """Part of the disk budget; 0 with `most_bytes` None: no limit by size."""
    most_bytes: int | None = None
    """Instead of a share: so many bytes over all partitions, whatever the budget."""
    record_max: int = RECORD_MAX
    compacted: bool = False
    """Only the newest record of each key matters: a snapshot for each partition."""


TOPICS: tuple[Topic, ...] = (
    Topic("telemetry.raw", DAY_MS, Priority.LOW, share=0.28),
    Topic("telemetry.clean", 7 * DAY_MS, Priority.LOW, share=0.30),
    Topic("telemetry.1s", 7 * DAY_MS, Priority.MEDIUM, share=0.08),
    Topic("telemetry.10s", 7 * DAY_MS, Priority.MEDIUM, share=0.04),
    Topic("telemetry.1min", 90 * DAY_MS, Priority.HIGH, share=0.06),
    Topic("telemetry.1hour", 2 * YEAR_MS, Priority.HIGH, share=0.04),
    Topic("events.raw", 30 * DAY_MS, Priority.HIGH, share=0.02),
    Topic("events.clean", 30 * DAY_MS, Priority.HIGH, share=0.03),
    Topic("alarms.raw", 7 * YEAR_MS, Priority.CRITICAL, record_max=DOCUMENT_MAX),
    Topic("alarms.clean", 7 * YEAR_MS, Priority.CRITICAL, record_max=DOCUMENT_MAX),
    Topic("dlq.telemetry", 30 * DAY_MS, Priority.CRITICAL, record_max=DOCUMENT_MAX),
    Topic("dlq.events", 30 * DAY_MS, Priority.CRITICAL, record_max=DOCUMENT_MAX),
    Topic("dlq.buffer_overflow", 30 * DAY_MS, Priority.CRITICAL),
    Topic("logs.adapters", 7 * DAY_MS, Priority.LOWEST, most_bytes=100 * MIB),
    Topic("logs.gateway", 7 * DAY_MS, Priority.LOWEST, most_bytes=100 * MIB),
    Topic("logs.sinks", 7 * DAY_MS, Priority.LOWEST, most_bytes=100 * MIB),
    Topic("audit_trail", 7 * YEAR_MS, Priority.CRITICAL),
    # Each partition's snapshot under a key of its own; partition p of the state belongs to partition p of the input.
    Topic("state.validator", -1, Priority.CRITICAL, record_max=SNAPSHOT_MAX, compacted=True),
    Topic("state.aggregator", -1, Priority.CRITICAL, record_max=SNAPSHOT_MAX, compacted=True),
)
"""In order of SPEC section 3."""

SEGMENT_LEAST, SEGMENT_MOST = MIB, 32 * MIB
SEGMENT_AGE_LEAST_MS, SEGMENT_AGE_MOST_MS = HOUR_MS, 30 * DAY_MS


def topic(name: str) -> Topic:
    """The topic of this name; KeyError names what there is."""
    for one in TOPICS:
        if one.name == name:
            return one
    raise KeyError(f"there is no topic {name!r}; topics are {', '.join(t.name for t in TOPICS)}")


def partition_bytes(one: Topic, disk_budget: int, partitions: int) -> int:
    """What one partition may hold before its oldest segment goes; -1 without limit."""
    total = one.most_bytes if one.most_bytes is not None else int(one.share * disk_budget)
    return max(total // partitions, 2 * SEGMENT_LEAST) if total else -1


def settings(one: Topic, disk_budget: int, partitions: int) -> dict[str, str]:
    """The topic's settings on the broker, as Kafka's names and texts; all that differ from the broker's own."""
    if one.compacted:
        return _compacted(one)
    most = partition_bytes(one, disk_budget, partitions)
    segment = SEGMENT_MOST if most < 0 else min(max(most // 4, SEGMENT_LEAST, one.record_max), SEGMENT_MOST)
    # A slow topic's segment must end at some time, or its oldest record outlives the retention by a week.
    age = min(max(one.retention_ms // 8, SEGMENT_AGE_LEAST_MS), SEGMENT_AGE_MOST_MS)
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(one.retention_ms),
        "retention.bytes": str(most),
        "segment.bytes": str(segment),
        "segment.ms": str(age),
        "max.message.bytes": str(one.record_max + BATCH_HEAD),
    }


def _compacted(one: Topic) -> dict[str, str]:
    """Small: segments of two snapshots at most, cleaned as soon as a tenth is outdated, the last one too after an hour."""
    return {
        "cleanup.policy": "compact",
        "retention.ms": str(one.retention_ms),
        "retention.bytes": "-1",
        "segment.bytes": str(2 * one.record_max),
        "segment.ms": str(HOUR_MS // 6),
        "max.message.bytes": str(one.record_max + BATCH_HEAD),
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": str(HOUR_MS),
        "delete.retention.ms": "60000",
    }


@dataclass(frozen=True)
class Plan:
    """What a broker needs so that its topics are those of the table."""

    create: tuple[str, ...]
    alter: Mapping[str, Mapping[str, str]]
    """Topics whose settings differ: name to all settings they shall have. Never on a cluster of somebody else."""
    mistakes: tuple[str, ...]
    """What a person must put right before the first reading is written: else readings would be lost or never be read."""
    warnings: tuple[str, ...]
    """What is worse than it should be, and works."""


def plan(
    partitions_there: Mapping[str, int],
    settings_there: Mapping[str, Mapping[str, str]],
    disk_budget: int,
    partitions: int,
    own: bool = True,
) -> Plan:
    """Compare what is there (partitions and settings by topic name) with the table. `own`: the broker is the gateway's own. Pure."""
    create = tuple(one.name for one in TOPICS if one.name not in partitions_there)
    mistakes = list(_other_numbers(partitions_there, partitions))
    alter: dict[str, Mapping[str, str]] = {}
    warnings: list[str] = []
    for one in TOPICS:
        there = partitions_there.get(one.name)
        if there is None:
            continue
        wanted = settings(one, disk_budget, there)
        given = settings_there.get(one.name, {})
        if not own:
            mistakes += external.mistakes(one.name, wanted, given)
            warnings += external.warnings(one.name, wanted, given)
        elif any(given.get(name) != value for name, value in wanted.items()):
            alter[one.name] = wanted
    return Plan(create, alter, tuple(mistakes), tuple(warnings))


def _other_numbers(there: Mapping[str, int], partitions: int) -> Iterator[str]:
    """Topics whose number of partitions is not the configuration's: some would never be read, or are written to and do not exist."""
    by_number: dict[int, list[str]] = {}
    for one in TOPICS:
        if there.get(one.name, partitions) != partitions:
            by_number.setdefault(there[one.name], []).append(one.name)
    for number, names in by_number.items():
        yield (
            f"{_some(names)} {number} partitions, the configuration says {partitions}; the number is fixed when a topic is made: "
            f"right would be `stream.partitions: {number}`, or topics of {partitions} partitions"
        )


def _some(names: list[str]) -> str:
    return f"{names[0]} has" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more topics have"
