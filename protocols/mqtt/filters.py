"""Topic filters of MQTT (4.7 of both standards) as pure functions: are they well formed, do they match, do two share a topic.

Knows nothing of subscriptions or connections.
"""

from __future__ import annotations

from collections.abc import Sequence

Levels = tuple[str, ...]


def split_filter(text: str) -> Levels:
    """The filter's levels, without `$share/group/`. Raises ValueError in words."""
    if not text or len(text.encode(errors="replace")) > 65535 or "\0" in text:
        raise ValueError("is empty, too long or holds a NUL; right would be a topic filter such as plant/+/state")
    levels = tuple(text.split("/"))
    if levels[0] == "$share":
        if len(levels) < 3 or not levels[1] or set(levels[1]) & set("+#"):
            raise ValueError(f"{text!r} is no shared subscription; right would be $share/GROUP/FILTER")
        levels = levels[2:]
    for place, level in enumerate(levels):
        if "#" in level and (level != "#" or place != len(levels) - 1):
            raise ValueError(f"{text!r}: # stands alone and last; right would be a/b/#")
        if "+" in level and level != "+":
            raise ValueError(f"{text!r}: + stands for a whole level; right would be a/+/c")
    return levels


def matches(wanted: Levels, topic: Sequence[str]) -> bool:
    """Whether a filter takes a topic; wildcards at the front never take topics that begin with `$`."""
    if topic[0].startswith("$") and wanted[0] in {"+", "#"}:
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(topic) or level not in {"+", topic[place]}:
            return False
    return len(wanted) == len(topic)


def overlap(one: Levels, other: Levels) -> bool:
    """Whether some topic fits both filters: the broker may then send one message twice."""
    if {one[0], other[0]} & {"+", "#"} and (one[0].startswith("$") or other[0].startswith("$")):
        return False
    for a, b in zip(one, other, strict=False):
        if "#" in {a, b}:
            return True
        if a != b and "+" not in {a, b}:
            return False
    longer, shorter = sorted((one, other), key=len, reverse=True)
    return len(longer) == len(shorter) or longer[len(shorter)] == "#"


def least_levels(wanted: Levels) -> int:
    """How many levels every topic of the filter has: `a/#` also takes `a`."""
    return len(wanted) - (wanted[-1] == "#")
