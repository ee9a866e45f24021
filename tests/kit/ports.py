"""A port for a server of a test's own, which may be stopped and started again on it.

From below the range the kernel hands out for outgoing connections, or while the server is away somebody's connection takes its port.
"""

from __future__ import annotations

import socket

from streamforge.system import free_ports

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Nobody holds it now. Brokers take theirs from above this range (stream/broker/ports.py)."""
    return free_ports(1)[0]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
