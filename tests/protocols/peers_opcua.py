"""The OPC UA adapter's peer for the conformance suite: an asyncua server with a value that counts up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.kit.adapter_conformance import Peer
from tests.kit.opcua import URI, OpcUaServer, adapter_config


@asynccontextmanager
async def peer(tmp_path) -> AsyncIterator[Peer]:
    server = OpcUaServer()

    async def start() -> None:
        await server.start()
        server.tick("Temp")

    points = [
        {"parameter": "temp", "node": f"nsu={URI};s=Temp"},
        {"parameter": "temp_polled", "path": f"/Objects/nsu={URI};Press4/Temp", "mode": "poll", "every": "100ms"},
        {"parameter": "missing", "node": f"nsu={URI};s=NotThere"},
    ]
    config = adapter_config(server.url, points)
    half_a_certificate = tmp_path / "certs"
    (half_a_certificate / "own").mkdir(parents=True)
    (half_a_certificate / "own" / "certificate.der").write_bytes(b"no certificate")
    secured = {"policy": "Basic256Sha256"}
    hopeless = [
        {**config, "endpoint": "http://127.0.0.1:4840"},
        {**config, "points": [{"parameter": "temp", "node": "s:Temp"}]},
        {**config, "security": secured, "certs_dir": str(half_a_certificate)},
    ]
    await start()
    try:
        yield Peer(config, server.stop, start, hopeless)
    finally:
        await server.stop()
