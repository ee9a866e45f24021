"""What the configuration file says about a Modbus device: one model for the connection, one for a point.

Says nothing about how reads are merged (plan.py) or timed (schedule.py). Every error names what would be right.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from protocols.modbus.addresses import ADDRESSES, Table, locate, modicon
from schemas.gateway import AdapterConfig, Host, PointConfig, points_once, with_assets
from schemas.model import Unfit, Unknown, known, together
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
        raise ValueError("is not a deadband; right would be 0.5 (in the point's unit) or 2% (of its range)")
    return text


def _width(given: float | str) -> float | str:
    if isinstance(given, float) and given < 0:
        raise ValueError("is not a width; right would be 0 or more")
    return given


def _no_id(given: Any) -> Any:
    if isinstance(given, int):
        raise ValueError(  # noqa: TRY004 - pydantic wants ValueError
            f"of a point is its engineering unit, not a Modbus unit; right for that would be unit_id: {given}"
        )
    return given


def _one_number(given: Any) -> Any:
    if isinstance(given, dict):
        raise ValueError(  # noqa: TRY004 - pydantic wants ValueError
            "is one number; right would be the two keys side by side in the point, as `table: holding, address: 100`, or Modicon's `address: 40101`"
        )
    return given


def _no_zero(given: float) -> float:
    if given == 0:
        raise ValueError("would make every value the offset; right would be another number, or none")
    return given


Deadband = Annotated[float | str, BeforeValidator(_percent, json_schema_input_type=float | str), AfterValidator(_width)]
UnitId = Annotated[int, Field(ge=0, le=255)]


class ModbusPoint(PointConfig):
    """One signal of a device: where it stands, what its registers mean, how often it is read."""

    unit: Annotated[str | None, BeforeValidator(_no_id, json_schema_input_type=str | None)] = None
    """Unit of the value after scaling. The Modbus unit is `unit_id`."""
    address: Annotated[int | str, BeforeValidator(_one_number, json_schema_input_type=int | str)]
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
    scale: Annotated[float, Field(allow_inf_nan=False), AfterValidator(_no_zero)] | None = None
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

    @together
    def _address_is_one(self) -> Unfit:
        try:
            table, start = self.place
        except ValueError as wrong:
            yield ("address",), str(wrong).removeprefix("address ")
            return
        if start + self.count > ADDRESSES:
            text = f"{self.address}: {self.count} registers from there end beyond the last address 65535"
            yield ("address",), f"{text}; right would be at most {modicon(table, ADDRESSES - self.count)}"

    @together
    def _fits_a_coil(self) -> Unfit:
        if not self.holds_bits:
            return
        right = "does not fit a coil or discrete input, which is one bit; right would be type: bool alone"
        for name in ("bit", "bits", "length", "scale", "offset"):
            if vars(self).get(name) is not None:
                yield (name,), f"{name} {right}"
        if self.type not in {None, "bool"}:
            yield ("type",), f"{self.type} {right}"

    @together
    def _says_its_type(self) -> Unfit:
        if not self.holds_bits and self.width is None and self.type is None:
            yield ("type",), f"is missing; right would be one of {', '.join([*WORDS, 'string'])}, or bit: 0 to 15"

    @together
    def _bool_says_which_bit(self) -> Unfit:
        if not self.holds_bits and self.width is None and self.type == "bool":
            yield ("bit",), "is missing: which bit of the register; right would be bit: 0 to 15 (0 is the lowest)"

    @together
    def _bits_in_order(self) -> Unfit:
        if self.bits and not 0 <= self.bits[0] <= self.bits[1]:
            yield ("bits",), f"{list(self.bits)} are not counted upwards from 0; right would be 0 to 15, lowest first"

    @together
    def _bits_fit(self) -> Unfit:
        if self.width is None or self.holds_bits:
            return
        if self.bit is not None and self.bits is not None:
            yield ("bits",), f"{list(self.bits)} stands beside bit; right would be one of them"
        base, (low, high) = self.number_type, self.width
        if self.type == "bool" and self.bits is not None:
            right = "right would be no type, or bit: 0 to 15 for one bit"
            yield ("type",), f"bool is one bit, and `bits` are a whole number; {right}"
        elif not base.startswith("uint"):
            yield ("type",), f"{base} has no bits to take; right would be no type, or uint16, uint32, uint64"
        elif 0 <= low <= high and high >= 16 * WORDS[base]:
            given, name = (high, "bit") if self.bit is not None else (list(self.width), "bits")
            yield (name,), f"{given} is not in a {base}; right would be 0 to {16 * WORDS[base] - 1}"

    @together
    def _only_numbers_are_scaled(self) -> Unfit:
        if self.holds_bits:
            return
        what = "single bit" if self.bit is not None else "string" if self.type == "string" else None
        for name in ("scale", "offset") if what else ():
            if vars(self).get(name) is not None:
                yield (name,), f"{vars(self)[name]:g} is for numbers, and a {what} is none; right would be no {name}"

    @together
    def _length_is_of_a_string(self) -> Unfit:
        if self.holds_bits:
            return
        if self.type == "string" and self.length is None:
            yield ("length",), "is missing: how many bytes the string has; right would be such as length: 16"
        if self.length is not None and self.type != "string" and (self.type or self.width):
            yield ("length",), f"{self.length} is for type string; right would be no length, or type: string"

    @together
    def _percent_has_a_range(self) -> Unfit:
        if isinstance(self.deadband, str) and self.range is None:
            yield ("deadband",), f"{self.deadband} needs a range; right would be range: [lowest, highest] beside it"

    @property
    def place(self) -> tuple[Table, int]:
        """Table and 0-based protocol address."""
        return locate(self.address, Table[self.table] if self.table else None)

    @property
    def holds_bits(self) -> bool:
        """Whether it is a coil or a discrete input."""
        try:
            return self.place[0].holds_bits
        except ValueError:
            raise Unknown("address") from None

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
        if self.holds_bits:
            return 1
        return ((self.length or 1) + 1) // 2 if self.type == "string" else WORDS[self.number_type]

    @property
    def deadband_width(self) -> float | None:
        """The deadband in the value's own unit."""
        if isinstance(self.deadband, str):
            low, high = self.range or (0.0, 0.0)
            return float(self.deadband.removesuffix("%")) / 100 * (high - low)
        return self.deadband


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

    @together
    def _fits_one_request(self) -> Unfit:
        for number, (bits, count) in known(self.points, lambda p: (p.holds_bits, p.count)):
            if not bits and count > self.registers_max:
                text = f"takes {count} registers in one piece; right would be registers_max of at least that"
                yield ("points", number), text

    @together
    def _points_are_of_assets(self) -> Unfit:
        yield from with_assets(self.points, self.defaults)

    @together
    def _names_once(self) -> Unfit:
        yield from points_once(known(self.points, lambda p: (p.asset, p.parameter)))
