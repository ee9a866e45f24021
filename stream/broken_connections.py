"""Two errors of aiokafka 0.14 when a connection breaks, put right where they arise.

A background task of aiokafka (fetching, sending, looking for the leaders) lives through the errors that are Kafka's own and ends by any
other, and then its consumer or producer waits for ever. Two others occur when a broker is killed or does not answer:

- uvloop raises RuntimeError for a write to a connection that was reset a moment ago; asyncio's own loop, for which aiokafka was
  written, says nothing and lets the reader find out.
- When two requests expire together, the second finds no connection to close: KeyError.

Both become what they are, a lost connection, after which aiokafka tries again. Not responsible for tasks that end all the same (flow.py).
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_write = AIOKafkaConnection.send
_ask = AIOKafkaClient.send


@wraps(_write)
def _send_or_broken(connection: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return _write(connection, *args, **kwargs)
    except RuntimeError as closed:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"connection to {connection.host}:{connection.port} broken: {closed}") from closed


@wraps(_ask)
async def _ask_or_broken(client: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return await _ask(client, *args, **kwargs)
    except KeyError as gone:
        raise KafkaConnectionError(f"the connection {gone} was closed meanwhile") from gone


def apply() -> None:
    """May be called again."""
    AIOKafkaConnection.send = _send_or_broken
    AIOKafkaClient.send = _ask_or_broken
