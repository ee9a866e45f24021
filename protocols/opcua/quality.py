"""Status codes (OPC 10000-4 section 7.39) as the gateway's quality and words for people. Pure tables."""

from __future__ import annotations

from functools import lru_cache

from asyncua.ua.status_codes import get_name_and_doc

from schemas.records import Quality

OVERFLOW = 0x480
"""InfoType DataValue together with the overflow bit: the server dropped values of this item before this one."""
_DATA_VALUE = 0x400
_LIMITS = {0x100: "at its low limit", 0x200: "at its high limit", 0x300: "constant"}
_SEMANTICS_CHANGED = 0x4000

NODE_GONE = frozenset({0x80330000, 0x80340000, 0x80360000})
"""BadNodeIdInvalid, BadNodeIdUnknown, BadIndexRangeInvalid: asking again soon is no use."""


def severity(code: int) -> Quality:
    """The top two bits; the fourth combination is reserved and counts as Bad."""
    return (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)[code >> 30]


@lru_cache(maxsize=1024)
def judged(code: int) -> tuple[Quality, str | None]:
    """The quality and its reason; a plain Good has none.

    >>> judged(0x40900000)
    (<Quality.UNCERTAIN: 2>, 'UncertainLastUsableValue: Whatever was updating this value has stopped doing so')
    """
    parts = [] if code & 0xFFFF0000 == 0 else [words(code)]
    if code & OVERFLOW == OVERFLOW:
        parts.append("values before this one were lost: the server's queue of this point overflowed")
    if code & _DATA_VALUE and code & 0x300 and severity(code) is not Quality.GOOD:
        parts.append(_LIMITS[code & 0x300])
    if code & _SEMANTICS_CHANGED:
        parts.append("the meaning of the value (its unit or range) changed at the server")
    return severity(code), "; ".join(parts) or None


def overflowed(code: int) -> bool:
    return code & OVERFLOW == OVERFLOW


def words(code: int) -> str:
    """`BadNodeIdUnknown: The node id refers to ...`; codes that the standard does not name keep their number."""
    name, text = get_name_and_doc(code & 0xFFFF0000)
    if text.startswith("Unknown StatusCode"):
        return f"{name}: status code 0x{code:08X}"
    return f"{name}: {text.rstrip('.')}"


def name(code: int) -> str:
    """`BadNodeIdUnknown`."""
    return words(code).split(":", 1)[0]
