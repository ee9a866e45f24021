"""Which messages of QoS 1 and 2 the local stream has, and what may therefore be acknowledged. Pure; sends nothing itself.

A message is acknowledged (PUBACK, for QoS 2 PUBREC) when it is stored and every message before it is: the standards demand the
order in which they came. After PUBREC the broker forgets the message, so it must not be sent a moment earlier; paho sends it on arrival
even with manual_ack, which loses messages when the process dies (paho issue 382).

While the process lives nothing comes twice: what was handed on, stored yet or not, is known again when the broker repeats it after a reconnect, and
only acknowledged. This trusts that every batch handed on is stored unless the process dies. After a crash this memory is gone, and the
validator's duplicate rule takes over.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocols.mqtt.frames import Publish

REMEMBERED_MOST: Final = 65535
"""As many as there are packet ids."""

Fingerprint = tuple[bytes, int, int]


@dataclass(slots=True, eq=False)
class Ticket:
    """One message that waits for its acknowledgement."""

    packet_id: int
    qos: int
    mark: Fingerprint
    epoch: int
    session: int
    stored: bool = False
    handed: bool = False
    """In a batch: it will be stored, or the process dies."""


@dataclass(frozen=True, slots=True)
class Ack:
    """To be sent: PUBACK for QoS 1, PUBREC for QoS 2."""

    packet_id: int
    qos: int


class Ledger:
    def __init__(self) -> None:
        self.epoch = self.session = 0
        """How many connections and sessions there were."""
        self.waiting: deque[Ticket] = deque()
        self.unconfirmed: OrderedDict[int, tuple[Fingerprint, int]] = OrderedDict()
        """Packet id to what was stored under it and a serial number, oldest first, where the broker may not have our acknowledgement."""
        self.serial = 0
        self.asked: int | None = None
        self.handed: dict[int, Ticket] = {}
        """Packet id to what an older connection of this session brought and the stream does not have yet."""

    def connected(self, *, session_present: bool) -> None:
        """A new connection: acknowledgements of the old one are void, what was stored stays known if the broker kept the session."""
        self.epoch += 1
        self.asked = None
        for ticket in self.waiting:
            if ticket.stored:
                self._remember(ticket)
            elif ticket.handed:
                self.handed[ticket.packet_id] = ticket
        self.waiting.clear()
        if not session_present:
            self.session += 1
            self.unconfirmed.clear()
            self.handed.clear()

    def came(self, message: Publish) -> Ticket | None:
        """A message of QoS 1 or 2; None when it was handed on before and only the acknowledgement (`due`) is still owed."""
        mark = (message.topic, message.length, hash(message.payload))
        under_way = self.handed.pop(message.packet_id, None)
        if under_way and message.dup and under_way.mark == mark:
            under_way.epoch = self.epoch
            self.waiting.append(under_way)
            return None
        before = self.unconfirmed.pop(message.packet_id, None)
        known = message.dup and before is not None and before[0] == mark
        ticket = Ticket(message.packet_id, message.qos, mark, self.epoch, self.session, stored=known)
        self.waiting.append(ticket)
        return None if ticket.stored else ticket

    def hand(self, ticket: Ticket) -> None:
        """Its message goes into a batch now."""
        ticket.handed = True

    def stored(self, tickets: Iterable[Ticket]) -> None:
        """The stream has these. Those of an older connection are remembered for when the broker sends them again."""
        for ticket in tickets:
            ticket.stored = True
            if ticket.epoch != self.epoch and ticket.session == self.session:
                self.handed.pop(ticket.packet_id, None)
                self._remember(ticket)

    def due(self) -> list[Ack]:
        """What may be acknowledged now, in order. Each is returned once: send it."""
        acks = []
        while self.waiting and self.waiting[0].stored:
            ticket = self.waiting.popleft()
            self._remember(ticket)
            acks.append(Ack(ticket.packet_id, ticket.qos))
        return acks

    def released(self, packet_id: int) -> None:
        """PUBREL: the broker has our PUBREC, the id may mean something new. PUBCOMP is due at once, also for an id of a time before a crash."""
        self.unconfirmed.pop(packet_id, None)

    def ping(self) -> None:
        """A PINGREQ goes out now."""
        if self.asked is None:
            self.asked = self.serial

    def pong(self) -> None:
        """PINGRESP: the broker has read everything we sent before the question, so those packet ids may mean something new."""
        while self.unconfirmed and self.asked is not None:
            if self.unconfirmed[next(iter(self.unconfirmed))][1] > self.asked:
                break
            self.unconfirmed.popitem(last=False)
        self.asked = None

    def _remember(self, ticket: Ticket) -> None:
        self.unconfirmed.pop(ticket.packet_id, None)
        self.serial += 1
        self.unconfirmed[ticket.packet_id] = ticket.mark, self.serial
        if len(self.unconfirmed) > REMEMBERED_MOST:
            self.unconfirmed.popitem(last=False)
