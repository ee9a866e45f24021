"""The words for what a device answers instead of data: what it means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

ILLEGAL_FUNCTION = 1
REFUSED = frozenset({2, 3})
"""The address, or the number of addresses, is not to the device's taste: the read is taken apart."""
BUSY = frozenset({5, 6})
"""Worth asking again at once."""
UNIT_AWAY = frozenset({10, 11})
"""A gateway answers for a unit it cannot reach."""

_WORDS = {
    1: "illegal function: the device does not have this table; check coil, discrete, input, holding",
    2: "illegal data address: the device has nothing there; check address and type",
    3: "illegal data value: the device does not take this request; check address, or lower registers_max",
    4: "device failure: the device could not do it; look at the device",
    5: "acknowledge: the device needs longer than it has; poll less often",
    6: "device busy: it works on something else; poll less often, or set delay",
    7: "negative acknowledge: the device cannot do it",
    8: "memory parity error: the device's memory is damaged; look at the device",
    10: "gateway path unavailable: the gateway has no way to this unit; check the gateway's settings",
    11: "gateway target failed to respond: the unit behind the gateway is off or has another unit id",
}


@dataclass(frozen=True, slots=True)
class Why:
    """Why a point has no value."""

    said: str
    """Of the very read that asked for it."""
    cause: str
    """The same for every read it befalls."""


def exception_words(code: int) -> str:
    """As `exception 2, illegal data address: ...`."""
    return f"exception {code}, {_WORDS.get(code, 'which the standard does not know; see the manual of the device')}"
