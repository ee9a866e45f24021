"""The MQTT adapter: three verbs around one connection (client.py) and the mapping (mapping.py).

A message is acknowledged to the broker in `Batch.delivered`, not before. What the broker sends again is given again unless this
process is sure that the stream has it (ledger.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from protocols.advice import advised, advising
from protocols.contract import Adapter, Batch, Cause, Health, NotConnected, Point, Reading, Reject
from protocols.mqtt.client import Connection
from protocols.mqtt.config import MqttConfig
from protocols.mqtt.contest import Contest
from protocols.mqtt.inbox import Inbox
from protocols.mqtt.ledger import Ledger, Ticket
from protocols.mqtt.mapping import Mapper, Message
from protocols.mqtt.steps import STEPS
from protocols.mqtt.unusable import Unusable, shown
from protocols.mqtt.words import alike

BATCH_MESSAGES: Final = 2000
DEAF_AFTER_S: Final = 60.0
"""Without any message since the start."""
FORGOTTEN_AFTER_S: Final = 5.0
"""Silence after a broker hung, until it is asked anew."""


class MqttAdapter(Adapter):
    """One session with one broker."""

    version = "1.0.0"

    def __init__(self, config: MqttConfig) -> None:
        self.config = config
        self.mapper = Mapper(config)
        self.ledger = Ledger()
        self.contest = Contest()
        self.inbox: Inbox | None = None
        self.connection: Connection | None = None
        self.retained: dict[bytes, int] = {}
        """Topic to a hash of its last payload: the broker repeats retained messages with each subscription."""
        self.counters: dict[str, float] = {}
        self.stranger: str | None = None
        self.unusable = Unusable()
        self.deaf_since: float | None = None
        """When the first connection came about (monotonic seconds), as long as no message ever came."""
        self.heard = False
        self.known = False
        """The broker has let us in before."""
        self.had_session = self.lost_session = False

    async def connect(self) -> None:
        with advising(STEPS, self._named):
            await self._connect()

    async def _connect(self) -> None:
        if wait_s := self.contest.wait_s(time.monotonic()):
            raise NotConnected(f"{self.contest.said} (staying away for another {wait_s:.0f} s)")
        await self.close()
        self.inbox = Inbox(self.config.buffer_messages, self.config.buffer_size)
        self.connection = connection = Connection(self.config, self.inbox, self.ledger, known=self.known)
        try:
            await connection.open()
        except BaseException as wrong:
            self.connection = None  # its end counts once, though the caller closes us, too
            if connection.accepted.cancelled():
                self.contest.unanswered()
            ours = self._ours(connection)
            self._over(connection)
            connection.abort()
            if ours is not None:
                raise NotConnected(ours) from wrong
            raise
        self.known = True
        self._look_at_session(connection)
        if not self.heard and self.deaf_since is None:
            self.deaf_since = time.monotonic()

    @property
    def _named(self) -> dict[str, object]:
        """What steps may name."""
        config = self.config
        return {
            "host": config.host,
            "port": config.real_port,
            "user": config.user or "(none)",
            "client_id": repr(config.real_client_id),
        }

    async def read(self) -> Batch:
        with advising(STEPS, self._named):
            return await self._read()

    async def _read(self) -> Batch:
        if self.inbox is None or self.connection is None:
            raise NotConnected(f"MQTT broker {self.config.host}:{self.config.real_port}: not connected")
        while True:
            if not await self._message(self.inbox):
                continue
            if self.inbox.end is None and self.config.linger:
                await asyncio.sleep(self.config.linger)
            taken = self.inbox.take(BATCH_MESSAGES)
            if not taken:
                raise NotConnected(self._ours(self.connection) or self.inbox.end or "not connected")
            batch = self._batch(taken)
            self.connection.resume()
            if batch.readings or batch.rejects:
                return batch
            batch.delivered()

    async def _message(self, inbox: Inbox) -> bool:
        """Wait for one; False if it is another connection now that is to be waited on.

        A broker that hung may take an attempt of that time for the newer connection, and send nothing over the one that stands (seen
        with mochi): after a silence we connect once more, and are the newest.
        """
        try:
            async with asyncio.timeout(FORGOTTEN_AFTER_S if self.contest.ghosts else None):
                await inbox.wait()
        except TimeoutError:
            self.contest.ghosts = 0
            self._count("connected_anew_total")
            await self._connect()
            return False
        return True

    def _ours(self, connection: Connection) -> str | None:
        """That it was no other client who took the session over."""
        if not (connection.taken_over and self.contest.ghosts):
            return None
        where = f"MQTT broker {self.config.host}:{self.config.real_port}"
        return f"{where}: an attempt of this gateway to connect, which the broker reads only now that it goes on, took the session over"

    async def close(self) -> None:
        if self.connection is None or self.inbox is None:
            return
        connection, self.connection = self.connection, None
        self._over(connection)
        lost = sum(message.qos == 0 for message, _ in self.inbox.messages)
        self._count("unread_at_close_total", lost)
        self.inbox = None
        await connection.close()

    def points(self) -> list[Point]:
        return self.mapper.points()

    def health(self) -> Health:
        said: list[str] = []
        counters = dict(self.counters)
        if self.connection:
            for name, value in self.connection.counters.items():
                counters[name] = counters.get(name, 0) + value
            if self.connection.paused:
                said.append(
                    "the local stream is slower than the broker: the socket is not read, the broker queues or drops by its own rules"
                )
        if self.config.tls and not self.config.tls.verify:
            said.append("tls.verify is off: whoever is on the wire can read and change everything")
        if self.lost_session:
            said.append(
                "the broker had forgotten the session at the last connection: what was published meanwhile is lost; "
                "look at `session_expiry`, and at the broker's own limits and persistence"
            )
        if self.connection and self.connection.keeps_s is not None and (self.lost_session or self._names_expiry):
            said.append(
                f"the broker keeps the session only for {self.connection.keeps_s} s and not for the "
                f"{self.config.session_expiry:g} s that it was asked for: what is published while the gateway is away "
                "for longer is lost"
            )
        if self.stranger:
            said.append(
                f"{self.stranger} fits no subscription: the broker's session still has an older one; set `session: clean` once"
            )
        if len(self.mapper.known) >= self.config.max_points:
            said.append(f"max_points ({self.config.max_points}) is reached: messages that name more are rejected")
        filters = alike(self.connection.refused_filters) if self.connection else []
        found = [*filters, *map(Cause, said), *self._deaf(), *self.unusable.causes(time.monotonic())]
        return Health(advised(found, STEPS, self._named), counters)

    @property
    def _names_expiry(self) -> bool:
        """Whether somebody wants this time; our default is more than many brokers grant, and no trouble yet."""
        return "session_expiry" in self.config.model_fields_set

    def _deaf(self) -> Iterator[Cause]:
        """A misspelt topic is no mistake to a broker."""
        if self.connection and self.deaf_since is not None and time.monotonic() - self.deaf_since >= DEAF_AFTER_S:
            topics = tuple(one.topic for one in self.config.subscriptions)
            yield Cause("no message has come since the connection stands", topics, what="topics")

    def _look_at_session(self, connection: Connection) -> None:
        """Whether the broker forgot what it was to keep for us."""
        self.lost_session = self.had_session and not connection.session_present
        self._count("sessions_lost_total", self.lost_session)
        self.had_session = self.config.session == "persistent"

    def _batch(self, taken: list[tuple[Message, Ticket | None]]) -> Batch:
        readings: list[Reading] = []
        rejects: list[Reject] = []
        tickets: list[Ticket] = []
        self.heard, self.deaf_since = True, None
        for message, ticket in taken:
            if ticket:
                self.ledger.hand(ticket)
                tickets.append(ticket)
            if self._repeated(message):
                self._count("retained_repeated_total")
                continue
            self._count("redelivered_total", message.dup)
            mapped = self.mapper.map(message)
            readings += mapped.readings
            rejects += mapped.rejects
            self.unusable.note(message.topic, mapped.rejects, time.monotonic())
            if mapped.unmatched:
                self._count("unmatched_total")
                self.stranger = shown(message.topic)
        return Batch(readings, taken[0][0].arrived, rejects, partial(self._stored, tickets))

    def _stored(self, tickets: list[Ticket]) -> None:
        """The stream has these; acknowledge what is due, on the connection that stands now."""
        self.ledger.stored(tickets)
        if self.connection:
            self.connection.acknowledge()

    def _repeated(self, message: Message) -> bool:
        """Whether this is a retained message that was the last one seen on its topic anyway."""
        mark = hash((message.payload, message.length))
        known = self.retained.get(message.topic)
        if known is not None or len(self.retained) < self.config.max_points:
            self.retained[message.topic] = mark
        return message.retain and known == mark

    def _over(self, connection: Connection) -> None:
        """Keep what the connection counted, and learn from how it ended."""
        for name, value in connection.counters.items():
            self._count(name, value)
        connection.counters.clear()
        if connection.accepted_at is None or connection.inbox.end is None:
            return
        self.contest.ended(
            time.monotonic(),
            connection.loop.time() - connection.accepted_at,
            connection.inbox.end if connection.taken_over else _suspicion(self.config),
            taken_over=connection.taken_over,
            by_broker=connection.by_broker,
        )

    def _count(self, name: str, n: float = 1) -> None:
        if n:
            self.counters[name] = self.counters.get(name, 0) + n


def _suspicion(config: MqttConfig) -> str:
    return (
        f"MQTT broker {config.host}:{config.real_port}: it ends each connection soon after it stood; "
        f"probably another client uses the client id {config.real_client_id!r} too"
    )
