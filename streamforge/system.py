"""Which ports of this machine are free, for the demo, the benchmarks and the tests."""

from __future__ import annotations

import random
import socket

TRIES = 1000


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports nobody holds at this moment, below the range that the kernel hands out for outgoing connections. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            sockets.append(_bound())
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _bound() -> socket.socket:
    for _ in range(TRIES):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", random.randrange(10_000, 20_000)))  # noqa: S311 - no secret
        except OSError:
            held.close()
        else:
            return held
    raise OSError("no free port was found on 127.0.0.1")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
