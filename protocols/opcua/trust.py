"""Whether a server's certificate is good enough: the judgement of OPC 10000-4 section 6.1.3 with words for people. Pure.

A certificate that itself stands in the list was looked at by a person: a wrong host name, application URI or usage is then only a
warning, since plants are full of them. One that is trusted through its issuer must fit in every way. Nothing excuses a wrong
time, a key that is too short, or a revocation.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True, slots=True)
class TrustList:
    certificates: list[x509.Certificate] = field(default_factory=list)
    revocations: list[x509.CertificateRevocationList] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Files that are neither, for people."""


@dataclass(slots=True)
class Verdict:
    refusals: list[str] = field(default_factory=list)
    """`BadCertificate...: sentence`; empty: the certificate is accepted."""
    warnings: list[str] = field(default_factory=list)
    unknown: bool = False
    """Neither it nor its issuer is in the list: a person may put it there."""


def judge(
    certificate: x509.Certificate, trusted: TrustList, now: datetime, host: str, server_uri: str | None
) -> Verdict:
    """`host` is what the endpoint names; `server_uri` what the server says it is called."""
    verdict = Verdict()
    listed = any(fingerprint(certificate) == fingerprint(c) for c in trusted.certificates)
    issuer = None if listed else _issuer(certificate, trusted, now)
    verdict.unknown = not listed and issuer is None
    if verdict.unknown:
        verdict.refusals.append("BadCertificateUntrusted: neither it nor its issuer is in the trust list")
    _check_time(certificate, now, verdict)
    _check_strength(certificate, verdict)
    _check_revocation(certificate, issuer, trusted, now, verdict)
    misfits = verdict.warnings if listed else verdict.refusals
    misfits += _misfits(certificate, host, server_uri)
    return verdict


def _issuer(certificate: x509.Certificate, trusted: TrustList, now: datetime) -> x509.Certificate | None:
    """The authority in the list that signed it, itself in force; chains must have their lowest authority in the list."""
    for authority in trusted.certificates:
        if authority.subject != certificate.issuer or not _may_sign(authority):
            continue
        if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
            continue
        with suppress(InvalidSignature, ValueError, TypeError):
            certificate.verify_directly_issued_by(authority)
            return authority
    return None


def _may_sign(authority: x509.Certificate) -> bool:
    try:
        return bool(authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _check_time(certificate: x509.Certificate, now: datetime, verdict: Verdict) -> None:
    if now > certificate.not_valid_after_utc:
        verdict.refusals.append(
            f"BadCertificateTimeInvalid: it expired on {certificate.not_valid_after_utc:%Y-%m-%d}; "
            "right would be a new certificate at the server, or the right time on this gateway's clock"
        )
    if now < certificate.not_valid_before_utc:
        verdict.refusals.append(
            f"BadCertificateTimeInvalid: it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC and it is "
            f"{now:%Y-%m-%d %H:%M} here; right would be the right time on both clocks"
        )


def _check_strength(certificate: x509.Certificate, verdict: Verdict) -> None:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        verdict.refusals.append("BadCertificatePolicyCheckFailed: its key is not RSA, which Basic256Sha256 needs")
    elif not 2048 <= key.key_size <= 4096:
        verdict.refusals.append(
            f"BadCertificatePolicyCheckFailed: its key has {key.key_size} bits; Basic256Sha256 needs 2048 to 4096"
        )
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        verdict.refusals.append(
            f"BadCertificatePolicyCheckFailed: it is signed with {certificate.signature_hash_algorithm.name.upper()}; needs SHA-256"
        )


def _check_revocation(
    certificate: x509.Certificate, issuer: x509.Certificate | None, trusted: TrustList, now: datetime, verdict: Verdict
) -> None:
    for revocations in trusted.revocations:
        if revocations.issuer != certificate.issuer:
            continue
        if issuer is not None and not revocations.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            verdict.warnings.append("a revocation list in crl/ was not signed by the issuer it names; it is not used")
            continue
        if revocations.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            verdict.refusals.append("BadCertificateRevoked: its issuer has revoked it")
        ends = revocations.next_update_utc
        if ends is not None and ends < now:
            verdict.warnings.append(
                f"the revocation list of its issuer ended on {ends:%Y-%m-%d}; right would be a new one in crl/"
            )


def _misfits(certificate: x509.Certificate, host: str, server_uri: str | None) -> list[str]:
    found = []
    hosts = _hosts(certificate)
    if host.lower() not in hosts:
        found.append(
            f"BadCertificateHostNameInvalid: it is for {', '.join(sorted(hosts)) or 'no host'}, the endpoint says {host}; "
            "right would be one of these in `endpoint`, or a certificate with this host"
        )
    uris = application_uris(certificate)
    if server_uri and server_uri not in uris:
        found.append(
            f"BadCertificateUriInvalid: it is for {', '.join(uris) or 'no application'}, the server calls itself {server_uri}"
        )
    if missing := _missing_usages(certificate):
        found.append(f"BadCertificateUseNotAllowed: it may not be used for {', '.join(missing)}")
    return found


def _missing_usages(certificate: x509.Certificate) -> list[str]:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ["anything (no key usage)"]
    wanted = {"digital signature": usage.digital_signature, "key encipherment": usage.key_encipherment,
              "data encipherment": usage.data_encipherment}  # fmt: skip
    return [name for name, there in wanted.items() if not there]


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def application_uris(certificate: x509.Certificate) -> list[str]:
    names = _names(certificate)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names else []


def _hosts(certificate: x509.Certificate) -> set[str]:
    names = _names(certificate)
    if names is None:
        return set()
    addresses = names.get_values_for_type(x509.IPAddress)
    found = {name.lower() for name in names.get_values_for_type(x509.DNSName)} | {str(a) for a in addresses}
    if any(isinstance(a, ipaddress.IPv4Address | ipaddress.IPv6Address) and a.is_loopback for a in addresses):
        found.add("localhost")
    return found


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, in hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()
