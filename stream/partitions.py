"""Which partition a key belongs to: Java's default partitioner, so that every Kafka tool and client agrees with us."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_KEYS_KEPT = 200_000


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2, unsigned."""
    length = len(key)
    hashed = (0x9747B28C ^ length) & _MASK
    whole = length - length % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        hashed = (hashed * _M & _MASK) ^ word
    if whole < length:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    hashed = (hashed ^ hashed >> 13) * _M & _MASK
    return hashed ^ hashed >> 15


class Partitioner:
    """Partitions of keys for topics of `count` partitions, remembered. Bounded: forgets all when full."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._known: dict[bytes, int] = {}

    def __call__(self, key: bytes) -> int:
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEYS_KEPT:
                self._known.clear()
            found = self._known[key] = (murmur2(key) & 0x7FFFFFFF) % self.count
        return found
