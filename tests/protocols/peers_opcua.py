"""The OPC UA adapter's peer for the conformance suite: an asyncua server with a value that counts up, behind a gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.kit.adapter_conformance import Peer
from tests.kit.opcua import URI, Gate, adapter_config, point, shared_server


@asynccontextmanager
async def peer(tmp_path) -> AsyncIterator[Peer]:
    gate = Gate(shared_server().server.port)
    points = [
        point("temp", "Ticking"),
        {"parameter": "temp_polled", "path": f"/Objects/nsu={URI};Press4/Ticking", "mode": "poll", "every": "100ms"},
        point("missing", "NotThere"),
    ]
    config = adapter_config(gate.url, points)
    half_a_certificate = tmp_path / "certs" / "own"
    half_a_certificate.mkdir(parents=True)
    (half_a_certificate / "certificate.der").write_bytes(b"no certificate")
    hopeless = [
        {**config, "endpoint": "http://127.0.0.1:4840"},
        {**config, "points": [{"parameter": "temp", "node": "s:Temp"}]},
        {**config, "security": {"policy": "Basic256Sha256"}, "certs_dir": str(half_a_certificate.parent)},
    ]
    await gate.open()
    try:
        yield Peer(config, gate.shut, gate.open, hopeless)
    finally:
        await gate.shut()
