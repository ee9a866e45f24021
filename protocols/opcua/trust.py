"""Whether a server's certificate is good enough: the judgement of OPC 10000-4 section 6.1.3 with words for people. Pure.

A certificate that itself stands in the list was looked at by a person: a wrong host name, application URI or usage is then only a
warning, since plants are full of them. One that is trusted through an authority, over any number of authorities between them that
the server shows or that lie in issuers/, must fit in every way. Nothing excuses a wrong
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

_LONGEST_PATH = 5


@dataclass(frozen=True, slots=True)
class TrustList:
    certificates: list[x509.Certificate] = field(default_factory=list)
    revocations: list[x509.CertificateRevocationList] = field(default_factory=list)
    issuers: list[x509.Certificate] = field(default_factory=list)
    """Authorities between a server and a trusted authority; believed only if that one vouches for them."""
    unreadable: list[str] = field(default_factory=list)
    """Files that are neither, for people."""


@dataclass(slots=True)
class Verdict:
    refusals: list[str] = field(default_factory=list)
    """`BadCertificate...: sentence`; empty: the certificate is accepted."""
    warnings: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    """Authorities that vouch for it and of which crl/ holds no revocation list: what they revoked is believed all the same."""
    unknown: bool = False
    """Neither it nor its issuer is in the list: a person may put it there."""


def judge(
    chain: list[x509.Certificate], trusted: TrustList, now: datetime, host: str, server_uri: str | None
) -> Verdict:
    """`chain`: what the server shows, its own certificate first, authorities after it. `host` is what the endpoint names; `server_uri`
    what the server says it is called."""
    certificate = chain[0]
    verdict = Verdict()
    listed = certificate in trusted.certificates
    path = [] if listed else _path(certificate, trusted, chain[1:] + trusted.issuers, now)
    verdict.unknown = path is None
    if path is None:
        verdict.refusals.append(
            "BadCertificateUntrusted: neither it nor an authority that signed it is in the trust list; "
            f"it was issued by {certificate.issuer.rfc4514_string()}"
        )
    _check_time(certificate, now, verdict)
    _check_strength(certificate, verdict)
    signed = [certificate, *(path or [])]
    for one, issuer in zip(signed, [*(path or []), None], strict=True):
        _check_revocation(one, issuer, trusted, now, verdict)
    misfits = verdict.warnings if listed else verdict.refusals
    misfits += _misfits(certificate, host, server_uri)
    return verdict


def _path(
    certificate: x509.Certificate, trusted: TrustList, known: list[x509.Certificate], now: datetime, depth: int = 0
) -> list[x509.Certificate] | None:
    """The authorities from the one that signed it up to one in the list; each signed the one before, may do so, and is in force."""
    if depth > _LONGEST_PATH:
        return None
    for authority in trusted.certificates + known:
        if not _signed(certificate, authority, now, depth):
            continue
        if authority in trusted.certificates:
            return [authority]
        further = None if authority.subject == authority.issuer else _path(authority, trusted, known, now, depth + 1)
        if further is not None:
            return [authority, *further]
    return None


def _signed(certificate: x509.Certificate, authority: x509.Certificate, now: datetime, depth: int) -> bool:
    """`depth`: how many authorities stand between the server and this one."""
    if authority.subject != certificate.issuer or not _may_sign(authority, depth):
        return False
    if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
        return False
    with suppress(InvalidSignature, ValueError, TypeError):
        certificate.verify_directly_issued_by(authority)
        return True
    return False


def _may_sign(authority: x509.Certificate, depth: int) -> bool:
    try:
        limits = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return limits.ca and (limits.path_length is None or limits.path_length >= depth)


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
        verdict.refusals.append(
            "BadCertificatePolicyCheckFailed: its key is not RSA, which the security policies here need"
        )
    elif not 2048 <= key.key_size <= 4096:
        verdict.refusals.append(
            f"BadCertificatePolicyCheckFailed: its key has {key.key_size} bits; the security policies here need 2048 to 4096"
        )
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        verdict.refusals.append(
            f"BadCertificatePolicyCheckFailed: it is signed with {certificate.signature_hash_algorithm.name.upper()}; needs SHA-256"
        )


def _check_revocation(
    certificate: x509.Certificate, issuer: x509.Certificate | None, trusted: TrustList, now: datetime, verdict: Verdict
) -> None:
    lists = [each for each in trusted.revocations if each.issuer == certificate.issuer]
    if issuer is not None and not lists:
        verdict.unchecked.append(issuer.subject.rfc4514_string())
    for revocations in lists:
        if issuer is not None and not revocations.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            verdict.warnings.append("a revocation list in crl/ was not signed by the issuer it names; it is not used")
            continue
        if revocations.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            verdict.refusals.append(f"BadCertificateRevoked: its issuer has revoked {_called(certificate)}")
        ends = revocations.next_update_utc
        if ends is not None and ends < now:
            verdict.warnings.append(
                f"the revocation list of its issuer ended on {ends:%Y-%m-%d}; right would be a new one in crl/"
            )


def _called(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "it"


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
