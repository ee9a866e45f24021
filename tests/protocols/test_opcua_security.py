"""Channels, certificates and users against a real asyncua server with Basic256Sha256."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError

from protocols.contract import BadConfig, NotConnected
from protocols.load import make, validated
from protocols.opcua import link
from protocols.opcua.client import new_client
from protocols.opcua.resolve import read_namespaces
from tests.kit.opcua import InThread, OpcUaServer, Tap, Users, adapter_config
from tests.kit.opcua_certificates import SERVER_URI, key, server_certificate

KINDS = ua.SecurityPolicyType
POLICIES = [
    KINDS.Basic256Sha256_SignAndEncrypt, KINDS.Basic256Sha256_Sign,
    KINDS.Aes128Sha256RsaOaep_SignAndEncrypt, KINDS.Aes256Sha256RsaPss_Sign, KINDS.Aes256Sha256RsaPss_SignAndEncrypt,
]  # fmt: skip
SECURED = {"policy": "Basic256Sha256"}
LOGIN = {"user": "gateway", "password": "right"}


class Doorman:
    """The server's side of trust; a test may have it refuse."""

    refuses: int | None = None

    async def __call__(self, certificate, application) -> None:
        if self.refuses:
            raise ServiceError(self.refuses)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    certificate, key = server_certificate().write(tmp_path_factory.mktemp("server"))
    server = OpcUaServer(
        policies=POLICIES,
        users=Users("gateway", "right"),
        uri=SERVER_URI,
        certificate=certificate,
        key=key,
        validator=Doorman(),
    )
    on = InThread(server)
    on.certificate = certificate
    return on


@pytest.fixture
def doorman(plant):
    yield plant.server.security["validator"]
    plant.server.security["validator"].refuses = None


@pytest.fixture
def certs(tmp_path, plant):
    """A certificate directory that trusts the plant's server."""
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "plant.der").write_bytes(plant.certificate.read_bytes())
    return tmp_path


@asynccontextmanager
async def adapter(plant, certs, **more):
    made = make(
        validated(adapter_config(plant.server.url, certs_dir=str(certs), **{"security": SECURED, **LOGIN, **more}))
    )
    try:
        yield made
    finally:
        await asyncio.wait_for(made.close(), 30)


@pytest.mark.parametrize("mode", ["sign", "sign_and_encrypt"])
async def test_signed_and_encrypted_channels_carry_values_and_are_renewed(plant, certs, mode):
    async with adapter(plant, certs, security={**SECURED, "mode": mode}) as plc:
        await plc.connect()
        tap = Tap(plc)
        await tap.next("temp")
        for n in range(3):
            await plc._link.renew()
            await read_namespaces(plc._link)  # the first request with the new keys
            await plant(plant.server.write("Temp", 100.0 + n))
            assert (await tap.next("temp")).value == 100.0 + n
        assert plc.health().degraded == []


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("Aes128_Sha256_RsaOaep", "sign_and_encrypt"),
        ("Aes256_Sha256_RsaPss", "sign_and_encrypt"),
        ("Aes256_Sha256_RsaPss", "sign"),
    ],
)
async def test_the_newer_policies(plant, certs, policy, mode):
    async with adapter(plant, certs, security={"policy": policy, "mode": mode}) as plc:
        await plc.connect()
        assert (await Tap(plc).next("temp")).value is not None
        assert plc._link.client.security_policy.URI.endswith(policy)


async def test_keys_are_renewed_under_way_without_a_gap(plant, certs, monkeypatch):
    renewed = []

    def short_lived(config):
        client, session = new_client(config)
        client.secure_channel_timeout = 1000  # milliseconds, an hour otherwise
        once = client.open_secure_channel

        async def counted(renew=False):
            renewed.append(renew)
            await once(renew)

        client.open_secure_channel = counted
        return client, session

    monkeypatch.setattr(link, "new_client", short_lived)
    async with adapter(plant, certs, publishing_interval="50ms") as plc:
        await plc.connect()
        tap, n = Tap(plc), 0
        while sum(renewed) < 3:
            n += 1
            await plant(plant.server.write("Temp", float(n)))
            await tap.until(lambda r, n=n: r.value == float(n))
        assert "messages_lost" not in plc.health().counters


async def test_an_unknown_server_is_refused_until_a_person_moves_its_certificate(plant, tmp_path):
    async with adapter(plant, tmp_path) as plc:
        with pytest.raises(NotConnected, match="BadCertificateUntrusted") as refused:
            await plc.connect()
        (file,) = (tmp_path / "rejected").iterdir()
        command = re.search(r"trust it with: (mv .*/) and", refused.value.next_step)[1]
        assert str(file) in command
        subprocess.run(shlex.split(command), check=True)  # noqa: ASYNC221 - over in a moment
        await plc.connect()
        await Tap(plc).next("temp")


async def test_a_server_is_trusted_through_a_chain_that_it_shows(tmp_path, caplog):
    root = server_certificate(name="Plant CA", uri=None, hosts=(), private=key(1), is_authority=True)
    middle = server_certificate(name="Line CA", uri=None, hosts=(), private=key(4), is_authority=True, issuer=root)
    certificate, private = server_certificate(issuer=middle).write(tmp_path / "server")
    server = OpcUaServer(policies=POLICIES, uri=SERVER_URI, certificate=certificate, key=private)
    on = InThread(server)
    server.server.iserver.certificate_chain = [middle.certificate]
    for endpoint in server.server.iserver.endpoints:
        endpoint.ServerCertificate += middle.der
    (tmp_path / "trusted").mkdir()
    async with adapter(on, tmp_path) as plc:
        with pytest.raises(NotConnected, match=r"nor an authority that signed it .* issued by CN=Line CA"):
            await plc.connect()
        (tmp_path / "trusted" / "root.der").write_bytes(root.der)
        with caplog.at_level("WARNING"):
            await plc.connect()
            await Tap(plc).next("temp")
            await plc.connect()
        said = [r.getMessage() for r in caplog.records if "no revocation list" in r.getMessage()]
        assert len(said) == 2, "once for each authority, however often it connects"
        assert str(tmp_path / "crl") in said[0]
    await on(server.stop())


async def test_trust_withdrawn_counts_at_the_next_connect(plant, certs):
    async with adapter(plant, certs) as plc:
        await plc.connect()
        (certs / "trusted" / "plant.der").unlink()
        with pytest.raises(NotConnected, match="BadCertificateUntrusted"):
            await plc.connect()


async def test_first_use_believes_the_first_and_only_the_first(plant, tmp_path):
    security = {**SECURED, "trust": "first_use"}
    async with adapter(plant, tmp_path, security=security) as plc:
        await plc.connect()
        await plc.connect()
        (trusted,) = (tmp_path / "trusted").glob("*.der")
        trusted.unlink()
        with pytest.raises(NotConnected, match="BadCertificateUntrusted"):
            await plc.connect()


async def test_a_server_that_says_nothing_without_security_is_reached_by_its_certificate(plant, certs, monkeypatch):
    async def refuse(_):
        raise ua.UaStatusCodeError(ua.StatusCodes.BadSecurityPolicyRejected)

    monkeypatch.setattr(link, "_endpoints", refuse)
    async with adapter(plant, certs) as plc:
        with pytest.raises(NotConnected, match=r"name it in security\.server_certificate"):
            await plc.connect()
    async with adapter(plant, certs, security={**SECURED, "server_certificate": "plant.der"}) as plc:
        await plc.connect()
        await Tap(plc).next("temp")
    async with adapter(plant, certs, security={**SECURED, "server_certificate": "other.der"}) as plc:
        with pytest.raises(BadConfig, match=r"there is no .*other\.der"):
            await plc.connect()


async def test_a_wrong_password_is_said(plant, certs):
    async with adapter(plant, certs, password="wrong") as plc:
        with pytest.raises(NotConnected, match=r"logging in failed: Bad.*user 'gateway' or its password"):
            await plc.connect()


async def test_a_server_without_anonymous_users_is_said(plant, certs):
    async with adapter(plant, certs, user=None, password=None) as plc:
        with pytest.raises(NotConnected, match="anonymous; right would be `user` and `password`"):
            await plc.connect()


async def test_a_server_that_does_not_trust_us_is_said_with_the_file_to_give_it(plant, certs, doorman):
    doorman.refuses = ua.StatusCodes.BadCertificateUntrusted
    async with adapter(plant, certs) as plc:
        with pytest.raises(NotConnected, match=r"BadCertificateUntrusted.*copy .*own/certificate\.der into"):
            await plc.connect()
        doorman.refuses = None
        await plc.connect()


async def test_a_policy_the_server_has_not_is_said_with_what_it_offers(plant, certs):
    async with adapter(plant, certs, security={"policy": "None"}) as plc:
        with pytest.raises(NotConnected, match=r"does not offer security None.*Basic256Sha256 Sign"):
            await plc.connect()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ends": -timedelta(hours=1)}, "BadCertificateTimeInvalid: it expired on"),
        ({"starts": timedelta(days=1)}, "BadCertificateTimeInvalid: it is not valid before"),
    ],
    ids=["expired", "not yet valid"],
)
async def test_a_server_whose_certificate_has_the_wrong_time_is_refused(tmp_path, changes, words):
    made = server_certificate(**changes)
    certificate, key = made.write(tmp_path / "server")
    server = OpcUaServer(policies=POLICIES, uri=SERVER_URI, certificate=certificate, key=key)
    on = InThread(server)
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "it.der").write_bytes(made.der)
    async with adapter(on, tmp_path) as plc:
        with pytest.raises(NotConnected, match=words):
            await plc.connect()
    await on(server.stop())


async def test_a_password_in_clear_text_is_warned_of(tmp_path):
    server = OpcUaServer(users=Users("gateway", "right"))
    on = InThread(server)
    async with adapter(on, tmp_path, security={"policy": "None"}) as plc:
        await plc.connect()
        assert any("clear text" in s for s in plc.health().degraded)
    await on(server.stop())
