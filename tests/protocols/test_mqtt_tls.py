"""TLS with a real mosquitto, and what is said of certificates that are wrong."""

from __future__ import annotations

import asyncio

import pytest

from protocols.contract import BadConfig, NotConnected
from tests.kit.certificates import Authority
from tests.protocols.mqtt_kit import VERSIONS, adapter, connected, silence


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def secured(mosquitto, authority, pair, **more):
    return mosquitto(tls={"cafile": authority.cert, "certfile": pair.cert, "keyfile": pair.key, **more})


@VERSIONS
async def test_tls(mosquitto, authority, version):
    broker = secured(mosquitto, authority, authority.sign("broker"))
    async with connected(broker.port, version=version, tls={"ca": str(authority.cert)}) as one:
        await silence(one, 0.05)
        assert one.health().degraded == []
    async with connected(broker.port, version=version, tls={"verify": False}) as one:
        assert "verify" in one.health().degraded[0]


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        ({"days": -1}, "has expired"),
        ({"host": "other.example"}, "for another (name|address)"),
        ({}, "authority that is not trusted"),
    ],
    ids=["expired", "name", "authority"],
)
async def test_a_certificate_that_is_wrong_is_said(mosquitto, authority, tmp_path, sign, said):
    broker = secured(mosquitto, authority, authority.sign("broker", **sign))
    trusted = authority if sign else Authority(tmp_path / "other", "other authority")
    one = adapter(broker.port, tls={"ca": str(trusted.cert)})
    with pytest.raises(NotConnected, match=said):
        await one.connect()
    await one.close()


async def test_a_broker_that_wants_a_certificate(mosquitto, authority):
    broker = secured(mosquitto, authority, authority.sign("broker"))
    await asyncio.to_thread(broker.stop)
    broker.lines.append("require_certificate true")
    await asyncio.to_thread(broker.start)
    ours = authority.sign("gateway")
    async with connected(
        broker.port, tls={"ca": str(authority.cert), "cert": str(ours.cert), "key": str(ours.key)}
    ) as one:
        await silence(one, 0.05)
    one = adapter(broker.port, tls={"ca": str(authority.cert)})
    with pytest.raises(NotConnected, match=r"certificate|TLS"):
        await one.connect()
    await one.close()


async def test_tls_where_there_is_none_and_none_where_there_is(mosquitto, authority):
    plain, encrypted = mosquitto(), secured(mosquitto, authority, authority.sign("broker"))
    for one, said in ((adapter(plain.port, tls={}), "TLS"), (adapter(encrypted.port), "does this port want TLS")):
        with pytest.raises(NotConnected, match=said):
            await one.connect()
        await one.close()


@pytest.mark.parametrize("fault", ["missing", "not pem", "other key"])
async def test_certificate_files_that_can_never_work(authority, tmp_path, fault):
    ours, other = authority.sign("gateway"), authority.sign("other")
    (tmp_path / "text.pem").write_text("hello")
    tls = {
        "missing": {"ca": "nowhere.pem"},
        "not pem": {"ca": str(tmp_path / "text.pem")},
        "other key": {"cert": str(ours.cert), "key": str(other.key)},
    }[fault]
    with pytest.raises(BadConfig, match=r"tls\.(ca|cert)"):
        await adapter(1, tls=tls).connect()
