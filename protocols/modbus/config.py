"""What the configuration file says about a Modbus device: one model for the connection, one for a point.

Says nothing about how reads are merged (plan.py) or timed (schedule.py). Every error names what would be right.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from protocols.modbus.addresses import Table, locate
from schemas.gateway import AdapterConfig, Host, PointConfig, points_once
from schemas.mistakes import Mistakes, Where
from schemas.units import Duration, MaybeZeroDuration, Period, Wait, between

WORDS = {
    "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float32": 2, "float64": 4,
}  # fmt: skip
"""Registers of each number type."""

REGISTERS_MAX, BITS_MAX = 125, 2000
"""The most one answer can carry (Modbus Application Protocol V1.1b3, sections 6.1 to 6.4)."""

Type = Literal["bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"]
Order = Literal["big", "little"]


def _percent(given: Any) -> Any:
    """`"2%"` stays text, a number a number; anything else is an error."""
    if not isinstance(given, str):
        return given
    text = given.strip()
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = math.nan
    if not text.endswith("%") or not 0 <= share <= 100:
        raise ValueError(f"{given!r} is not a deadband; right would be 0.5 (in the point's unit) or 2% (of its range)")
    return text


Deadband = Annotated[float | str, BeforeValidator(_percent, json_schema_input_type=float | str)]
UnitId = Annotated[int, Field(ge=0, le=255)]


class ModbusPoint(PointConfig):
    """One signal of a device: where it stands, what its registers mean, how often it is read."""

    address: int | str
    """Modicon's number (40101, or 6 digits) when `table` is not given; the 0-based protocol address when it is."""
    table: Literal["coil", "discrete", "input", "holding"] | None = None
    """Which table a 0-based `address` is in; leave it out with Modicon's numbers, whose first digit says it."""
    type: Type | None = None
    """How registers become a value. Coils and discrete inputs are always bool; a `bit` of a register is one."""
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    """One bit of the register as bool; 0 is the lowest. With type uint32 or uint64, a bit of the wider word."""
    bits: tuple[int, int] | None = None
    """[lowest, highest] bit of the register, both included, as a whole number: a field inside a status word."""
    length: Annotated[int, Field(ge=1, le=2 * REGISTERS_MAX)] | None = None
    """Bytes of a string, two in each register; trailing blanks and all from the first NUL on are cut off."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    """How the bytes of a string become text."""
    byte_order: Order = "big"
    """Order of the two bytes within each register: big is what the standard says."""
    word_order: Order = "big"
    """Order of the registers of a value: big has the most significant first. Strings ignore it."""
    scale: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The register's number times this is the value. With scale or offset the value is a float, without them an integer stays one."""
    offset: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Added after scaling."""
    deadband: Deadband | None = None
    """A reading this close to the last one sent is not sent: a number in the value's unit, or `2%` of `range`."""
    at_least_every: Duration | None = None
    """With a deadband, or for events: send the reading after so long even when it did not change."""
    every: Period | None = None
    """How often this point is read; the adapter's `every` when not given."""
    unit_id: UnitId | None = None
    """Modbus unit (slave) id; the adapter's `unit` when not given."""

    @model_validator(mode="before")
    @classmethod
    def _unit_is_no_id(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("unit"), int):
            number = given["unit"]
            raise ValueError(  # noqa: TRY004 - pydantic wants ValueError
                f"unit: {number} of a point is its engineering unit; right for the Modbus unit would be unit_id: {number}"
            )
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        table, start = self.place
        _check_bits(self, table)
        if self.type is None and self.width is None and not table.holds_bits:
            raise ValueError(f"type is missing; right would be one of {', '.join([*WORDS, 'string'])}, or bit: 0 to 15")
        _check_type(self, table)
        _check_change(self)
        if start + self.count > 65536:
            raise ValueError(
                f"address {self.address}: {self.count} registers from there end beyond the last address 65535"
            )
        return self

    @property
    def place(self) -> tuple[Table, int]:
        """Table and 0-based protocol address."""
        return locate(self.address, Table[self.table] if self.table else None)

    @property
    def width(self) -> tuple[int, int] | None:
        """The lowest and highest bit wanted of the register, or None when it is wanted whole."""
        return (self.bit, self.bit) if self.bit is not None else self.bits

    @property
    def number_type(self) -> str:
        """The type its registers are unpacked as; uint16 where only bits of one register are wanted."""
        return "uint16" if self.type is None or self.type == "bool" else self.type

    @property
    def count(self) -> int:
        """Registers, or coils, it takes."""
        if self.place[0].holds_bits:
            return 1
        return ((self.length or 1) + 1) // 2 if self.type == "string" else WORDS[self.number_type]

    @property
    def deadband_width(self) -> float | None:
        """The deadband in the value's own unit."""
        if isinstance(self.deadband, str):
            low, high = self.range or (0.0, 0.0)
            return float(self.deadband.removesuffix("%")) / 100 * (high - low)
        return self.deadband


def _check_bits(point: ModbusPoint, table: Table) -> None:
    if table.holds_bits:
        wrong = [name for name in ("bit", "bits", "length", "scale", "offset") if getattr(point, name) is not None]
        if wrong or point.type not in {None, "bool"}:
            given = wrong[0] if wrong else f"type {point.type}"
            raise ValueError(f"{given} does not fit a {table.name}, which is one bit; right would be type: bool alone")
    elif point.bit is not None and point.bits is not None:
        raise ValueError("bit and bits are both given; right would be one of them")
    elif point.width is not None:
        base = point.number_type
        if not base.startswith("uint"):
            raise ValueError(f"bits of type {base} are not a thing; right would be no type, or uint16, uint32, uint64")
        low, high = point.width
        if not 0 <= low <= high < 16 * WORDS[base]:
            raise ValueError(
                f"bits {low} to {high} are not in a {base}; right would be 0 to {16 * WORDS[base] - 1}, lowest first"
            )
        if point.type == "bool" and point.bits is not None:
            raise ValueError("bits are a whole number, not a bool; right would be no type, or bit: 0 to 15 for one bit")
        if point.bit is not None and (point.scale, point.offset) != (None, None):
            raise ValueError("a single bit has no scale or offset; right would be neither")


def _check_type(point: ModbusPoint, table: Table) -> None:
    if point.type == "bool" and point.width is None and not table.holds_bits:
        raise ValueError(
            "type bool in a register needs to know which bit; right would be bit: 0 to 15 (0 is the lowest)"
        )
    if (point.type == "string") != (point.length is not None):
        raise ValueError("length (in bytes) belongs to type string; right would be both or neither")
    if point.type == "string" and (point.scale, point.offset) != (None, None):
        raise ValueError("a string has no scale or offset; right would be neither")
    if point.scale == 0:
        raise ValueError("scale: 0 would make every value the offset; right would be another number, or none")


def _check_change(point: ModbusPoint) -> None:
    if isinstance(point.deadband, str) and point.range is None:
        raise ValueError(f"deadband: {point.deadband} needs a range; right would be range: [lowest, highest] beside it")
    if isinstance(point.deadband, float) and not 0 <= point.deadband < math.inf:
        raise ValueError(f"deadband: {point.deadband} is not a width; right would be 0 or more")


class ModbusTcpConfig(AdapterConfig):
    """One connection to a Modbus/TCP device, or to a gateway with several units behind it."""

    protocol: Literal["modbus_tcp"]
    host: Host
    """Name or address of the device."""
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    """TCP port it listens on."""
    unit: UnitId = 1
    """Modbus unit (slave) id of points that name none."""
    every: Period = 1
    """How often points are read that do not say."""
    points: Annotated[list[ModbusPoint], Field(min_length=1)]
    """The signals to read."""
    gap: Annotated[int, Field(ge=0, le=REGISTERS_MAX)] = 8
    """Most unwanted registers read along to join two points in one request; for coils 16 times as many. 0 joins only neighbours."""
    registers_max: Annotated[int, Field(ge=1, le=REGISTERS_MAX)] = REGISTERS_MAX
    """Most registers in one request, for devices that take fewer than the standard allows."""
    bits_max: Annotated[int, Field(ge=1, le=BITS_MAX)] = BITS_MAX
    """Most coils or discrete inputs in one request."""
    delay: Annotated[MaybeZeroDuration, between("0s", "10s")] = 0
    """Pause between an answer and the next request, for devices and serial gateways that need one."""
    response_timeout: Wait = 1
    """How long a request may take."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """How often an unanswered request, or one answered with busy, is repeated at once before its points become BAD."""
    dead_after: Annotated[int, Field(ge=1)] = 3
    """So many requests in a row without an answer, and a unit is tried rarely, so that others keep their rate."""
    dead_pause: Wait = 10
    """How long a unit that does not answer is then left alone; doubles with each try."""
    dead_pause_most: Annotated[Duration, between("1ms", "1d")] = 300
    """Longest of these pauses."""
    refused_pause: Annotated[Duration, between("1ms", "1d")] = 600
    """How rarely a point is tried again whose address the device refused."""
    transaction: Literal["checked", "ignored"] = "checked"
    """`ignored`: for gateways that do not repeat the number of the request; each answer that is late then costs a new connection."""
    time: Literal["poll", "none"] = "poll"
    """Modbus carries no time. `poll`: device_time is the middle of the request. `none`: no device_time, readings become UNCERTAIN."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        wrong: list[tuple[Where, str]] = []
        for number, point in enumerate(self.points):
            most = self.bits_max if point.place[0].holds_bits else self.registers_max
            if point.count > most:
                text = f"takes {point.count} registers in one piece; right would be registers_max of at least that"
                wrong.append((("points", number), text))
            if not point.asset:
                text = (
                    f"{point.parameter} has no asset; right would be `asset` here or once in the adapter's `defaults`"
                )
                wrong.append((("points", number), text))
        wrong += points_once([((p.asset, p.parameter), ("points", n)) for n, p in enumerate(self.points)])
        if wrong:
            raise Mistakes(wrong)
        return self
