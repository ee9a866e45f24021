"""Where a gateway's Unix socket is: in its data directory, or, when that path is too long for a socket, at a place made from it."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path

PATH_MAX = 100
"""Linux takes 107 bytes; some is left for what libraries add."""


def socket_path(data_dir: Path) -> Path:
    """The same answer in the gateway and in the command line."""
    path = data_dir.resolve() / "api.sock"
    if len(os.fsencode(path)) <= PATH_MAX:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"streamforge-{os.getuid()}-{digest}.sock"


def listen(path: Path) -> socket.socket:
    """A listening socket that only its owner may open: who may open it may restart components."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener
