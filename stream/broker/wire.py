"""One connection for requests that aiokafka has no call for, with a deadline on each, and the question whether anybody answers at all.

Frames and correlates; what is asked stands in requests.py. Plain TCP on loopback: a broker with TLS or SASL is only asked by
aiokafka's own clients.
"""

from __future__ import annotations

import asyncio
import io
import struct
from types import TracebackType
from typing import Any, Self

API_VERSIONS = struct.pack(">hhi", 18, 0, 1) + struct.pack(">h", 11) + b"streamforge"
"""ApiVersions v0 with request header v1: the one request every broker understands, even before a login."""
LARGEST_ANSWER = 16 * 2**20


def split(bootstrap: str) -> list[tuple[str, int]]:
    """Every `host:port` of a list with commas; ValueError says what would be right."""
    return [_host_and_port(one.strip()) for one in bootstrap.split(",")]


def _host_and_port(one: str) -> tuple[str, int]:
    host, _, port = one.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"bootstrap {one!r} is not host:port, as kafka.example:9092")
    return host.strip("[]"), int(port)


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """One answer without its length. ConnectionError for a length no broker sends."""
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    if not 4 <= length <= LARGEST_ANSWER:
        raise ConnectionError(f"the answer claims to have {length} bytes: this is no Kafka")
    return await reader.readexactly(length)


async def answers(host: str, port: int, within_s: float) -> str | None:
    """Ask ApiVersions on a new connection; None when a broker answered within the time, else what went wrong in words."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(framed(API_VERSIONS))
                await writer.drain()
                body = await read_frame(reader)
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"no answer within {within_s:g} s"
    except asyncio.IncompleteReadError:
        return "the connection was closed without an answer"
    except ConnectionRefusedError:
        return "nobody listens there"
    except OSError as error:
        return str(error)
    correlation, code = struct.unpack(">ih", body[:6]) if len(body) >= 6 else (None, None)
    return (
        None
        if (correlation, code) == (1, 0)
        else f"the answer is not Kafka's (correlation {correlation}, error {code})"
    )


async def silence(bootstrap: str, within_s: float) -> str | None:
    """None as soon as one `host:port` of the list answers; else what is wrong with each, in words."""
    told = []
    for host, port in split(bootstrap):
        wrong = await answers(host, port, within_s)
        if wrong is None:
            return None
        told.append(f"Kafka at {host}:{port} does not answer: {wrong}")
    return "; ".join(told)


class Wire:
    """One connection: `async with Wire(host, port, within_s) as wire: answer = await wire.ask(request)`. One question at a time.

    TimeoutError, OSError or asyncio.IncompleteReadError: the connection is of no use any more.
    """

    def __init__(self, host: str, port: int, within_s: float) -> None:
        self._host, self._port, self._within_s = host, port, within_s
        self._correlation = 0

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._within_s):
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    async def ask(self, request: Any) -> Any:
        """Send an aiokafka request struct; the decoded answer as plain dicts and lists."""
        self._correlation += 1
        header = request.build_request_header(self._correlation, "streamforge")
        async with asyncio.timeout(self._within_s):
            self._writer.write(framed(header.encode() + request.encode()))
            await self._writer.drain()
            body = await read_frame(self._reader)
        return decode(request, self._correlation, body)


def decode(request: Any, correlation: int, body: bytes) -> Any:
    """An answer's bytes to dicts and lists; ConnectionError when it is not the answer to this request."""
    (answered,) = struct.unpack(">i", body[:4])
    if answered != correlation:
        raise ConnectionError(f"answer {answered} came to question {correlation}")
    buffer = io.BytesIO(body)
    try:
        request.parse_response_header(buffer)
        return request.RESPONSE_TYPE.decode(buffer).to_object()
    except (ValueError, struct.error) as error:
        raise ConnectionError(f"the answer to {type(request).__name__} cannot be read: {error}") from error
