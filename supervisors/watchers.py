"""To whom a supervisor tells what changed, and how often: its parent after each change, and at the root each watcher also once a second.

Nobody is sent a second report before the first has arrived, so a listener that does not read costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EVERY_S = 1.0
GAP_S = 0.02
"""Changes come in crowds, as when a branch starts; those within the gap go out as one report."""
LOST_AFTER_S = 15.0
"""A watcher that has not read a report for so long is gone; a new one asks for itself."""


@dataclass(slots=True)
class _Listener:
    address: Any
    pending_since: float | None = None
    sent_at: float = 0.0
    news: bool = True


class Watchers:
    """`send(address)` sends the report of now; `wake(after_s, payload)` has the actor call `publish` when `payload` comes back."""

    def __init__(
        self, send: Callable[[Any], None], wake: Callable[[float, object], None], *, each_second: bool
    ) -> None:
        self._send, self._wake, self._each_second = send, wake, each_second
        self._listeners: list[_Listener] = []
        self.planned: object = None

    def add(self, address: Any) -> None:
        self._listeners = [each for each in self._listeners if each.address != address]
        self._listeners.append(_Listener(address))
        self._plan(0.0)

    def changed(self) -> None:
        for each in self._listeners:
            each.news = True
        self._plan(GAP_S)

    def seen(self, address: Any) -> None:
        for each in self._listeners:
            if each.address == address:
                each.pending_since = None
                if each.news:
                    self._plan(GAP_S)

    def publish(self) -> None:
        self.planned = None
        now = time.monotonic()
        self._listeners = [each for each in self._listeners if not self._lost(each, now)]
        for each in self._listeners:
            due = each.news or (self._each_second and now - each.sent_at >= EVERY_S - GAP_S)
            if due and each.pending_since is None:
                each.pending_since = each.sent_at = now
                each.news = False
                self._send(each.address)
        if self._each_second and self._listeners:
            self._plan(EVERY_S)

    def _lost(self, each: _Listener, now: float) -> bool:
        return self._each_second and each.pending_since is not None and now - each.pending_since > LOST_AFTER_S

    def _plan(self, after_s: float) -> None:
        at = time.monotonic() + after_s
        if self._listeners and (not isinstance(self.planned, tuple) or at < self.planned[1]):
            self.planned = ("publish", at)
            self._wake(after_s, self.planned)
