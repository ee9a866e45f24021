"""A port for a server of a test's own, which may be stopped and started again on it.

From below the range the kernel hands out for outgoing connections, or while the server is away somebody's connection takes its port.
"""

from __future__ import annotations

import random
import socket

TRIES = 200
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Nobody holds it now. Brokers take theirs from above this range (stream/broker/ports.py)."""
    for _ in range(TRIES):
        port = random.randrange(10_000, 20_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port was found on {LOOPBACK}")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
