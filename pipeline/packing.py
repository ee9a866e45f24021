"""State to bytes and back: a small JSON header and NumPy columns, versioned, compressed. Knows nothing of what it packs.

Columns are stored byte by byte across rows (first all lowest bytes, then the next, ...): times and counts of one column share
their high bytes, so that zlib's fastest level shrinks them several times over.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

_HEAD = struct.Struct("<4sI")
_LEVEL = 1


def pack(magic: bytes, header: dict[str, Any], columns: dict[str, Column]) -> bytes:
    """`magic` is four bytes that name the layout and its version; `header` must be JSON."""
    shapes = [[name, column.dtype.str, list(column.shape)] for name, column in columns.items()]
    text = json.dumps({"header": header, "columns": shapes}, separators=(",", ":")).encode()
    body = b"".join([text, *[_shuffled(column) for column in columns.values()]])
    return _HEAD.pack(magic, len(text)) + zlib.compress(body, _LEVEL)


def unpack(magic: bytes, packed: bytes) -> tuple[dict[str, Any], dict[str, Column]]:
    """Raises ValueError, saying what is wrong, for anything `pack` with this `magic` did not make."""
    try:
        found, size = _HEAD.unpack_from(packed)
        if found != magic:
            raise ValueError(f"begins with {found!r}; right would be {magic!r}")
        body = zlib.decompress(packed[_HEAD.size :])
        text = json.loads(body[:size])
        return text["header"], _columns(text["columns"], body, size)
    except (
        struct.error,
        zlib.error,
        KeyError,
        TypeError,
        IndexError,
        UnicodeDecodeError,
        json.JSONDecodeError,
    ) as wrong:
        raise ValueError(f"not a snapshot of {magic!r}: {type(wrong).__name__} {wrong}") from None


def _columns(shapes: list[Any], body: bytes, at: int) -> dict[str, Column]:
    columns = {}
    for name, code, shape in shapes:
        dtype = np.dtype(code)
        if dtype.kind not in "biuf":
            raise ValueError(f"column {name} is of {dtype}; right would be numbers")
        n = math.prod(shape)
        end = at + n * dtype.itemsize
        if end > len(body):
            raise ValueError(f"column {name} ends behind the snapshot's end")
        flat = np.frombuffer(body, np.uint8, end - at, at).reshape(dtype.itemsize, n)
        columns[name] = np.ascontiguousarray(flat.T).view(dtype).reshape(shape)
        at = end
    return columns


def _shuffled(column: Column) -> bytes:
    flat = np.ascontiguousarray(column).reshape(-1)
    return np.ascontiguousarray(flat.view(np.uint8).reshape(len(flat), flat.dtype.itemsize).T).tobytes()
