"""What a topic on a cluster of somebody else (`stream.bootstrap`) must be like, and what it should be like. Pure.

Its operator may have made the topics before us and may want longer retentions: nothing that is there is changed by us. What would
lose readings is a mistake, and not one reading is written before it is put right; what only keeps less than we would is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

EXTRA = {"message.timestamp.type": "CreateTime"}
"""Set with our own settings when we make a topic there: its broker may re-stamp what it takes."""

Settings = Mapping[str, str]


def mistakes(topic: str, wanted: Settings, given: Settings) -> Iterator[str]:
    """`wanted`: our settings of the topic (topics.py); `given`: those in force there."""
    exact = {"cleanup.policy": wanted["cleanup.policy"], **EXTRA}
    for name, right in exact.items():
        if (found := given.get(name, right)) != right:
            yield f"{topic}: {name} is {found}, right would be {right}{_WHY.get((name, found), '')}"
    least = int(wanted["max.message.bytes"])
    if (most := int(given.get("max.message.bytes", least))) < least:
        yield f"{topic}: max.message.bytes is {most}, right would be at least {least}"


def warnings(topic: str, wanted: Settings, given: Settings) -> Iterator[str]:
    """Retention that ends before ours."""
    for name in ("retention.ms", "retention.bytes"):
        least = int(wanted[name])
        found = int(given.get(name, least))
        if found >= 0 and (least < 0 or found < least):
            right = "-1 (no limit)" if least < 0 else f"at least {least}"
            yield f"{topic}: {name} is {found}, right would be {right}: what is not delivered by then is lost"


_WHY = {
    ("cleanup.policy", "compact"): ": compaction keeps the newest reading of each asset only",
    ("cleanup.policy", "compact,delete"): ": compaction keeps the newest reading of each asset only",
    ("cleanup.policy", "delete"): ": the snapshots of a stage must not be deleted by age",
    ("message.timestamp.type", "LogAppendTime"): ": a record keeps the time of its arrival at the gateway",
}
