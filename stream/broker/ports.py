"""Ports for a broker of one's own: the demo's, a test's, the one that records a JVM cache. The gateway's own stand in its file."""

from __future__ import annotations

import random
import socket

TRIES = 200


def free_pair() -> int:
    """A port P with P and P+1, the controller's, free on loopback now; below the range the kernel hands out by itself."""
    for _ in range(TRIES):
        port = random.randrange(20_000, 32_000, 2)  # noqa: S311 - no secret
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise OSError("no two free ports in a row were found on 127.0.0.1")
