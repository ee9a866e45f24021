"""What is wrong with an adapter, as the tree is told: a sentence that a person can take in, and beside it each cause with all its points.

Bounded however many points and causes there are. Not responsible for what the causes are: the protocol says that, and adapter.py.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from actors.context import Context, Status
from protocols.contract import Cause

SENTENCES_MAX = 3
"""Causes in the reason, and one more where that is the last; all that are kept are in the facts."""
CAUSES_MAX = 10
SAID_MAX = 500
"""Characters of one sentence: a server's own words may be long."""
NAMES_MAX = 16_000
"""Characters of all names together: with the rest of the facts they must fit one answer to a heartbeat."""


class Since:
    """When each cause was first seen; one whose figures alone have changed is the same."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def of(self, causes: Sequence[Cause], now: float) -> list[float]:
        """`now` in seconds since 1970. Those that are not among `causes` are over."""
        keys = [re.sub(r"\d+", "", cause.said) for cause in causes]
        self._began = {key: self._began.get(key, now) for key in keys}
        return [self._began[key] for key in keys]


def tell(context: Context, since: Since, causes: Sequence[Cause], now: float) -> None:
    """Set the worker's health, and the fact `causes`."""
    context.facts["causes"] = detail(causes, since.of(causes, now))
    status = Status.DEGRADED if causes else Status.HEALTHY
    context.health(status, reason(causes), causes[0].next_step if causes else None)


def reason(causes: Sequence[Cause]) -> str | None:
    """The first causes in words; None without any."""
    shown = len(causes) if len(causes) <= SENTENCES_MAX + 1 else SENTENCES_MAX
    said = [_said(cause) for cause in causes[:shown]]
    return "; ".join(said + _left_out(causes, shown)) or None


def detail(causes: Sequence[Cause], began: Sequence[float]) -> list[dict[str, Any]]:
    """Each cause with the names of all it befalls, as long as there is room for them."""
    told, room = [], NAMES_MAX
    for cause, at in zip(causes[:CAUSES_MAX], began, strict=False):
        ends = list(accumulate(len(json.dumps(name)) + 2 for name in cause.points))
        kept = bisect_right(ends, room)
        room -= ends[kept - 1] if kept else 0
        since = round(at * 1e6)
        told.append(_told(_said(cause), cause.next_step, since, len(cause.points), cause.points[:kept]))
    rest = sum(len(cause.points) for cause in causes[CAUSES_MAX:])
    return told + [_told(words, None, None, rest, ()) for words in _left_out(causes, CAUSES_MAX)]


def _told(said: str, next_step: str | None, since: int | None, points: int, names: Sequence[str]) -> dict[str, Any]:
    return {"said": said, "next_step": next_step, "since": since, "points": points, "names": list(names)}


def _said(cause: Cause) -> str:
    text = str(cause)
    return text if len(text) <= SAID_MAX else text[:SAID_MAX] + " ..."


def _left_out(causes: Sequence[Cause], shown: int) -> list[str]:
    more = len(causes) - shown
    return [f"and {more} more cause{'s' if more > 1 else ''}"] if more > 0 else []
