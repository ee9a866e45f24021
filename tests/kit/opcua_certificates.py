"""Certificates for OPC UA tests, right in every way unless told otherwise."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_URI = "urn:streamforge:test:server"
NOW = datetime.now(UTC)


@cache
def key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Made once a run: making keys is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Made:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """certificate.der and key.pem, as a server wants them."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "certificate.der").write_bytes(self.der)
        form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "key.pem").write_bytes(self.key.private_bytes(serialization.Encoding.PEM, form, secret))
        return folder / "certificate.der", folder / "key.pem"


def server_certificate(
    *,
    name: str = "Press 4",
    uri: str | None = SERVER_URI,
    hosts: tuple[str, ...] = ("127.0.0.1", "press4.example"),
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=365),
    private: rsa.RSAPrivateKey | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    encipherment: bool = True,
    issuer: Made | None = None,
    is_authority: bool = False,
    serial: int | None = None,
) -> Made:
    private = private or key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)] if uri else []
    names += [_host(host) for host in hosts]
    usage = x509.KeyUsage(digital_signature=True, content_commitment=True, key_encipherment=encipherment, data_encipherment=encipherment,
                          key_agreement=False, key_cert_sign=is_authority, crl_sign=is_authority, encipher_only=False, decipher_only=False)  # fmt: skip
    builder = (
        x509.CertificateBuilder(
            issuer.certificate.subject if issuer else subject,
            subject,
            private.public_key(),
            serial or x509.random_serial_number(),
        )
        .not_valid_before(NOW + starts)
        .not_valid_after(NOW + ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Made(builder.sign(issuer.key if issuer else private, algorithm or hashes.SHA256()), private)


def authority(name: str = "Plant CA", **changes) -> Made:
    return server_certificate(name=name, uri=None, hosts=(), private=key(1), is_authority=True, **changes)


def revocations(
    issuer: Made, *serials: int, ends: timedelta = timedelta(days=7), signer: rsa.RSAPrivateKey | None = None
):
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - timedelta(days=30))
        .next_update(NOW + ends)
    )
    for serial in serials:
        revoked = (
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - timedelta(days=2)).build()
        )
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(signer or issuer.key, hashes.SHA256())


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
