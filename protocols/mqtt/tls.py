"""Encryption of one connection: what the configuration may say of it, and the context made of that, which reads the certificate files."""

from __future__ import annotations

import ssl
from pathlib import Path

from protocols.contract import BadConfig
from schemas.model import Model, Unfit, together


class TlsConfig(Model):
    """Encryption. `tls: {}` trusts the certificate authorities of this machine."""

    ca: str | None = None
    """PEM file with the authorities to trust instead of this machine's."""
    cert: str | None = None
    """PEM file with this gateway's certificate, for brokers that ask for one."""
    key: str | None = None
    """PEM file with its key. Unset: it stands in `cert`."""
    verify: bool = True
    """False: any certificate is taken. Whoever is on the wire can then read and change everything; for a trial only."""

    @together
    def _key_has_a_certificate(self) -> Unfit:
        if self.key and not self.cert:
            yield ("key",), "stands without cert; right would be both"


def context(config: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer. Raises BadConfig."""
    for field, name in (("ca", config.ca), ("cert", config.cert), ("key", config.key)):
        if name is not None and not Path(name).is_file():
            raise BadConfig(
                f"tls.{field}: there is no file {name}; right would be a PEM file that the gateway may read"
            )
    try:
        made = ssl.create_default_context(cafile=config.ca)
    except (ssl.SSLError, OSError) as wrong:
        raise BadConfig(f"tls.ca: {config.ca} holds no certificates ({wrong}); right would be a PEM file") from None
    # From Python 3.13 on also the form of certificates is judged, and what a plant's own authority signs often has no key identifier.
    # Trust is the same with every Python: chain, dates and name.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not config.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if config.cert:
        try:
            made.load_cert_chain(config.cert, config.key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as wrong:
            raise BadConfig(
                f"tls.cert, tls.key: {config.cert} and {config.key or config.cert} are no certificate with its key without a password ({wrong})"
            ) from None
    return made


def _no_password() -> str:
    """Asked for by OpenSSL for an encrypted key: better an error than a prompt on the terminal of a daemon."""
    raise ValueError("the key is encrypted")
