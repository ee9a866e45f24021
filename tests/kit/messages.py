"""Records as aiokafka hands them over, without a broker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Message:
    offset: int
    value: bytes | None
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"k"


def messages(wires: Iterable[bytes | None]) -> list[Message]:
    """One for each value, offsets from 0."""
    return [Message(offset, wire) for offset, wire in enumerate(wires)]
