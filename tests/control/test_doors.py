"""Who can reach the API at all: this machine's loopback by default, and one user's processes on the socket."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from control.local_socket import listen
from control.server import PortTaken, bind
from schemas.gateway import ApiConfig


def test_the_page_is_reachable_on_the_configured_address_only() -> None:
    with bind(ApiConfig(port=0)) as door:
        host, port = door.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 5)


def test_a_port_in_use_is_said_with_what_would_be_right() -> None:
    with bind(ApiConfig(port=0)) as door, pytest.raises(PortTaken, match="or 0 for a free one"):
        bind(ApiConfig(port=door.getsockname()[1]))


def test_only_its_owner_may_open_the_socket_that_acts(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with listen(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
