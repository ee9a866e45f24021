"""Words for people: why a server could not be reached or went away, and what to do about it. Pure, but for asyncua's log."""

from __future__ import annotations

import logging
import socket

from asyncua.ua.uaerrors import UaStatusCodeError

from protocols.opcua import quality
from protocols.opcua.binary import Refused
from protocols.opcua.config import OpcUaConfig

_OURS = (
    "the server does not accept this gateway's certificate: copy {certificate} into the server's trust list "
    "(by now it often lies in its list of rejected ones)"
)
ASKING = "asking for its endpoints"
_HINTS = {
    ASKING: "the server says nothing without security: put its certificate into trusted/ and name it in security.server_certificate",
    "BadCertificateUntrusted": _OURS,
    "BadSecurityChecksFailed": _OURS,
    "BadCertificateInvalid": _OURS,
    "BadCertificateTimeInvalid": "the server finds our certificate not (or no longer) valid: compare both clocks, then see {certificate}",
    "BadCertificateUriInvalid": "the server compares our application_uri with {certificate}: right would be the one in it",
    "BadCertificateUseNotAllowed": "the server misses a key usage in {certificate}: right would be one made by this gateway",
    "BadIdentityTokenInvalid": "the server does not take this kind of login ({login}) here",
    "BadIdentityTokenRejected": "the server refuses {login}",
    "BadUserAccessDenied": "the server refuses {login}",
    "BadUserSignatureInvalid": "the server refuses {login}",
    "BadIdentityChangeNotSupported": "the server does not let {login} in on this connection",
    "BadLicenseExceeded": "the server's licence allows no further session: close other clients",
    "BadLicenseExpired": "the server's licence has expired",
    "BadLicenseLimitsExceeded": "the server's licence allows no further session: close other clients",
    "BadPasswordChangeRequired": "the server wants a new password for {login} before anything else",
    "BadNoValidCertificates": "the server has no certificate of its own: make one there",
    "BadShutdown": "the server is being shut down",
    "BadServerHalted": "the server was stopped by its operator",
    "BadTooManySessions": "the server has no session left: close other clients, or wait until their sessions end",
    "BadMaxConnectionsReached": "the server has no connection left: close other clients",
    "BadTcpEndpointUrlInvalid": "the server does not know the path in {endpoint}",
    "BadSecurityPolicyRejected": "the server does not offer security {security}",
    "BadSecurityModeRejected": "the server does not offer security {security}",
}
SESSION_GONE = frozenset({
    0x80250000, 0x80260000, 0x80270000,  # BadSessionIdInvalid, BadSessionClosed, BadSessionNotActivated
    0x80220000, 0x80860000, 0x80870000,  # BadSecureChannelIdInvalid, BadSecureChannelClosed, BadSecureChannelTokenUnknown
    0x80050000, 0x808A0000, 0x800D0000,  # BadCommunicationError, BadNotConnected, BadServerNotConnected
    0x80AD0000, 0x80AE0000,              # BadDisconnect, BadConnectionClosed
    0x800C0000, 0x800E0000,              # BadShutdown, BadServerHalted
})  # fmt: skip
"""Answers after which a session is of no more use."""


_LIMITS = {
    "BadTooManySubscriptions": "the server has no subscription left: close other clients, or wait until those of lost connections end",
    "BadTooManyMonitoredItems": "fewer points here, or a larger limit at the server",
    "BadTooManyPublishRequests": "fewer connections of this user at the server",
    "BadServiceUnsupported": "the server cannot do this; for subscriptions right would be `mode: poll` on every point",
}


def refusal(config: OpcUaConfig, work: str, code: int) -> str:
    """Why a connection that stood ends: the server refuses what `work` needs."""
    hint = _LIMITS.get(quality.name(code), "")
    text = f"{config.endpoint}: the server refuses what is needed ({work}): {quality.words(code)}"
    return text + (f". Right would be: {hint}" if hint else "")


def security(config: OpcUaConfig) -> str:
    """`Basic256Sha256 sign_and_encrypt`, `None`."""
    return (
        config.security.policy
        if config.security.policy == "None"
        else f"{config.security.policy} {config.security.mode}"
    )


def login(config: OpcUaConfig) -> str:
    return (
        "anonymous; right would be `user` and `password`"
        if config.user is None
        else f"user {config.user!r} or its password"
    )


def status_of(wrong: BaseException) -> int | None:
    """The status code in an exception of asyncua's or of ours."""
    if isinstance(wrong, UaStatusCodeError | Refused):
        return int(wrong.code)
    return None


def failure(wrong: BaseException, step: str, config: OpcUaConfig, certificate: str = "", heard: str = "") -> str:
    """One or two sentences on why connecting failed at `step`. `heard` is the last thing asyncua logged."""
    where = f"{config.endpoint}: {step} failed"
    code = status_of(wrong)
    if code is not None:
        name = quality.name(code) if step != ASKING else ASKING
        hint = _HINTS.get(name, "").format(
            certificate=certificate or "its certificate",
            login=login(config),
            endpoint=config.endpoint,
            security=security(config),
        )
        return f"{where}: {quality.words(code)}" + (f". That is: {hint}" if hint else "")
    if isinstance(wrong, TimeoutError):
        return f"{where}: no answer within {min(config.request_timeout, config.connect_timeout):g} s"
    if isinstance(wrong, socket.gaierror):
        return f"{where}: the host's name cannot be resolved ({wrong.strerror})"
    if isinstance(wrong, ConnectionRefusedError):
        return f"{where}: nothing listens there, or a firewall refuses it"
    text = f"{type(wrong).__name__}: {wrong}".rstrip(": ")
    if certificate and step == "opening the secure channel":
        text += f". The server closed the connection without a reason; usually: {_OURS.format(certificate=certificate)}"
    return f"{where}: {text}" + (f" ({heard})" if heard else "")


class LastWords(logging.Handler):
    """Keeps the first error asyncua's client logged since it was asked, in place of writing it: everything it says reaches us as an
    exception too, but sometimes only the log has the server's reason."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = self.text or record.getMessage()[:300]

    def take(self) -> str:
        text, self.text = self.text, ""
        return text


LAST_WORDS = LastWords()


def quiet_asyncua() -> None:
    """Have asyncua's client log nowhere but into LAST_WORDS. An asyncua server in the same process is not touched."""
    for name in ("asyncua.client", "asyncua.uaprotocol", "asyncua.crypto"):
        logger = logging.getLogger(name)
        if LAST_WORDS not in logger.handlers:
            logger.addHandler(LAST_WORDS)
            logger.propagate = False
            logger.setLevel(logging.ERROR)
