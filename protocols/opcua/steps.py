"""What to do about each trouble with an OPC UA server, as somebody who commissions it would."""

from __future__ import annotations

from typing import Final

from protocols.advice import Steps

_OURS: Final = (
    "at the server, move this gateway's certificate ({name}) from the rejected to the trusted client certificates, or copy "
    "{certificate} there; the next attempt goes through, without a restart"
)
_LOGIN: Final = "compare `user` and the secret of `password` with the server's users, try the same login with another client, and see that the user is not locked there; after a new secret here restart this adapter"
_ANONYMOUS: Final = "the server lets nobody in without a name: have a user made there, and set `user` and `password`"
_BROWSE: Final = (
    "look the node up with an OPC UA browser as the same user: its id may have changed with a new project in the PLC"
)

STEPS: Final[Steps] = (
    ("nothing listens there", "see that the OPC UA server is on and which endpoint it names in its own settings; `endpoint` is {endpoint} here"),
    (
        "name cannot be resolved",
        "write the server's address into `endpoint`, or enter the name at this machine's name server; `getent hosts {host}` shows what it knows",
    ),
    (
        "connecting failed: no answer",
        "try `ping {host}` on the gateway: without an answer it is the address, the cable or the route; with one, a firewall between or the port in `endpoint`",
    ),
    (
        "asking for its endpoints failed: no answer",
        "try `ping {host}` on the gateway: without an answer it is the address, the cable or the route; with one, a firewall between or the port in `endpoint`",
    ),
    ("does not offer security", "set `security.policy` and `security.mode` to a pair that it offers, or have {security} enabled there"),
    (
        "is not valid before",
        "set both clocks: this gateway's (`timedatectl`) and the server's; the next attempt goes through, without a restart",
    ),
    (
        "it expired on",
        "look at this gateway's clock (`timedatectl`); if that is right, have a new certificate made at the server, and trust it here",
    ),
    (
        "BadCertificateTimeInvalid",
        ("compare this gateway's clock (`timedatectl`) with the server's; if both are right, {certificate} has run out: take it and key.pem away, restart "
        "this adapter, and trust the new one at the server"),
    ),
    ("BadCertificateRevoked", "ask who runs the plant's certificates: the server needs a new one"),
    (
        "the server's certificate: BadCertificateHostNameInvalid",
        "values come, for it lies in `trusted/` itself; to end this warning set the host in `endpoint` to one that stands in it, if this gateway can look that up",
    ),
    ("BadCertificateHostNameInvalid", "set the host in `endpoint` to one that stands in the server's certificate, or move that certificate into `trusted/` itself"),
    ("does not accept this gateway's certificate", _OURS),
    ("BadCertificateUriInvalid", "take `application_uri` away, or set it to the one in {certificate}"),
    ("anonymous; right would be", _ANONYMOUS),
    ("BadIdentityTokenInvalid", "set `user` and `password`, or take them away: the server takes only the kinds of login that are named here"),
    ("BadIdentityTokenRejected", _LOGIN),
    ("BadUserAccessDenied", _LOGIN),
    ("BadUserSignatureInvalid", _LOGIN),
    ("BadIdentityChangeNotSupported", _LOGIN),
    ("BadPasswordChangeRequired", "change the password of this user at the server with its own tool, and set the new one as the secret of `password`"),
    ("BadTooManySessions", "end other clients of the server, or raise its limit; sessions of a client that was cut off end by themselves within minutes"),
    ("BadMaxConnectionsReached", "end other clients of the server, or raise its limit"),
    ("BadLicense", "look at the licence of the server: it counts sessions or points, or has run out"),
    ("BadTcpEndpointUrlInvalid", "copy the endpoint from the server's own settings, with its path: {endpoint} is not known there"),
    ("says nothing without security", "copy the server's certificate into `trusted/` and name the file in `security.server_certificate`"),
    ("shows no certificate", "have a certificate made at the server, or set `security.policy` to None if the network is to be trusted"),
    ("BadNoValidCertificates", "have a certificate made at the server"),
    ("BadTooManySubscriptions", "end other clients of the server, or wait until subscriptions of lost connections end there"),
    ("BadTooManyMonitoredItems", "set `mode: poll` on some of these points, take points away here, or raise the server's limit"),
    (
        "messages before this gateway could take them",
        "raise the server's limits of a session: notifications that wait, Publish requests, messages for retransmission; or have it report less, with a longer `sampling_interval` or a `deadband`",
    ),
    ("does not look up browse paths", "write `node` in place of `path` at these points: an OPC UA browser shows each node's id"),
    ("BadIndexRange", "count the elements of the array with an OPC UA browser: `element` begins with 0, and the array may be shorter than before"),
    ("BadServiceUnsupported", "set `mode: poll` on every point: this server knows no subscriptions"),
    ("BadNodeIdUnknown", _BROWSE),
    ("the server has no namespace", "correct the `nsu=` of these nodes to one of the namespaces that the server has"),
    ("BadNoMatch", "look the path up with an OPC UA browser: browse names count with their namespace"),
    ("BadNotReadable", "have the user of this gateway let read these nodes at the server"),
    ("password travels in clear", "set `security.policy` to one the server offers, as Basic256Sha256, with sign_and_encrypt"),
    ("expires on", "renew that certificate before the day; the other side must trust the new one"),
    ("no answer to", "look at the load of the server and at the line to it; a slow one needs a longer `request_timeout`"),
    ("no answer within", "look at the load of the server and at the line to it; a slow one needs a longer `connect_timeout`"),
    (
        "BadSecureChannel",
        "nothing, if it comes once; if again and again, look in the server's log why it ends the secure channel, and compare its clock with this gateway's (`timedatectl`)",
    ),
    ("the connection is gone", "look at the line to {host}, and whether the server was restarted; the adapter connects again by itself"),
    ("being shut down", "nothing to do here: the adapter connects again when the server is back"),
)  # fmt: skip
