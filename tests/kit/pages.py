"""The fixture `page_server`: the gateway's real routes and page over a tree and values that the test gives; and `browser`, headless
Chromium where Debian's is installed.
"""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from actors.context import Context
from control.http_protocol import BoundedProtocol
from control.routes import app
from control.server import server
from control.state import State
from control.values import Values
from schemas.records import Classification, Kind, Quality, Records, Series

EXPECTED_WITHIN_S = 20
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def worker(path: str, status: str = "HEALTHY", **more: Any) -> dict[str, Any]:
    return {
        "id": path, "role": "worker", "state": "running", "status": status, "reason": None, "pid": 4242, "restarts": 0, "restarts_max": 5,
        "restarts_total": 0, "started_at": time.time_ns() // 1000 - 90_000_000, "last_exit": None, "counters": {}, "gauges": {}, "facts": {}, **more,
    }  # fmt: skip


def branch(path: str, *children: dict[str, Any]) -> dict[str, Any]:
    return {**worker(path), "role": "supervisor", "strategy": "one_for_one", "children": list(children)}


def readings(
    asset: str, parameter: str, numbers: list[float], quality: Quality = Quality.GOOD, adapter: str = "presses"
) -> Records:
    """Readings of now, as a decoder would give them."""
    n, now = len(numbers), time.time_ns() // 1000
    series = Series(asset, parameter, "bar", Classification.TELEMETRY, adapter, "1", None, "g")
    times = np.full(n, now, np.int64)
    return Records(
        "telemetry.clean", 0, [series], np.arange(n, dtype=np.int64), times, np.zeros(n, np.int32), times, times,
        np.full(n, Kind.DOUBLE, np.uint8), np.array(numbers, np.float64), np.full(n, quality, np.uint8), [b""] * n,
    )  # fmt: skip


class PageServer:
    """The local API on a loopback port, in a thread, over what `tree` and `note` were given."""

    def __init__(
        self,
        may_act: bool = False,
        protocol: type[BoundedProtocol] = BoundedProtocol,
        listener: socket.socket | None = None,
    ) -> None:
        config = {
            "gateway": {"id": "press-shop-1", "site": "Esslingen"},
            "bootstrap": "127.0.0.1:1",
            "data_dir": ".",
            "partitions": 1,
        }
        self.context = Context(id="control_path/api", config=config)
        self.values = Values(self.context)
        self.state = State(self.context, "9.9.9", self.values)
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port = None if listener else self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.server = server(app(self.state, ["localhost", "gateway"], may_act), protocol)
        self.server.config.timeout_graceful_shutdown = 1
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self.server.serve(sockets=[self._listener])), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.context.stopping.set()
        self.server.should_exit = True
        self._thread.join(10)

    def tree(self, *nodes: dict[str, Any]) -> None:
        self.state.take(branch("streamforge", *nodes))

    def note(self, records: Records) -> None:
        self.values._round += 1
        self.values._note(records)


@pytest.fixture
def page_server() -> Iterator[PageServer]:
    with PageServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module, kept together by an xdist group: Playwright holds the thread's event loop until it is stopped."""
    path = shutil.which("chromium")
    try:
        ctypes.CDLL("libatomic.so.1")  # for the program that Playwright brings along
    except OSError:
        path = None
    if path is None:
        pytest.skip("chromium or libatomic1 is not installed; this helps: apt-get install chromium libatomic1")
    with sync_playwright() as playwright:
        expect.set_options(timeout=EXPECTED_WITHIN_S * 1000)
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=120_000)
        yield opened
        opened.close()
