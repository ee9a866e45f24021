"""The certificate directory: our own certificate and key, made at first use and kept; whom we trust; whom we refused.

    own/certificate.der, own/key.pem   ours; put your company's here instead before the first start if you have one
    trusted/    servers' certificates, or authorities' that vouch for them (.der, .cer, .crt, .pem)
    issuers/    authorities between those and the servers, where the servers do not show them
    rejected/   what was refused, to be moved to trusted/ by a person
    crl/        revocation lists of issuers (.crl, .der, .pem)

Files only; whether a certificate is good enough is trust.py's judgement. Several adapters may share the directory and start at once.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.contract import BadConfig
from protocols.opcua.trust import TrustList, application_uris, fingerprint

_VALID = timedelta(days=5 * 365)
_SUFFIXES = {".der", ".cer", ".crt", ".pem"}


def directory(certs_dir: str | None) -> Path:
    """The configured directory, which a gateway always gives (protocols/load.py); else one in the current directory."""
    return Path(certs_dir or "certs/opcua")


@dataclass(frozen=True, slots=True)
class Own:
    """The gateway's identity towards servers."""

    certificate: x509.Certificate
    certificate_file: Path
    key_file: Path

    @property
    def uri(self) -> str:
        return application_uris(self.certificate)[0]


def own(folder: Path, application_uri: str | None, now: datetime) -> Own:
    """Our certificate, made if there is none. Blocks for the making of a key. Raises BadConfig for what a person must put right."""
    certificate_file, key_file = folder / "own" / "certificate.der", folder / "own" / "key.pem"
    try:
        for name in ("own", "trusted", "issuers", "rejected", "crl"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if certificate_file.exists() and not key_file.exists():
            raise BadConfig(f"{key_file} is missing beside {certificate_file.name}; right would be both or neither")
        key = _kept_key(key_file)
        if not certificate_file.exists():
            uri = application_uri or f"urn:{socket.gethostname()}:streamforge"
            _write_once(certificate_file, _self_signed(key, uri, now).public_bytes(serialization.Encoding.DER), 0o644)
        certificate = load(certificate_file)
    except OSError as wrong:
        raise BadConfig(
            f"{folder} cannot be used for certificates: {wrong}; right would be a directory to write to"
        ) from None
    _check_own(certificate, certificate_file, key, application_uri)
    return Own(certificate, certificate_file, key_file)


def _check_own(certificate: x509.Certificate, file: Path, key: rsa.RSAPrivateKey, uri: str | None) -> None:
    if certificate.public_key() != key.public_key():
        raise BadConfig(f"{file} and key.pem beside it do not belong together; right would be the key it was made with")
    uris = application_uris(certificate)
    if not uris:
        raise BadConfig(f"{file} names no application URI (subject alternative name); OPC UA servers will refuse it")
    if uri is not None and uri not in uris:
        raise BadConfig(
            f"application_uri: {uri} is not in {file}, which is for {', '.join(uris)}; right would be that, or another certs_dir"
        )


def _kept_key(file: Path) -> rsa.RSAPrivateKey:
    if not file.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        _write_once(file, made.private_bytes(serialization.Encoding.PEM, form, secret), 0o600)
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as wrong:
        raise BadConfig(f"{file} is not a private key in PEM without a password: {wrong}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadConfig(f"{file} is no RSA key; the security policies here need RSA of 2048 to 4096 bits")
    return key


def _write_once(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never over what another process wrote meanwhile."""
    descriptor, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(descriptor, mode)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    with suppress(FileExistsError):
        os.link(part, file)
    Path(part).unlink()


def _self_signed(key: rsa.RSAPrivateKey, uri: str, now: datetime) -> x509.Certificate:
    """With every usage OPC 10000-6 section 6.2.2 asks for; servers refuse certificates that lack one, often without a reason."""
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"StreamForge@{host}"[:64]),
                      x509.NameAttribute(NameOID.ORGANIZATION_NAME, "StreamForge")])  # fmt: skip
    usage = x509.KeyUsage(digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
                          key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False)  # fmt: skip
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # servers' clocks may be behind
        .not_valid_after(now + _VALID)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), _host_name(host)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _host_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def load(file: Path) -> x509.Certificate:
    """The first one in the file. Raises BadConfig."""
    return load_all(file)[0]


def load_all(file: Path) -> list[x509.Certificate]:
    """PEM or DER, by its content; authorities often give out several in one file. Raises BadConfig."""
    content = file.read_bytes()
    try:
        return x509.load_pem_x509_certificates(content) if b"-----BEGIN" in content else chain(content)
    except ValueError as wrong:
        raise BadConfig(f"{file} is not a certificate in DER or PEM: {wrong}") from None


def chain(der: bytes) -> list[x509.Certificate]:
    """The certificates in `der`, one behind the other. Raises ValueError."""
    found = []
    while der:
        length = _der_length(der)
        found.append(x509.load_der_x509_certificate(der[:length]))
        der = der[length:]
    if not found:
        raise ValueError("it is empty")
    return found


def _der_length(der: bytes) -> int:
    """Of the first structure: tag, then one byte of length, or how many bytes of length follow."""
    if len(der) < 2 or der[1] < 0x80:
        return len(der)
    size = der[1] & 0x7F
    return 2 + size + int.from_bytes(der[2 : 2 + size], "big")


def trust_list(folder: Path) -> TrustList:
    """What a person put there; files that are no certificates are named, not fatal: they must not cut off a running plant."""
    unreadable: list[str] = []
    certificates, issuers = (_certificates(folder / room, unreadable) for room in ("trusted", "issuers"))
    lists = []
    for file in sorted((folder / "crl").iterdir()):
        try:
            lists.append(_load_crl(file))
        except (ValueError, OSError) as wrong:
            unreadable.append(f"{file} is not a revocation list: {wrong}")
    return TrustList(certificates, lists, issuers, unreadable)


def _certificates(room: Path, unreadable: list[str]) -> list[x509.Certificate]:
    found = []
    for file in sorted(room.iterdir()):
        if file.suffix.lower() in _SUFFIXES:
            try:
                found += load_all(file)
            except (BadConfig, OSError) as wrong:
                unreadable.append(str(wrong))
    return found


def _load_crl(file: Path) -> x509.CertificateRevocationList:
    content = file.read_bytes()
    return x509.load_pem_x509_crl(content) if b"-----BEGIN" in content else x509.load_der_x509_crl(content)


def keep(folder: Path, room: str, certificate: x509.Certificate) -> Path:
    """Save a server's certificate into `rejected` or `trusted`, under its name and fingerprint; the same one only once."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    label = "".join(c if c.isalnum() else "_" for c in str(names[0].value))[:40] if names else "server"
    file = folder / room / f"{label}_{fingerprint(certificate)[:16]}.der"
    if not file.exists():
        _write_once(file, certificate.public_bytes(serialization.Encoding.DER), 0o644)
    return file


def expiry_warning(what: str, certificate: x509.Certificate, now: datetime) -> str | None:
    """A sentence from 30 days before the end on."""
    left = certificate.not_valid_after_utc - now.astimezone(UTC)
    if left > timedelta(days=30):
        return None
    when = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if left < timedelta(0):
        return f"{what} expired on {when}; servers may refuse it"
    return f"{what} expires on {when}, in {left.days} days"
