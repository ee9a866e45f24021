"""What went wrong with a connection, in words a person can act on. Pure."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

from protocols.contract import Cause

REFUSALS: Final = {
    "Bad user name or password": "refuses the user name or password; check `user`, `password` and the broker's password file",
    "Not authorized": "does not let this user or client id in; check `user`, `password` and the broker's access rules",
    "Client identifier not valid": "does not accept the client id {client_id!r}; set `client_id` to one it allows",
    "Unsupported protocol version": "does not speak MQTT {version}; set `version` to {other!r}",
    "Server unavailable": "is not ready to take connections",
    "Server busy": "is busy; it says to try later",
    "Banned": "has banned this client; ask who runs it",
    "Use another server": "sends us to another server; set `host` and `port` to that one",
    "Server moved": "has moved; set `host` and `port` to the new place",
    "Quota exceeded": "says that a quota of this client is used up; ask who runs it",
    "Connection rate exceeded": "says that too many connections were made; make `retry` slower",
    "Packet too large": "says that our CONNECT is too large for it; shorten `client_id`, `user` or `password`",
    "Bad authentication method": "wants another way of authentication than user and password",
}
LOSSES: Final = {
    "Session taken over": "another client connected with the client id {client_id!r} and took over the session; give each its own `client_id`",
    "Server shutting down": "the broker is shutting down",
    "Keep alive timeout": "the broker says that it heard nothing from here for too long",
    "Administrative action": "somebody ended this connection on the broker",
    "Receive maximum exceeded": "the broker says that we sent more than it takes at once",
    "Packet too large": "the broker says that a packet was too large for it",
    "Not authorized": "the broker no longer lets this client in",
    "Use another server": "the broker sends us to another server; set `host` and `port` to that one",
    "Server moved": "the broker has moved; set `host` and `port` to the new place",
    "Quota exceeded": "the broker says that a quota of this client is used up; ask who runs it",
    "Message rate too high": "the broker says that too many messages came from this client",
    "Maximum connect time": "the broker lets no connection last longer than this one did",
    "Connection rate exceeded": "the broker says that too many connections were made; make `retry` slower",
    "Topic alias invalid": "the broker says that we used a topic alias, which this gateway never does",
}
_CERTIFICATE: Final = {
    9: "is not valid yet; check the clock of this machine",
    10: "has expired; the broker needs a new one, or this machine's clock is wrong",
    18: "is signed by itself; put it into `tls.ca` if you trust it",
    19: "comes from an authority that is not trusted here; set `tls.ca` to that authority's certificate",
    20: "comes from an authority that is not trusted here; set `tls.ca` to that authority's certificate",
    21: "comes from an authority that is not trusted here; set `tls.ca` to that authority's certificate",
    62: "is for another name; set `host` to a name that stands in it",
    64: "is for another address; set `host` to a name or address that stands in it",
}


def alike(filters: Iterable[tuple[str, str]]) -> list[Cause]:
    """What the broker does not do about topic filters: one for each answer of it."""
    topics: dict[str, list[str]] = {}
    for topic, answer in filters:
        topics.setdefault(answer, []).append(topic)
    return [Cause(answer, tuple(named), what="topics") for answer, named in topics.items()]


def told(properties: Any) -> str:
    """What a broker of version 5 adds to its reason: another server's name, a sentence of its own."""
    place, said = (getattr(properties, name, None) for name in ("ServerReference", "ReasonString"))
    parts = [f"it names {str(place)[:200]!r}"] if place else []
    parts += [f"it says {str(said)[:200]!r}"] if said else []
    return f" ({'; '.join(parts)})" if parts else ""


def refused(reason: str, client_id: str, version: str) -> str:
    other = "5" if version == "3.1.1" else "3.1.1"
    return REFUSALS.get(reason, f"refuses the connection: {reason}").format(
        client_id=client_id, version=version, other=other
    )


def lost(reason: str, client_id: str) -> str:
    return LOSSES.get(reason, f"the broker ended the connection: {reason}").format(client_id=client_id)


def mute(known: bool) -> str:
    """It takes the connection and then says nothing."""
    if known:
        return "it takes connections but no longer answers: it hangs, or has too much to do"
    return "connected, then no answer; does this port speak MQTT?"


def unreachable(wrong: BaseException) -> str:
    """Why no TCP or TLS connection came about."""
    if isinstance(wrong, ssl.SSLCertVerificationError):
        return f"its certificate {_CERTIFICATE.get(wrong.verify_code, f'cannot be trusted: {wrong.verify_message}')}"
    if isinstance(wrong, ssl.SSLError):
        return alert(wrong)
    if isinstance(wrong, socket.gaierror):
        return "the name is not known; check `host` and this machine's name server"
    if isinstance(wrong, ConnectionRefusedError):
        return "nobody listens there; check `port`, and that the broker runs and listens on more than its own loopback"
    if isinstance(wrong, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return "it ended the connection during the start; does this port want TLS, or another protocol?"
    if isinstance(wrong, TimeoutError):
        return "no answer; check the address, the network and its firewalls"
    return str(wrong) or type(wrong).__name__


def alert(wrong: ssl.SSLError) -> str:
    """TLS alerts and failures by the reason OpenSSL gives."""
    reason = (wrong.reason or str(wrong)).upper()
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason or "HTTP_REQUEST" in reason:
        return "this port does not speak TLS; take `tls` away, or use the broker's TLS port"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "it wants a certificate of this gateway, or no common cipher was found; set `tls.cert` and `tls.key`"
    if (
        "UNKNOWN_CA" in reason
        or "BAD_CERTIFICATE" in reason
        or "CERTIFICATE_EXPIRED" in reason
        or "CERTIFICATE_UNKNOWN" in reason
    ):
        return f"it does not accept this gateway's certificate ({reason.lower().replace('_', ' ')}); check `tls.cert` and the broker's authorities"
    return f"TLS failed: {reason.lower().replace('_', ' ')}"
