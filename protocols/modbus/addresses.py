"""What an address in the configuration means: Modicon's numbers (40101) and the protocol's own (table and 0-based address).

Pure. The two ways overlap as bare numbers, so the rule is: without `table` a number is Modicon's, with `table` it is the
protocol's, and whatever could be meant either way is refused with both right spellings.
"""

from __future__ import annotations

import re
from enum import IntEnum

ADDRESSES = 65536


class Table(IntEnum):
    """The four tables; the value is the function code that reads the table."""

    coil = 1
    discrete = 2
    holding = 3
    input = 4

    @property
    def holds_bits(self) -> bool:
        return self in (Table.coil, Table.discrete)


DIGITS = {"0": Table.coil, "1": Table.discrete, "3": Table.input, "4": Table.holding}
_DIGIT_OF = {table: digit for digit, table in DIGITS.items()}

_ZERO_HINT = "in quotes, for most readers of YAML drop a leading zero or take the number as octal"


def modicon(table: Table, address: int) -> str:
    """How people write it: `40101` for holding register 100, six digits where five are not enough."""
    number = address + 1
    return f"{_DIGIT_OF[table]}{number:04d}" if number <= 9999 else f"{_DIGIT_OF[table]}{number:05d}"


def _six(table: Table, address: int) -> str:
    return f"{_DIGIT_OF[table]}{address + 1:05d}"


def _quoted(number: str) -> str:
    return f'"{number}"' if number.startswith("0") else number


def _ways(table: Table, address: int) -> str:
    return f"`address: {_quoted(modicon(table, address))}` or `table: {table.name}, address: {address}`"


def locate(address: int | str, table: Table | None) -> tuple[Table, int]:
    """The table and the 0-based protocol address meant by `address`. ValueError says what would be right."""
    text = str(address).strip()
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ValueError(
            f"address {text!r} is not a number of at most 6 digits; right would be 40101, or a table and 0 to 65535"
        )
    return (table, _zero_based(text, table)) if table is not None else _by_first_digit(text)


def _by_first_digit(text: str) -> tuple[Table, int]:
    if len(text) < 5:
        number = int(text)
        raise ValueError(
            f"address {text} has no table and is not a Modicon number of 5 or 6 digits; right would be"
            f" `table: holding, address: {number}` (0-based; or coil, discrete, input), or 40001 for the first holding"
            f' register, or "00001" for the first coil ({_ZERO_HINT})'
        )
    table, number = DIGITS.get(text[0]), int(text[1:])
    if table is None:
        raise ValueError(
            f"address {text} begins with {text[0]}; right would be 0 (coil), 1 (discrete input), 3 (input register) or"
            f" 4 (holding register), or table and address apart ({_ZERO_HINT})"
        )
    if not 1 <= number <= ADDRESSES:
        raise ValueError(
            f"address {text} is outside its table; Modicon numbers go from {text[0]}{1:0{len(text) - 1}d} to {text[0]}65536"
        )
    return table, number - 1


def _zero_based(text: str, table: Table) -> int:
    number = int(text)
    if len(text) > 1 and text[0] == "0":
        raise ValueError(
            f"address {text} with table: {table.name} could be the number of a coil or a 0-based address; right would be"
            f" `table: {table.name}, address: {number}`, or for the coil `address: {_quoted(text)}` alone"
        )
    digit, rest = text[0], int(text[1:] or 0)
    looks_modicon = len(text) >= 5 and DIGITS.get(digit) is table and 1 <= rest <= ADDRESSES
    if looks_modicon:
        also = (
            f", or `address: {_six(table, number)}` if the 0-based address {number} is meant"
            if number < ADDRESSES
            else ""
        )
        raise ValueError(
            f"address {text} with table: {table.name} could be Modicon's number or a 0-based address; right would be"
            f" {_ways(table, rest - 1)} for Modicon's {text}{also}"
        )
    if number >= ADDRESSES:
        raise ValueError(f"address {text} with table: {table.name} is 0-based; right would be 0 to 65535")
    return number
