"""What the words of an answer mean. Pure: the golden cases and the wire use the same code.

A read is decoded as a whole: all values of one byte order come out of one precompiled struct, which costs a tenth of taking
them one by one. Two of the four orders of bytes and words are Python's own (> and <); the other two are these after the
bytes of each word were swapped, for every width.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from struct import Struct
from typing import Any

from protocols.modbus.config import WORDS, ModbusPoint
from schemas.records import Value

_CODE = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip

LONG_MAX = 2**63 - 1
"""The largest whole number the stream's records can hold."""

_LARGEST = 10**40
"""Scales and offsets beyond it, or with more digits, are left to floating point."""

Step = Callable[[Any], tuple[Value, str | None]]


@dataclass(frozen=True, slots=True)
class Decoded:
    """The values of one read, in the order of its points, each with the words it came from."""

    values: list[Value]
    raws: list[bytes]
    """Big-endian words as they were received; for a coil one byte, 0 or 1."""
    problems: dict[int, str]
    """Place of each value that cannot be trusted, with the reason."""


def decode(point: ModbusPoint, words: bytes) -> tuple[Value, str | None]:
    """One point's value from its words as received, and the reason when the value cannot be trusted.

    The value is None where there is none: text that is not in its encoding, a whole number beyond 64 bits with sign.
    """
    found = RegisterDecoder([(point, 0)])(words)
    return found.values[0], found.problems.get(0)


class RegisterDecoder:
    """Decodes the registers of one read; made once, used for every answer.

    `places` has each point with its first register counted from the start of the read, in ascending order.
    """

    def __init__(self, places: Sequence[tuple[ModbusPoint, int]]) -> None:
        lanes = _lanes(places)
        self._lanes = [(_struct(lane), _raw_struct(lane), lane.swapped) for lane in lanes]
        self._swaps = any(lane.swapped for lane in lanes)
        order = [index for lane in lanes for index in lane.indexes]
        self._sort = None if order == sorted(order) else _sorter(order)
        steps = [_step(point) for point, _ in places]
        self._steps = [(i, step) for i, step in enumerate(steps) if step is not None]
        self._floats = [i for i, (p, _) in enumerate(places) if steps[i] is None and p.number_type.startswith("float")]
        self._all_numbers = all(point.type != "string" for point, _ in places)

    def __call__(self, payload: bytes) -> Decoded:
        swapped = _swap(payload) if self._swaps else payload
        values: list[Any] = []
        raws: list[bytes] = []
        for numbers, words, from_swapped in self._lanes:
            values += numbers.unpack_from(swapped if from_swapped else payload)
            raws += words.unpack_from(payload)
        if self._sort:
            values, raws = list(self._sort(values)), list(self._sort(raws))
        problems = self._look_at_floats(values) if self._floats else {}
        for i, step in self._steps:
            values[i], problem = step(values[i])
            if problem:
                problems[i] = problem
        return Decoded(values, raws, problems)

    def _look_at_floats(self, values: list[Any]) -> dict[int, str]:
        """One sum tells whether any of them is NaN or infinite; only then each is looked at."""
        if self._all_numbers and math.isfinite(sum(values)):
            return {}
        found = ((i, _not_finite(values[i])) for i in self._floats)
        return {i: problem for i, problem in found if problem}


class BitDecoder:
    """Decodes the coils or discrete inputs of one read; `places` are counted from the start of the read."""

    def __init__(self, places: Sequence[int]) -> None:
        self._places = [(place >> 3, 1 << (place & 7)) for place in places]

    def __call__(self, payload: bytes) -> Decoded:
        values: list[Value] = [payload[byte] & mask != 0 for byte, mask in self._places]
        return Decoded(values, [b"\x01" if value else b"\x00" for value in values], {})


@dataclass(slots=True)
class _Lane:
    """Points that follow each other without overlap and are unpacked in one go."""

    swapped: bool
    endian: str
    end: int
    indexes: list[int]
    places: list[tuple[ModbusPoint, int]]


def _lanes(places: Sequence[tuple[ModbusPoint, int]]) -> list[_Lane]:
    lanes: list[_Lane] = []
    for index, (point, start) in enumerate(places):
        swapped, endian = _order(point)
        fits = (lane for lane in lanes if lane.swapped == swapped and lane.endian == endian and lane.end <= start)
        lane = next(fits, None)
        if lane is None:
            lane = _Lane(swapped, endian, 0, [], [])
            lanes.append(lane)
        lane.indexes.append(index)
        lane.places.append((point, start))
        lane.end = start + point.count
    return lanes


def _order(point: ModbusPoint) -> tuple[bool, str]:
    """Whether the bytes of each word are swapped first, and the order that then remains."""
    little_bytes, little_words = point.byte_order == "little", point.word_order == "little"
    if point.type == "string" or WORDS[point.number_type] == 1:
        return little_bytes, ">"
    return little_bytes != little_words, "<" if little_words else ">"


def _struct(lane: _Lane) -> Struct:
    return Struct(
        lane.endian + _layout(lane, lambda p: f"{2 * p.count}s" if p.type == "string" else _CODE[p.number_type])
    )


def _raw_struct(lane: _Lane) -> Struct:
    return Struct(">" + _layout(lane, lambda p: f"{2 * p.count}s"))


def _layout(lane: _Lane, code: Callable[[ModbusPoint], str]) -> str:
    parts, at = [], 0
    for point, start in lane.places:
        parts.append(f"{2 * (start - at)}x{code(point)}")
        at = start + point.count
    return "".join(parts)


def _sorter(order: list[int]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """From lane order back to the points' order; only made for two points or more, so always a tuple."""
    where = sorted(range(len(order)), key=order.__getitem__)
    return itemgetter(*where)


def _swap(payload: bytes) -> bytes:
    words = array("H", payload)
    words.byteswap()
    return words.tobytes()


def _step(point: ModbusPoint) -> Step | None:
    """What is still to be done with the unpacked number, or None."""
    if point.type == "string":
        return _text(point.length or 0, point.encoding)
    if point.width is not None:
        return _field(point)
    if point.scale is not None or point.offset is not None:
        scale = 1.0 if point.scale is None else point.scale
        return _scaled(scale, point.offset or 0.0, whole=not point.number_type.startswith("float"))
    return _whole if point.number_type == "uint64" else None


def _text(length: int, encoding: str) -> Step:
    def step(words: bytes) -> tuple[Value, str | None]:
        kept = words[:length].split(b"\0", 1)[0]
        try:
            return kept.decode(encoding).rstrip(), None
        except UnicodeDecodeError as error:
            return (
                None,
                f"the text is not {encoding} (byte {error.start}); right would be encoding: latin-1, or another byte_order",
            )

    return step


def _field(point: ModbusPoint) -> Step:
    low, high = point.width or (0, 0)
    mask, single = (1 << (high - low + 1)) - 1, point.bit is not None
    is_scaled = (point.scale, point.offset) != (None, None)
    scaled = _scaled(point.scale or 1.0, point.offset or 0.0, whole=True) if is_scaled else None

    def step(number: int) -> tuple[Value, str | None]:
        field = (number >> low) & mask
        if single:
            return field == 1, None
        return scaled(field) if scaled else _whole(field)

    return step


def _scaled(scale: float, offset: float, *, whole: bool) -> Step:
    """The nearest float to what the configuration's decimal digits mean: 273 times 0.1 is 27.3. A float is scaled as floats are."""
    times, plus = Fraction(str(scale)), Fraction(str(offset))
    under = math.lcm(times.denominator, plus.denominator)
    if not whole or any(part > _LARGEST for part in (abs(times), abs(plus), under)):

        def step(number: float) -> tuple[Value, str | None]:
            value = number * scale + offset
            return value, _not_finite(value)

        return step

    factor, summand = int(times * under), int(plus * under)

    def exact(number: int) -> tuple[Value, str | None]:
        return (number * factor + summand) / under, None

    return exact


def _whole(number: int) -> tuple[Value, str | None]:
    if number <= LONG_MAX:
        return number, None
    return (
        None,
        f"{number} is more than the stream's whole numbers hold ({LONG_MAX}); right would be scale: 1, which makes it a float",
    )


def _not_finite(value: float) -> str | None:
    if math.isfinite(value):
        return None
    return "the device sent NaN: not a number" if math.isnan(value) else f"the device sent {value}: not a finite number"
