"""Whether a password would leave this machine for all to read, and the words for it. Pure."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Final

MQTT: Final = (
    "travels in clear text to {at}, with everything else: whoever is on the wire reads it; right would be `tls`"
)
OPCUA: Final = (
    "with `security.policy: None` nobody checks that {at} is the server before it gets the password, and unless the server itself asks for "
    "it encrypted, it travels in clear text; right would be a policy such as Basic256Sha256"
)


def is_loopback(host: str) -> bool:
    """Does what is sent there stay on this machine?"""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
