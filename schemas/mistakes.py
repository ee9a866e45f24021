"""Mistakes in a configuration and the words for them: where, what was given, what would be right.

Finds nothing wrong itself: what pydantic found is put into words by validation.py. Files and lines are no business of this module.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Where = tuple[str | int, ...]
"""The way to a value: ("adapters", 0, "points", 3, "address")."""

SHOWN_MAX = 60
SECRET_KEYS = ("password", "secret", "token")

OTHER_WORDS = {
    "interval": "every", "period": "every", "poll_interval": "every", "scan_rate": "every", "rate": "every rate_of_change", "poll_rate": "every", "poll": "every",
    "name": "parameter id", "tag": "parameter", "ip": "host endpoint", "hostname": "host endpoint dsn", "server": "host endpoint dsn", "broker": "host",
    "host": "endpoint dsn", "port": "endpoint dsn", "database": "dsn", "dbname": "dsn", "user": "dsn", "address": "host endpoint node",
    "url": "endpoint dsn host", "slave": "unit_id unit", "slave_id": "unit_id unit", "unit": "unit_id", "datatype": "type", "data_type": "type",
    "username": "user dsn", "register": "address", "factor": "scale", "gain": "scale", "device": "asset", "nodeid": "node", "node_id": "node",
    "tags": "points", "registers": "points", "kind": "type", "connection": "dsn", "uri": "dsn endpoint", "topic": "topics",
    "schema": "schema_name", "prefix": "table_prefix", "min": "range", "max": "range", "timeout": "response_timeout request_timeout write_timeout",
    "devices": "adapters", "sources": "adapters", "inputs": "adapters", "outputs": "sinks", "destinations": "sinks", "driver": "protocol type", "modbus": "modbus_tcp", "opc_ua": "opcua", "opc": "opcua", "postgresql": "postgres", "timescaledb": "postgres",
}  # fmt: skip
"""What people of other tools write, and what it is called here: the first of these that is known."""

OTHER_TYPES = {
    "float": "float32 float64 number", "real": "float32 number", "lreal": "float64 number", "double": "float64 number", "single": "float32 number",
    "decimal": "float32 float64 number", "int": "int16 int32 int64 integer", "integer": "int16 int32 int64", "uint": "uint16 uint32 uint64 integer",
    "dint": "int32 integer", "udint": "uint32 integer", "lint": "int64 integer", "ulint": "uint64 integer", "word": "uint16 integer",
    "dword": "uint32 integer", "short": "int16 integer", "ushort": "uint16 integer", "long": "int32 int64 integer", "bit": "bool boolean",
    "boolean": "bool", "bool": "boolean", "text": "string", "str": "string",
}  # fmt: skip
"""Types as other tools and IEC 61131 call them: all that are known are named, for only the device's manual knows which it is."""


class Mistakes(ValueError):
    """Raised by a validator for several mistakes, or for one below its own place: (way from here, sentence)."""

    def __init__(self, found: list[tuple[Where, str]]) -> None:
        super().__init__("; ".join(f"{as_text(place)}: {text}" for place, text in found))
        self.found = found


@dataclass(frozen=True)
class Mistake:
    """`given` is None where nothing was; it is never shown for a secret."""

    place: Where
    message: str
    given: str | None = None


def as_text(where: Where) -> str:
    """`adapters[0].points[3].address`"""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def closest(given: str, known: Iterable[str]) -> list[str]:
    """What a word that is not known could stand for; more than one where that cannot be told."""
    word, names = given.lower().replace("-", "_").replace(" ", "_"), {name.lower(): name for name in known}
    for table, most in ((OTHER_TYPES, None), (OTHER_WORDS, 1)):
        ours = [names[name] for name in table.get(word, "").split() if name in names][:most]
        if ours:
            return ours
    others = {other: name for other, ours in OTHER_WORDS.items() for name in ours.split()[:1] if name in names}
    like = 0.6 if len(word) < 4 else 0.7
    for words, least in ((names, like), ({other: names[ours] for other, ours in others.items()}, 0.85)):
        close = difflib.get_close_matches(word, words, n=1, cutoff=least)
        if close:
            return [words[close[0]]]
    return []


def meant(given: str, known: Iterable[str]) -> str:
    """The question after a word that is not known, or nothing."""
    *first, last = closest(given, known) or [""]
    names = f"{', '.join(f'`{name}`' for name in first)} or `{last}`" if first else f"`{last}`"
    return f"; did you mean {names}?" if last else ""


def unknown_key(name: str, fields: Iterable[str]) -> str:
    names = sorted(fields)
    guess = meant(name, names)
    return f"unknown key `{name}`{guess + ' Known' if guess else ' - known'} are {', '.join(names)}"


def shown(given: Any, where: Where = ()) -> str:
    """A value as it may stand in a message."""
    if any(str(step).lower() in SECRET_KEYS for step in where[-1:]):
        return "what is given"
    if isinstance(given, float) and not math.isfinite(given):
        return ".nan" if math.isnan(given) else ".inf" if given > 0 else "-.inf"
    text = json.dumps(given, default=str, ensure_ascii=False)
    text = re.sub(r":(?!//)[^:@\s]+@", ":***@", text)
    text = re.sub(r"(?i)(password|token)(\s*=\s*)[^\s\"&]+", r"\1\2***", text)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
