"""Messages that came and were not read yet: bounded in number and bytes. Full means: the socket is not read until half of it is gone.

So nothing is dropped here. What the broker does meanwhile is its own rule: it keeps QoS 1 and 2, and of QoS 0 drops what it cannot send.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from protocols.mqtt.ledger import Ticket
from protocols.mqtt.mapping import Message

OVERHEAD: Final = 300
"""Bytes a message costs besides topic and payload."""
TOGETHER_US: Final = 100_000
"""Messages that came within this time make one batch, which has one gateway time."""


class Inbox:
    def __init__(self, messages_most: int, octets_most: int) -> None:
        self.messages_most, self.octets_most = messages_most, octets_most
        self.messages: deque[tuple[Message, Ticket | None]] = deque()
        self.octets = 0
        self.changed = asyncio.Event()
        self.end: str | None = None
        """Why nothing more comes."""

    @property
    def full(self) -> bool:
        return len(self.messages) >= self.messages_most or self.octets >= self.octets_most

    @property
    def has_room(self) -> bool:
        return len(self.messages) <= self.messages_most // 2 and self.octets <= self.octets_most // 2

    def put(self, message: Message, ticket: Ticket | None) -> None:
        self.messages.append((message, ticket))
        self.octets += _size(message)
        self.changed.set()

    def finish(self, reason: str) -> None:
        """Nothing more comes; what is here can still be read. The first reason counts."""
        self.end = self.end or reason
        self.changed.set()

    async def wait(self) -> None:
        """Until there is a message, or the end."""
        await self.changed.wait()

    def take(self, most: int) -> list[tuple[Message, Ticket | None]]:
        """The oldest messages that came together."""
        taken: list[tuple[Message, Ticket | None]] = []
        while self.messages and len(taken) < most:
            message = self.messages[0][0]
            if taken and message.arrived - taken[0][0].arrived > TOGETHER_US:
                break
            taken.append(self.messages.popleft())
            self.octets -= _size(message)
        if not self.messages and self.end is None:
            self.changed.clear()
        return taken


def _size(message: Message) -> int:
    return OVERHEAD + len(message.topic) + len(message.payload)
