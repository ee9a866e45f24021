"""paho as packer and unpacker of packets, without its socket, threads and acknowledgements; and the pipe it takes for a socket.

Four private names of the exactly pinned version are used (`_create_socket`, `_send_pubrec`, `_send_pingreq`, `_last_mid`); a test looks at them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from protocols.mqtt.config import MqttConfig


class Pipe:
    """What paho takes for its socket: whole packets in, packets out to the transport, written once a turn of the loop."""

    def __init__(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self.write, self.shut = write, close
        self.incoming = bytearray()
        self.outgoing = bytearray()

    def recv(self, most: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        data = bytes(self.incoming[:most])
        del self.incoming[:most]
        return data

    def send(self, data: bytes | bytearray) -> int:
        if not self.outgoing:
            asyncio.get_running_loop().call_soon(self.flush)
        self.outgoing += data
        return len(data)

    def flush(self) -> None:
        if self.outgoing:
            self.write(bytes(self.outgoing))
            self.outgoing.clear()

    def close(self) -> None:
        self.flush()
        self.shut()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """Never blocks."""


class Engine(paho.Client):
    """paho as packer and unpacker: takes our pipe for its socket, and sends PUBREC and PINGREQ when we say so."""

    def __init__(self, config: MqttConfig, pipe: Pipe) -> None:
        five = config.version == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            config.real_client_id,
            clean_session=None if five else config.session == "clean",
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.pipe = pipe
        if config.user is not None:
            self.username_pw_set(config.user, config.password.get_secret_value() if config.password else None)

    def _create_socket(self) -> Any:
        return self.pipe

    def jump(self) -> None:
        """Number our own packets from somewhere in the upper half: brokers number theirs from 1, and some (mochi) take the two for one."""
        self._last_mid = random.randrange(2**15, 65000)  # noqa: S311 - no secret

    def take(self, packet: bytes) -> None:
        """One whole packet of the broker."""
        self.pipe.incoming += packet
        self.loop_read()

    def pubrec(self, packet_id: int) -> None:
        self._send_pubrec(packet_id)

    def ping(self) -> None:
        self._send_pingreq()
