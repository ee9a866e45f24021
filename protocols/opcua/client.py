"""asyncua's client with some things changed: its publish loop and its waiting for reconnects are off, answers come as bytes, late
answers do no harm, a server's reason for refusing the channel is not lost, and bytes that are not OPC UA end the connection at once."""

from __future__ import annotations

from struct import Struct
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession

from protocols.opcua import binary
from protocols.opcua.config import OpcUaConfig

_LARGEST_ANSWER = 64 * 2**20
_HEADER = Struct("<3scI")
_KINDS, _CHUNKS = {b"ACK", b"ERR", b"OPN", b"MSG", b"CLO"}, {b"F", b"C", b"A"}


class Session(UaSession):  # type: ignore[misc]
    """asyncua's session, sending what we give it and handing back the bytes."""

    def ensure_publish_loop(self) -> None:
        """Left out: subscription.py sends its own Publish requests, several at a time and each with a deadline."""

    async def raw(self, request: Any, patience: float) -> bytes:
        """`patience` in seconds is also told to the server; 0: for ever."""
        return bytes(await self._send_request(request, patience))


def may_begin(chunk: bytes) -> bool:
    """Whether a chunk of a server may begin with these bytes; too few of them may.

    A chunk shall not be larger than what asyncua says it takes, 65535 bytes; but node-opcua sends 300,000 in one, and it is read.
    """
    if len(chunk) < _HEADER.size:
        return True
    kind, part, size = _HEADER.unpack_from(chunk)
    return kind in _KINDS and part in _CHUNKS and size <= _LARGEST_ANSWER


class _Protocol(UASocketProtocol):  # type: ignore[misc]
    receive_buffer: bytes | None

    def data_received(self, data: bytes) -> None:
        """Not asyncua's patience: it waits for as many bytes as a header names, be it four gigabytes and no header at all."""
        super().data_received(data)
        begun = self.receive_buffer
        if begun and not may_begin(begun):
            self.receive_buffer = None
            self._fail_all_pending(ConnectionError(f"bytes that are not OPC UA came: {begun[:8].hex(' ')}"))
            self.disconnect_socket()

    def _process_received_message(self, message: Any) -> None:
        """Some servers refuse a channel with a ServiceFault, which asyncua takes for a broken OpenSecureChannelResponse."""
        if isinstance(message, ua.Message) and isinstance(message.SecurityHeader(), ua.AsymmetricAlgorithmHeader):
            code = binary.service_fault(bytes(message.body()))
            if code is not None:
                raise ua.UaStatusCodeError(code)
        super()._process_received_message(message)

    def _call_callback(self, request_id: int, body: Any) -> None:
        """An answer nobody waits for any more is passed over: asyncua would end the connection, and with it every point."""
        if request_id in self._callbackmap:
            super()._call_callback(request_id, body)


class _UaClient(UaClient):  # type: ignore[misc]
    def _make_protocol(self) -> Any:
        made = super()._make_protocol()
        made.__class__ = _Protocol  # asyncua has no place to name another class
        return made


def new_client(config: OpcUaConfig) -> tuple[Client, Session]:
    """A client that has done nothing yet, and its session."""
    client = Client(config.endpoint, timeout=config.request_timeout)
    client.uaclient = _UaClient(config.request_timeout)
    client.uaclient.session = session = Session(client.uaclient)
    client.name = client.description = f"StreamForge {config.id}"
    client.product_uri = "urn:streamforge:gateway"
    client.session_timeout = int(config.session_timeout * 1000)
    client.max_messagesize = _LARGEST_ANSWER
    if config.user is not None:
        client.set_user(config.user)
        client.set_password(config.password or "")
    return client, session
