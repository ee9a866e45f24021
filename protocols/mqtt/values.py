"""One JSON value, text or piece of bytes to a value of the wanted type. Pure. Exact, or refused with a reason; never rounded in silence."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final, Literal

from schemas.records import Value

JsonType = Literal["number", "integer", "boolean", "string"]
BinaryType = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
RawType = JsonType | BinaryType

CODES: Final = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
TRUE: Final = frozenset({"true", "on", "yes", "1"})
FALSE: Final = frozenset({"false", "off", "no", "0"})
EXACT: Final = 2**53
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,4})?")
_INTEGER: Final = re.compile(r"[+-]?\d{1,20}")


class Unfit(Exception):
    """The value does not fit. `rule` groups the dead letters."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def from_json(value: Any, kind: JsonType | None) -> Value:
    """A JSON value as the wanted type; without one, as JSON has it, numbers as doubles where that is exact. Raises Unfit."""
    if kind is None:
        kind = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
            kind = "integer"
    return _AS[kind](value)


def from_text(payload: bytes, kind: JsonType) -> Value:
    """A payload that is text. Raises Unfit."""
    try:
        text = payload.decode()
    except UnicodeDecodeError as wrong:
        raise Unfit(
            "utf8", f"byte {wrong.start} is no UTF-8 text; right would be text, or a type of bytes such as float32"
        ) from None
    if not text.strip() and kind != "string":
        raise Unfit("empty", "the payload is empty, as when a retained value is deleted; right would be a value")
    return text if kind == "string" else _AS[kind](text.strip())


def from_bytes(payload: bytes, kind: BinaryType, order: Literal["big", "little"], place: int | None) -> Value:
    """A piece of the payload as a machine's number; without a place the payload must be exactly that long. Raises Unfit."""
    form = struct.Struct((">" if order == "big" else "<") + CODES[kind])
    if place is None and len(payload) != form.size:
        raise Unfit("length", f"{len(payload)} bytes; a {kind} has {form.size}, or say with `at` where it stands")
    if len(payload) < (place or 0) + form.size:
        raise Unfit("length", f"{len(payload)} bytes; a {kind} at byte {place} needs {(place or 0) + form.size}")
    value: float | int = form.unpack_from(payload, place or 0)[0]
    return _number(value) if kind.startswith("float") else _integer(value)


def size(kind: RawType) -> int:
    """Bytes of a binary type."""
    return struct.calcsize("=" + CODES[kind])


def scaled(value: Value, scale: float, offset: float) -> Value:
    """The value times scale, plus offset, to 15 digits: 273 * 0.1 is 27.3 to everybody but binary floating point. Raises Unfit."""
    return float(f"{_number(float(value) * scale + offset):.15g}") if isinstance(value, int | float) else value


def _number(value: Any) -> float:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise Unfit("type", f"{value!r:.80} is no number")
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit("type", f"{value!r:.80} is no number")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unfit("not_finite", f"{value} is not a finite number")
        return value
    if abs(value) > EXACT and (abs(value) >= 2**63 or int(float(value)) != value):
        right = "; right would be `type: integer`" if -(2**63) <= value < 2**63 else ", nor does it fit 64 bits"
        raise Unfit("out_of_range", f"{_short(value)} is not exact as a double{right}")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise Unfit("type", f"{value!r:.80} is no integer")
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("type", f"{value!r:.80} is no integer")
    if not -(2**63) <= value < 2**63:
        raise Unfit("out_of_range", f"{_short(value)} does not fit 64 bits")
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = (
        value.lower()
        if isinstance(value, str)
        else {0.0: "0", 1.0: "1"}.get(value)
        if isinstance(value, int | float)
        else None
    )
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise Unfit("type", f"{value!r:.80} is neither true, on, yes, 1 nor false, off, no, 0")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("type", f"{value!r:.80} is no string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit("utf8", "the string holds half a surrogate pair") from None
    return value


def _short(value: int) -> str:
    """Python refuses to print integers of more than 4300 digits."""
    return str(value) if value.bit_length() < 128 else f"an integer of {value.bit_length()} bits"


_AS: Final[dict[JsonType, Callable[[Any], Value]]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
}
