"""One connection for requests that aiokafka has no call for, with a deadline on each: is the broker answering, which transactions are open.

Frames and correlates; the requests themselves are aiokafka structs, here only the one that asks whether anybody is there.
"""

from __future__ import annotations

import asyncio
import struct

API_VERSIONS = struct.pack(">hhi", 18, 0, 1) + struct.pack(">h", 11) + b"streamforge"
"""ApiVersions v0 with request header v1: the one request every broker understands."""
LARGEST_ANSWER = 16 * 2**20


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """One answer without its length. ConnectionError for a length no broker sends."""
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    if not 4 <= length <= LARGEST_ANSWER:
        raise ConnectionError(f"the answer claims to have {length} bytes: this is no Kafka")
    return await reader.readexactly(length)


async def answers(host: str, port: int, within_s: float) -> str | None:
    """Ask ApiVersions; None when a broker answered within the time, else what went wrong in words."""
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
    except OSError as error:
        return str(error.strerror or error)
    correlation, code = struct.unpack(">ih", body[:6])
    return None if (correlation, code) == (1, 0) else f"an answer that is not Kafka's (correlation {correlation}, error {code})"


def split(bootstrap: str) -> tuple[str, int]:
    """`host:port` (the first of a list) to its parts; ValueError says what would be right."""
    first = bootstrap.split(",", 1)[0].strip()
    host, _, port = first.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"bootstrap {bootstrap!r} is not host:port")
    return host.strip("[]"), int(port)


