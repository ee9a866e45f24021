"""One DataValue as bytes, decoded as the adapter does: inside the answer to a Read."""

from __future__ import annotations

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from protocols.opcua import binary

_ONE, _NO_DIAGNOSTICS = b"\x01\0\0\0", b"\xff\xff\xff\xff"
_EMPTY = struct_to_binary(ua.ReadResponse())
_HEAD = _EMPTY[: -2 * len(_ONE)]
"""All before the two arrays, of which an empty one is a length of four bytes."""


def data_value(sent: bytes) -> binary.DataValue:
    """Raises Malformed."""
    (value,) = binary.read_response(_HEAD + _ONE + sent + _NO_DIAGNOSTICS)
    return value
