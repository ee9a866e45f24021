"""PostgreSQL for the suite for every sink: a database of the test's own on the shared server, behind a proxy that can vanish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.kit.postgres import Postgres, query
from tests.kit.sink_conformance import Peer
from tests.kit.tcp_proxy import TcpProxy


@asynccontextmanager
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    server: Postgres = request.getfixturevalue("postgres")
    dsn = await asyncio.to_thread(server.fresh_database)

    async with TcpProxy(server.port) as proxy:

        async def stop() -> None:
            proxy.refuse = True
            proxy.cut()

        async def start() -> None:
            proxy.refuse = False

        async def held() -> list[tuple[str, str, float]]:
            view = "SELECT asset_id, parameter, value FROM readings_view ORDER BY device_time"
            return await asyncio.to_thread(query, dsn, view)  # type: ignore[return-value]

        async def refuse_parameter(name: str) -> None:
            point = "INSERT INTO points (asset_id, parameter) VALUES ('press', %s) RETURNING id"
            point_id = (await asyncio.to_thread(query, dsn, point, name))[0][0]
            await asyncio.to_thread(query, dsn, f"ALTER TABLE readings ADD CHECK (point <> {point_id})")

        through = (
            f"postgresql://postgres@127.0.0.1:{proxy.port}/{dsn.rsplit('/', 1)[1]}?sslmode=disable&gssencmode=disable"
        )
        config = {
            "id": "s",
            "type": "postgres",
            "dsn": through,
            "topics": ["telemetry.clean"],
            "write_timeout": "5s",
            "connect_timeout": "5s",
        }
        yield Peer(config, stop, start, held, refuse_parameter)
    await asyncio.to_thread(server.drop, dsn)
