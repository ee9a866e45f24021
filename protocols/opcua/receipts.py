"""Which messages of the subscription the stream has: what may be acknowledged to the server, and where to go on after a loss.

A message is acknowledged only when all its readings are in the stream, so the server keeps what is still on its way here. The mark
(which subscription, up to which message) also lies in a small file, for the process that comes after a crash: recovery.py fetches by
it what the server still keeps. Written without fsync: it must survive this process, not the machine, since a machine that stops is
away for longer than servers keep a subscription. An old mark costs a repeated message, never a lost one.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_LENGTH = 300
"""Of the file, always the same, so that a shorter mark leaves nothing of a longer one behind it."""
_log = logging.getLogger(__name__)

Receipt = tuple[int, int]
"""Subscription and sequence number of a message."""


def next_number(sequence: int) -> int:
    """After the largest comes 1 (OPC 10000-4 section 7.8)."""
    return 1 if sequence == 0xFFFFFFFF else sequence + 1


def distance(expected: int, sequence: int) -> int:
    """How far ahead of the expected a sequence number is, negative behind, over the wrap."""
    ahead = (sequence - expected) % 0xFFFFFFFF
    return ahead if ahead < 2**31 else ahead - 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Mark:
    """One subscription at one server. All must be the same again, or its messages would be given to wrong points."""

    settings: str
    """Fingerprint of the endpoint and the points."""
    started: int
    """When the server says it was started: after another start the same number may be someone else's subscription."""
    subscription: int


class Receipts:
    """Of one adapter, over all its connections."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.mark: Mark | None = None
        """None where nothing can be taken over."""
        self.subscription = 0
        self.handed = self.delivered = 0
        """The last message given to the reader, and the last one the stream has; 0 for none."""
        self.acknowledge: list[int] = []
        """What the next Publish request may tell the server."""
        self.refused_to: str | None = None
        """Settings with which the server refused to hand a subscription over."""
        self.notices: set[int] = set()
        """Numbers of this subscription that its server may have used to tell a session before that it went to another (OPC 10000-4
        section 5.14.7). No value is in them, and nobody keeps them."""
        self._open: deque[tuple[int, bool]] = deque()
        """Messages the stream does not have yet, in order, and whether they have readings."""
        self._is_loaded = False

    @property
    def waiting(self) -> bool:
        """Something that came is still on its way into the stream."""
        return bool(self._open)

    @property
    def worth_keeping(self) -> bool:
        """The next connection can take the subscription over, as far as is known."""
        return self.mark is not None and self.mark.settings != self.refused_to

    def begin(self, subscription: int, mark: Mark | None) -> None:
        """A new subscription, or with 0 none."""
        self.subscription, self.mark = subscription, mark
        self.handed = self.delivered = 0
        self.notices.clear()
        self.acknowledge.clear()
        self._open.clear()
        self._write()

    def handed_over(self, agreed: bool) -> None:
        """Whether the server hands subscriptions over: one it does not is deleted at the end of a connection, not kept."""
        self.refused_to = None if agreed or self.mark is None else self.mark.settings

    def resume(self) -> None:
        """A new connection: what was not handed on was forgotten with the one before, and is to be asked for again."""
        if not self._is_loaded:
            self._load()
        self.acknowledge.clear()
        while self._open and distance(self.handed, self._open[-1][0]) > 0:
            self._open.pop()

    def came(self, sequence: int, has_readings: bool) -> None:
        """A message; one that brought no reading is done when those before it are."""
        self._open.append((sequence, has_readings))
        if not has_readings and len(self._open) == 1:
            self._settle()

    def hand(self, receipt: Receipt) -> None:
        """Its readings go to the reader now."""
        if receipt[0] == self.subscription:
            self.handed = receipt[1]

    def stored(self, receipt: Receipt) -> None:
        """The stream has every reading up to and with this message."""
        if receipt[0] != self.subscription:
            return
        while self._open and distance(receipt[1], self._open[0][0]) <= 0:
            self._done()
        self._settle()

    def _settle(self) -> None:
        while self._open and not self._open[0][1]:
            self._done()
        self._write()

    def _done(self) -> None:
        self.delivered = self._open.popleft()[0]
        if distance(self.handed, self.delivered) > 0:
            self.handed = self.delivered
        self.acknowledge.append(self.delivered)

    def _load(self) -> None:
        """A mark that cannot be read is none: then the subscription is simply made anew."""
        self._is_loaded = True
        if self._file is None:
            return
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found = json.loads(self._file.read_text())
            self.refused_to = found.pop("refused_to", None)
            delivered = int(found.pop("delivered"))
            mark = Mark(str(found["settings"]), int(found["started"]), int(found["subscription"]))
            self.mark, self.subscription, self.handed, self.delivered = mark, mark.subscription, delivered, delivered

    def _write(self) -> None:
        if self._file is None:
            return
        told: dict[str, object] = {**asdict(self.mark), "delivered": self.delivered} if self.mark else {}
        if self.refused_to is not None:
            told["refused_to"] = self.refused_to
        text = json.dumps(told) if told else ""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, text.encode().ljust(_LENGTH), 0)
            finally:
                os.close(descriptor)
        except OSError as wrong:
            _log.warning("%s cannot be written (%s): a crash of this process may lose readings", self._file, wrong)
            self._file = None
