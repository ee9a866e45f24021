"""Dead letters as people read them: what was refused, by whom and why, and what it was: a reading, text, or bytes in hex.

Not responsible for writing them (the components do), nor for which are shown (tail.py, values.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.records import Document, Records
from stream.codec import Codec

SCHEMA = "dead_letter"
SAME_AGAIN = "duplicate"
"""The rule that refuses what is there already: it says nothing of the point."""
OF_SINKS = "data_path/sinks/"


@dataclass(slots=True)
class Message:
    """A record's value as the codec takes it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes


def record_of(codec: Codec, letter: Document) -> Records | Document | None:
    """The refused record; None where it came from a source and never was one, cannot be decoded, or is not there whole."""
    fields = letter.fields
    if fields["partition"] < 0:
        return None
    message = Message(fields["offset"], fields["arrived_at"] // 1000, letter.key, fields["original"])
    found = codec.decode(fields["topic"], fields["partition"], [message])
    if found.records:
        return found.records[0]
    return found.documents[0] if found.documents else None


def is_of_point(letter: Document) -> bool:
    """Whether it says how a point does: who refused a good reading, as a database, says nothing of it."""
    fields = letter.fields
    named = fields["asset_id"] is not None and fields["parameter"] is not None
    return named and fields["rule"] != SAME_AGAIN and not fields["stage"].startswith(OF_SINKS)


def payload(original: bytes) -> dict[str, Any]:
    """`original_text` where it is text that can be shown, else `original_hex`."""
    try:
        text = original.decode()
    except UnicodeDecodeError:
        return {"original_hex": original.hex(" ")}
    shown = all(c.isprintable() or c in "\t\r\n" for c in text)
    return {"original_text": text} if shown else {"original_hex": original.hex(" ")}
