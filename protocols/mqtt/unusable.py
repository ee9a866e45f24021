"""Topics whose messages cannot be used, and why: what the adapter says of its publishers. Pure; times are monotonic seconds.

The messages themselves are dead letters; here is only who is to be looked at now. A topic is forgotten with its next good message, and
one that is soon good again was not worth a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from protocols.contract import Cause, Reject

TOPICS_MOST: Final = 1000
"""The oldest of more are forgotten."""
SHOWN_AFTER_S: Final = 5.0
EXAMPLE_MOST: Final = 300
TOPIC_MOST: Final = 120
"""Characters of a topic that are shown; it may have 65535, and stands whole in the dead letter."""
TOLD_ELSEWHERE: Final = ("too_many_points", "empty")
"""The first has a sentence of its own; nothing at all is published to delete a retained message, and nobody is to be looked at."""
_WORDS: Final = {
    "json": "is no JSON document",
    "utf8": "is no UTF-8 text",
    "missing": "lacks a member that is to be read",
    "type": "has a value of another type than is wanted",
    "not_finite": "has a number that is none",
    "out_of_range": "has a number that does not fit",
    "length": "has another length than is wanted",
    "too_large": "is larger than `max_payload`",
    "time": "has no time that can be read",
    "name": "gives no name to a point",
    "topic": "has a topic that is no text",
}


class Unusable:
    """Of one adapter."""

    def __init__(self) -> None:
        self._rejects: dict[bytes, tuple[float, Sequence[Reject]]] = {}
        """Since when, and what was refused of the newest message."""

    def note(self, topic: bytes, rejects: Sequence[Reject], now: float) -> None:
        """What was refused of the newest message of a topic."""
        if not rejects and not self._rejects:
            return
        since, _ = self._rejects.pop(topic, (now, ()))
        whole = f"{topic.decode(errors='replace')}: "
        kept = [
            Reject(one.rule, one.reason.removeprefix(whole)[:EXAMPLE_MOST], b"")
            for one in rejects
            if one.rule not in TOLD_ELSEWHERE
        ]
        if kept:
            self._rejects[topic] = since, kept
        if len(self._rejects) > TOPICS_MOST:
            del self._rejects[next(iter(self._rejects))]

    def causes(self, now: float) -> Iterator[Cause]:
        """One for each rule."""
        alike: dict[str, list[tuple[str, str]]] = {}
        for topic, (since, rejects) in self._rejects.items():
            for one in rejects if now - since >= SHOWN_AFTER_S else ():
                alike.setdefault(one.rule, []).append((shown(topic), one.reason))
        for rule, found in alike.items():
            topics = tuple(topic for topic, _ in found)
            said = f"the newest message cannot be used: it {_WORDS.get(rule, f'breaks the rule {rule}')}"
            topic_of_it, newest = found[-1]
            yield Cause(said, topics, newest if len(topics) == 1 else f"{topic_of_it}: {newest}", "topics")


def shown(topic: bytes) -> str:
    """For people."""
    text = topic.decode(errors="replace")
    return text if len(text) <= TOPIC_MOST else f"{text[:TOPIC_MOST]}…"
