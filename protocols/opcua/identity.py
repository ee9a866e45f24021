"""Our own certificate and the judgement of the server's, with the files around them: a thin edge over certificates.py and trust.py."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protocols.contract import BadConfig, NotConnected
from protocols.opcua import certificates
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.trust import Verdict, fingerprint, judge

_log = logging.getLogger(__name__)
_SAID: set[tuple[str, str]] = set()
"""Of which adapter and authority it was said that nothing of it can be seen to be revoked."""


@dataclass(frozen=True, slots=True)
class Identity:
    folder: Path
    own: certificates.Own


def identity(config: OpcUaConfig) -> Identity | None:
    """Our certificate, made at first use; None where the policy needs none. Blocks. Raises BadConfig."""
    if config.security.policy == "None":
        return None
    folder = certificates.directory(config.certs_dir)
    return Identity(folder, certificates.own(folder, config.application_uri, datetime.now(UTC)))


def check_server(
    config: OpcUaConfig, mine: Identity, der: bytes | None, server_uri: str | None
) -> tuple[bytes, list[str]]:
    """The server's own certificate (the first of a chain) and what is odd about it. Blocks. Raises NotConnected if it is not trusted."""
    shown = _parsed(config, der)
    certificate = shown[0]
    now, host = datetime.now(UTC), urlsplit(config.endpoint).hostname or ""
    trusted = certificates.trust_list(mine.folder)
    verdict = judge(shown, trusted, now, host, server_uri)
    if verdict.unknown and config.security.trust == "first_use" and _is_first(config, mine, certificate):
        trusted = certificates.trust_list(mine.folder)
        verdict = judge(shown, trusted, now, host, server_uri)
    if verdict.refusals:
        raise _refusal(config, mine, certificate, verdict)
    _say_unchecked(config, mine, verdict)
    expiry = certificates.expiry_warning("the server's certificate", certificate, now)
    warnings = (
        [f"the server's certificate: {w}" for w in verdict.warnings] + trusted.unreadable + ([expiry] if expiry else [])
    )
    return certificate.public_bytes(Encoding.DER), warnings


def _say_unchecked(config: OpcUaConfig, mine: Identity, verdict: Verdict) -> None:
    """Once for each authority in the life of a process: plants without revocation lists are common, and this is no fault of theirs."""
    for authority in verdict.unchecked:
        if (config.id, authority) not in _SAID:
            _SAID.add((config.id, authority))
            _log.warning(
                "%s: the server is trusted through %s, and %s holds no revocation list of that authority: what it revoked would be "
                "trusted all the same; right would be its list there, renewed before it ends",
                config.endpoint, authority, mine.folder / "crl",
            )  # fmt: skip


def pinned(config: OpcUaConfig, mine: Identity) -> bytes | None:
    """The certificate of the file named in the settings, if one is. Blocks. Raises BadConfig."""
    name = config.security.server_certificate
    if name is None:
        return None
    file = mine.folder / "trusted" / name
    if not file.is_file():
        raise BadConfig(
            f"security.server_certificate: there is no {file}; right would be the server's certificate there"
        )
    return certificates.load(file).public_bytes(Encoding.DER)


def _parsed(config: OpcUaConfig, der: bytes | None) -> list[x509.Certificate]:
    if not der:
        raise NotConnected(f"{config.endpoint}: the server shows no certificate")
    try:
        return certificates.chain(der)
    except ValueError as wrong:
        raise NotConnected(f"{config.endpoint}: the server's certificate is unreadable: {wrong}") from None


def _is_first(config: OpcUaConfig, mine: Identity, certificate: x509.Certificate) -> bool:
    """Trust on first use: true, and the certificate is in the list, if this adapter has never believed another one."""
    memory = mine.folder / "trusted" / f"first_use_{config.id}.txt"
    if memory.exists():
        return False
    certificates.keep(mine.folder, "trusted", certificate)
    memory.write_text(fingerprint(certificate) + "\n")
    return True


def _refusal(config: OpcUaConfig, mine: Identity, certificate: x509.Certificate, verdict: Verdict) -> NotConnected:
    text = f"{config.endpoint}: the server's certificate is refused: {'; '.join(verdict.refusals)}."
    if not verdict.unknown:
        return NotConnected(text)
    file = certificates.keep(mine.folder, "rejected", certificate)
    text = f"{text} Subject {certificate.subject.rfc4514_string()}, SHA-256 {fingerprint(certificate)}"
    return NotConnected(
        text,
        "compare the SHA-256 with the one shown at the server; if it is the server's, trust it with: "
        f"mv {quote(str(file))} {quote(str(mine.folder / 'trusted'))}/ and the next attempt goes through, without a restart",
    )


def own_warnings(mine: Identity | None) -> list[str]:
    """What people should know about our own certificate."""
    if mine is None:
        return []
    expiry = certificates.expiry_warning(
        f"the gateway's certificate {mine.own.certificate_file}", mine.own.certificate, datetime.now(UTC)
    )
    return [expiry] if expiry else []
