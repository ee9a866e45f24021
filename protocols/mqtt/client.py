"""One connection to a broker, from TCP to DISCONNECT, on asyncio; used once, then thrown away.

paho packs and unpacks the packets (engine.py); the socket, TLS, time and order are ours, because paho's own connect blocks, its network
thread reads without a bound, and its QoS 2 acknowledges before anything is stored. Reconnecting is the caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import time
from typing import Any, Final, cast

from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from protocols.contract import NotConnected
from protocols.mqtt import tls, words
from protocols.mqtt.config import MqttConfig
from protocols.mqtt.engine import Engine, Pipe
from protocols.mqtt.frames import PUBREL, Malformed, Publish, Splitter
from protocols.mqtt.inbox import Inbox
from protocols.mqtt.ledger import Ledger
from protocols.mqtt.mapping import Message
from protocols.mqtt.watch import Watch

CONNACK: Final = 2
PINGRESP: Final = 13
CLOSE_S: Final = 1.0
"""How long an orderly end may take."""
TAKEN_OVER: Final = "Session taken over"
ID_IN_USE: Final = "Packet identifier in use"
SUBSCRIBE_TRIES: Final = 5


class Connection(asyncio.Protocol):
    """Fills the inbox, keeps the ledger. `lost` is set when it is over; the inbox then says why."""

    def __init__(self, config: MqttConfig, inbox: Inbox, ledger: Ledger, *, known: bool = False) -> None:
        self.config, self.inbox, self.ledger = config, inbox, ledger
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.pipe = Pipe(self._write, self._shut)
        self.engine = Engine(config, self.pipe)
        self.engine.on_connect, self.engine.on_subscribe, self.engine.on_disconnect = (
            self._on_connect,
            self._on_subscribe,
            self._on_disconnect,
        )
        self.splitter = Splitter(5 if config.version == "5" else 4, config.max_payload)
        self.accepted: asyncio.Future[None] = self.loop.create_future()
        self.subscribed: asyncio.Future[None] = self.loop.create_future()
        self.gone = asyncio.Event()
        self.accepted_at: float | None = None
        self.keepalive: float = config.keepalive
        self.heard = self.spoke = self.loop.time()
        self.arrived = 0
        self.timer: asyncio.TimerHandle | None = None
        self.watch = Watch(self._ping, self._unacknowledged)
        self.pings = self.pongs = 0
        self.unreleased: set[int] = set()
        """Packet ids of QoS 2 that the broker still counts, between PUBREC and PUBREL."""
        self.paused = self.closing = False
        self.released = asyncio.Event()
        """While closing: no exchange of QoS 2 is half done any more."""
        self.taken_over = self.by_broker = self.session_present = False
        self.known = known
        """This broker has let us in before."""
        self.keeps_s: int | None = None
        """How long the broker keeps the session, where that is less than it was asked for."""
        self.subscribing = 0
        """How often we have sent SUBSCRIBE."""
        self.refused_filters: list[tuple[str, str]] = []
        """Topic filter, and what the broker does not do about it."""
        self.counters: dict[str, float] = {}

    # The start

    async def open(self) -> None:
        """Connect, be accepted, subscribe. Raises NotConnected or BadConfig; `abort` is then the caller's to call."""
        config = self.config
        secure = tls.context(config.tls) if config.tls else None
        where = f"{config.host}:{config.real_port}"
        stage = "connecting"
        try:
            async with asyncio.timeout(config.connect_timeout):
                await self._dial(secure)
                stage = "waiting for CONNACK"
                self._greet()
                await self.accepted
                stage = "waiting for SUBACK"
                self._subscribe()
                await self.subscribed
        except TimeoutError as wrong:
            said = words.unreachable(wrong) if stage == "connecting" else f"{words.mute(self.known)} ({stage})"
            raise NotConnected(f"MQTT broker {where}: {said}") from None
        except OSError as wrong:
            raise NotConnected(f"MQTT broker {where}: {words.unreachable(wrong)}") from wrong

    async def _dial(self, secure: ssl.SSLContext | None) -> None:
        more = {"ssl_handshake_timeout": self.config.connect_timeout, "ssl_shutdown_timeout": CLOSE_S} if secure else {}
        await self.loop.create_connection(
            lambda: self,
            self.config.host,
            self.config.real_port,
            ssl=secure,
            server_hostname=self.config.host if secure else None,
            **cast("dict[str, Any]", more),
        )

    def _greet(self) -> None:
        config, five = self.config, self.config.version == "5"
        properties = None
        if five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.ReceiveMaximum = config.receive_maximum
            properties.SessionExpiryInterval = _expiry(config)
        self.engine.connect_async(
            config.host,
            config.real_port,
            math.ceil(config.keepalive),
            clean_start=config.session == "clean" if five else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        self.engine.reconnect()

    def _subscribe(self) -> None:
        """Every time, also into a kept session: a broker that came back from an old backup may know the session and not the filters."""
        self.subscribing += 1
        self.engine.jump()
        if self.config.version == "5":
            self.engine.subscribe(
                [(one.topic, _options(one.qos, one.retained, self.config.session)) for one in self.config.subscriptions]
            )
        else:
            self.engine.subscribe([(one.topic, one.qos) for one in self.config.subscriptions])

    # What paho unpacked

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            said = words.refused(str(reason), self.config.real_client_id, self.config.version)
            self._lose(f"the broker {said}{words.told(properties)}")
            return
        self.session_present = bool(flags.session_present)
        self.ledger.connected(session_present=flags.session_present)
        self.accepted_at = self.loop.time()
        self.keepalive = min(
            self.config.keepalive, getattr(properties, "ServerKeepAlive", None) or self.config.keepalive
        )
        kept = getattr(properties, "SessionExpiryInterval", None)
        self.keeps_s = kept if kept is not None and kept < _expiry(self.config) else None
        self._tick()
        if any(one.time == "arrival" for one in self.config.subscriptions):
            self.watch.start(session_present=flags.session_present)
        if not self.accepted.done():
            self.accepted.set_result(None)

    def _on_subscribe(self, _client: Any, _data: Any, _packet_id: int, reasons: Any, _properties: Any) -> None:
        asked = self.config.subscriptions
        if self.subscribing < SUBSCRIBE_TRIES and any(str(reason) == ID_IN_USE for reason in reasons):
            self._subscribe()
            return
        for one, reason in zip(asked, reasons, strict=False):
            if reason.is_failure:
                self.refused_filters.append((one.topic, f"the broker refuses the subscription: {reason}"))
            elif reason.value < one.qos:
                self.refused_filters.append((one.topic, f"the broker grants only QoS {reason.value} of {one.qos}"))
        if sum(reason.is_failure for reason in reasons) >= len(asked):
            self._lose("; ".join(map(str, words.alike(self.refused_filters))))
        elif not self.subscribed.done():
            self.subscribed.set_result(None)

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.taken_over = str(reason) == TAKEN_OVER
        self.by_broker = not flags.is_disconnect_packet_from_server
        if flags.is_disconnect_packet_from_server:
            self._lose(words.lost(str(reason), self.config.real_client_id) + words.told(properties))
        elif self.accepted_at is None and self.config.version == "3.1.1":
            self._lose(f"the broker {words.refused('Unsupported protocol version', '', '3.1.1')}")
        else:
            self._lose("the broker sent what is no MQTT")

    # The socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        line = transport.get_extra_info("socket")
        if line is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # While back-pressure keeps us from reading, an answer can not be missed: then unconfirmed pings must end a dead line.
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.keepalive * 2000))

    def data_received(self, data: bytes) -> None:
        if self.closing:
            self._release(data)
            return
        self.heard = self.loop.time()
        # Messages that come together count on: with `time: arrival` two at one moment would be one reading.
        self.arrived = max(time.time_ns() // 1000, self.arrived)
        try:
            if self.accepted_at is None and not self.splitter.buffer and data[0] >> 4 != CONNACK:
                raise Malformed(f"{data[:20]!r} instead of CONNACK; does this port speak MQTT?")
            for packet in self.splitter.feed(data):
                if isinstance(packet, Publish):
                    self.arrived += 1
                    self._publish(packet, self.arrived)
                else:
                    self._other(packet)
        except Malformed as wrong:
            self._lose(f"the broker sent what is no MQTT: {wrong}")
        if self.inbox.full and not self.paused and self.transport:
            self.paused = True
            self._count("paused_total")
            self.transport.pause_reading()
            # A flood may stand before the SUBACK; what it says is then seen later.
            if self.accepted.done() and not self.subscribed.done():
                self.subscribed.set_result(None)
        self.acknowledge()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self.by_broker = self.by_broker or self.inbox.end is None
        if self.accepted_at is None:
            said = words.unreachable(exc or ConnectionResetError())
        elif isinstance(exc, ssl.SSLError):
            said = words.alert(exc)
        else:
            said = f"the broker ended the connection{f' ({exc})' if exc else ''}"
        self._lose(said)

    def _publish(self, packet: Publish, arrived: int) -> None:
        self._count("messages_total")
        ticket = None
        doubt = self.watch.doubt()
        if packet.qos:
            if self.session_present and not self.subscribed.done():
                # rumqttd answers nothing more, SUBSCRIBE neither, until what it kept is acknowledged; its answer is then seen later.
                self.subscribed.set_result(None)
            ticket = self.ledger.came(packet)
            self.watch.message()
            if ticket is None:
                self._count("repeated_total")
                return
        self.inbox.put(
            Message(
                packet.topic,
                packet.payload,
                arrived,
                packet.length,
                packet.qos,
                packet.retain,
                packet.dup,
                packet.packet_id,
                doubt,
            ),
            ticket,
        )

    def _other(self, packet: bytes) -> None:
        kind = packet[0] >> 4
        if kind == PUBREL and len(packet) >= 4:
            packet_id = int.from_bytes(packet[2:4], "big")
            self.ledger.released(packet_id)
            self.unreleased.discard(packet_id)
            self.engine.ack(packet_id, 2)
            return
        if kind == PINGRESP:
            self.ledger.pong()
            self.pongs += 1
            self.watch.answered(self.pongs)
        self.engine.take(packet)

    def _release(self, data: bytes) -> None:
        """Closing: only PUBREL counts. Without its PUBCOMP some brokers send the whole message again."""
        with contextlib.suppress(Malformed):
            for packet in self.splitter.feed(data) if self.unreleased else []:
                if isinstance(packet, bytes) and packet[0] >> 4 == PUBREL:
                    self._other(packet)
        if not self.unreleased:
            self.released.set()

    # From the adapter

    def acknowledge(self) -> None:
        """Send what the ledger says is due."""
        if self.gone.is_set() or self.inbox.end is not None or self.accepted_at is None:
            return
        for ack in self.ledger.due():
            if ack.qos == 1:
                self.engine.ack(ack.packet_id, 1)
            else:
                self.engine.pubrec(ack.packet_id)
                self.unreleased.add(ack.packet_id)

    def resume(self) -> None:
        """Read the socket again, once there is room."""
        if self.paused and self.inbox.has_room and self.transport and not self.gone.is_set():
            self.paused = False
            self.heard = self.loop.time()
            self.transport.resume_reading()

    async def close(self) -> None:
        """End what QoS 2 has begun, DISCONNECT, then wait until the broker ends the connection. Never raises.

        Closing at once could reset the connection, with what comes in unread, and the broker would lose our last acknowledgements.
        """
        if self.transport is None or self.gone.is_set() or self.accepted_at is None or self.inbox.end is not None:
            self.abort()
            return
        self.closing = True
        self.watch.stop()
        self.inbox.finish("closed")
        if self.paused:
            self.transport.resume_reading()
        if self.unreleased:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self.released.wait()
            self.unreleased.clear()
        self.engine.disconnect()
        self.pipe.flush()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.gone.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        self._lose("closed")
        if self.transport:
            self.transport.abort()

    # Time

    def _tick(self) -> None:
        """Four times each keepalive: ask a silent broker, give up one that stays silent. While we do not read, silence means nothing."""
        now = self.loop.time()
        if self.gone.is_set() or self.inbox.end is not None:
            return
        if self.paused:
            self.heard = now
        if now - self.heard >= self.keepalive:
            self._lose(f"the broker said nothing for {self.keepalive:g} s, though asked")
            if self.transport:
                self.transport.abort()
            return
        if now - self.heard >= self.keepalive / 4 or now - self.spoke >= self.keepalive / 4:
            self._ping()
        self.timer = self.loop.call_later(self.keepalive / 4, self._tick)

    def _unacknowledged(self) -> int:
        return len(self.ledger.waiting) + len(self.unreleased)

    def _ping(self) -> int:
        """Its number; the answers come in order."""
        self.spoke = self.loop.time()
        self.pings += 1
        self.ledger.ping()
        self.engine.ping()
        return self.pings

    def _lose(self, reason: str) -> None:
        """It is over; the first reason counts."""
        said = f"MQTT broker {self.config.host}:{self.config.real_port}: {reason}"
        self.inbox.finish(said)
        self.watch.stop()
        if self.timer:
            self.timer.cancel()
        for waiting in (self.accepted, self.subscribed):
            if not waiting.done():
                waiting.set_exception(NotConnected(said))
                waiting.exception()
        self._shut()

    def _write(self, data: bytes) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.write(data)

    def _shut(self) -> None:
        if self.transport and not self.transport.is_closing() and not self.closing:
            self.transport.close()

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def _expiry(config: MqttConfig) -> int:
    """How long the broker is asked to keep the session, in seconds."""
    return min(math.ceil(config.session_expiry), 2**32 - 2) if config.session == "persistent" else 0


def _options(qos: int, retained: str, session: str) -> SubscribeOptions:
    """Retained messages: never (2); for what a kept session queues anyway only with a new subscription (1); else each time (0)."""
    handling = 2 if retained == "ignore" else 1 if qos and session == "persistent" else 0
    return SubscribeOptions(qos=qos, retainHandling=handling)
