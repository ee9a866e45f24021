"""Avro's variable-length integers on whole columns at once, with NumPy. Pure arithmetic; nothing here knows a record."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Longs = npt.NDArray[np.int64]

TIME_MIN, TIME_MAX = 2**48, 2**55
"""Microseconds (1978-12-02 to 3111): what takes exactly eight bytes."""

_U = np.uint64
_MORE = _U(0x8080808080808080)
_EIGHT = _U(0x0080808080808080)
"""The pattern of continuation bits of a varint of eight bytes."""


def spread(times: Longs) -> Words:
    """Eight-byte varints of times from TIME_MIN up to, not including, TIME_MAX; little-endian words hold the bytes in order."""
    word = times.astype(np.uint64) << _U(1)
    word = (word & _U(0x0FFFFFFF)) | ((word & _U(0x00FFFFFFF0000000)) << _U(4))
    word = (word & _U(0x00003FFF00003FFF)) | ((word & _U(0x0FFFC0000FFFC000)) << _U(2))
    word = (word & _U(0x007F007F007F007F)) | ((word & _U(0x3F803F803F803F80)) << _U(1))
    return word | _EIGHT


def gather(words: Words) -> tuple[Longs, Longs | int]:
    """The integers that begin each word's bytes, and how many bytes each takes, one number if all take eight; 0 bytes where it takes
    more than eight."""
    sizes: Longs | int = 8
    if not ((words & _MORE) == _EIGHT).all():
        ends = ~words & _MORE
        lowest = ends & (~ends + _U(1))
        words = words & (lowest - _U(1))
        sizes = _size(lowest)
    word = words & _U(0x7F7F7F7F7F7F7F7F)
    word = (word & _U(0x007F007F007F007F)) | ((word & _U(0x7F007F007F007F00)) >> _U(1))
    word = (word & _U(0x00003FFF00003FFF)) | ((word & _U(0x3FFF00003FFF0000)) >> _U(2))
    word = (word & _U(0x000000000FFFFFFF)) | ((word & _U(0x0FFFFFFF00000000)) >> _U(4))
    value = (word >> _U(1)).view(np.int64) ^ -(word & _U(1)).view(np.int64)
    return value, sizes


def _size(lowest: Words) -> Longs:
    """From the one continuation bit that is off (at 8k+7) to k+1; 0 for none."""
    return np.where(lowest == 0, 0, (np.bitwise_count(lowest - _U(1)).astype(np.int64) >> 3) + 1)
