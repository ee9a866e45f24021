"""Who can reach the API at all: this machine's loopback by default, and one user's processes on the socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from actors.context import Context, Status
from control import server
from control.local_socket import listen
from control.server import PortTaken, bind
from control.state import State
from control.values import Values
from schemas.gateway import ApiConfig
from tests.kit.waiting import until


def test_the_page_is_reachable_on_the_configured_address_only() -> None:
    with bind(ApiConfig(port=0)) as door:
        host, port = door.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 5)


def test_a_port_in_use_is_said_with_what_would_be_right() -> None:
    with bind(ApiConfig(port=0)) as door, pytest.raises(PortTaken, match=r"127\.0\.0\.1:\d+: .*in use"):
        bind(ApiConfig(port=door.getsockname()[1]))


async def test_a_page_without_its_port_says_what_to_do_and_comes_when_the_port_is_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(server, "AGAIN_AFTER_S", 0.02)
    context = Context(id="control_path/api", config={})
    door = bind(ApiConfig(port=0))
    config = ApiConfig(port=door.getsockname()[1])
    serving = asyncio.create_task(server.serve_page(context, config, State(context, "1", Values(context))))
    await until(lambda: context.status is Status.DEGRADED)
    assert "`api.port`" in (context.next_step or "")
    assert "page_has_no_port" in capsys.readouterr().out
    door.close()
    await until(lambda: context.status is Status.HEALTHY)
    assert context.facts["address"].endswith(f":{config.port}/")
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert "server process" not in caplog.text, "the log is the gateway's, not uvicorn's"


def test_only_its_owner_may_open_the_socket_that_acts(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with listen(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
