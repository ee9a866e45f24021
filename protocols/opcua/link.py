"""One secure channel with one session: made, used and thrown away. asyncua does the protocol; its reconnecting, its publish loop,
its watchdogs and its supervisor stay off, because a client object that lost its connection may hang (opcua-asyncio#1660), and the
owner of retries is the caller. What to ask the server is subscription.py's and polls.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import (
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from asyncua.crypto.uacrypto import CertProperties
from cryptography.hazmat.primitives.serialization import Encoding

from protocols.contract import BadConfig, NotConnected
from protocols.opcua import messages, quality
from protocols.opcua.client import Session, new_client
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.deadline import within
from protocols.opcua.identity import Identity, check_server, pinned

_MODES = {"sign": ua.MessageSecurityMode.Sign, "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt}
_POLICIES: dict[str, Any] = {
    "Basic256Sha256": SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": SecurityPolicyAes256Sha256RsaPss,
}
_NONE = "http://opcfoundation.org/UA/SecurityPolicy#None"
_TOO_MUCH = frozenset({0x80100000, 0x80B80000, 0x80B90000, 0x80080000, 0x80800000})
"""BadTooManyOperations, BadRequestTooLarge, BadResponseTooLarge, BadEncodingLimitsExceeded, BadTcpMessageTooLarge."""
_LOGGING_IN = "logging in"
_CLOSE_S = 2.0


_log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


class NoAnswer(NotConnected):
    """One request was not answered in time; the connection may still stand."""


@dataclass(slots=True)
class Limits:
    """How many operations the server takes in one request: what it says of itself, or half of what was too much."""

    read: int = 1000
    items: int = 1000
    paths: int = 1000


@dataclass(slots=True)
class Link:
    config: OpcUaConfig
    client: Client
    session: Session
    namespaces: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    started: int | None = None
    """When the server says it was started, in microseconds since 1970."""
    warnings: list[str] = field(default_factory=list)
    """What is not as it should be though the connection stands."""
    _steady: asyncio.Event = field(default_factory=asyncio.Event)
    """No new keys are being made. Some servers forget the old ones at once, and close the channel for a request that still bears them."""

    def __post_init__(self) -> None:
        self._steady.set()

    async def call(self, request: Any) -> bytes:
        """One request, one answer. Raises NoAnswer, NotConnected, or UaStatusCodeError for what the server refused."""
        name = type(request).__name__.removesuffix("Request")
        answer: bytes = await self.ask(self.session.raw(request, self.config.request_timeout), name)
        return answer

    async def ask(self, call: Any, name: str) -> Any:
        """One of asyncua's own service calls, with the same deadline and exceptions as `call`."""
        return await self._translated(self._in_turn(call), name)

    async def _in_turn(self, call: Coroutine[Any, Any, Any]) -> Any:
        try:
            await self._steady.wait()
        except BaseException:
            call.close()
            raise
        return await call

    async def in_parts(
        self, limit: Literal["read", "items", "paths"], whole: list[T], ask: Callable[[list[T]], Awaitable[R]]
    ) -> AsyncIterator[tuple[list[T], R]]:
        """Ask for all, in as many requests as it takes: a part the server calls too large is halved, and that is remembered.

        Raises what `ask` raises.
        """
        at = 0
        while at < len(whole):
            some = whole[at : at + getattr(self.limits, limit)]
            try:
                answer = await ask(some)
            except ua.UaStatusCodeError as refused:
                if refused.code not in _TOO_MUCH or len(some) == 1:
                    raise
                setattr(self.limits, limit, len(some) // 2)
                said = f"{len(some)} {limit} in one request: {quality.name(refused.code)}"
                _log.info("%s: %s; half as many from now on", self.config.endpoint, said)
                continue
            at += len(some)
            yield some, answer

    async def publish(self, request: Any) -> bytes:
        """A Publish request is answered when there is something to say, so its deadline is its sender's."""
        answer: bytes = await self._translated(self._in_turn(self.session.raw(request, 0)), "Publish", None)
        return answer

    async def _translated(self, call: Any, name: str, deadline: float | None = -1) -> Any:
        try:
            async with within(self.config.request_timeout if deadline == -1 else deadline):
                return await call
        except TimeoutError:
            wait = self.config.request_timeout
            raise NoAnswer(f"{self.config.endpoint}: no answer to {name} within {wait:g} s") from None
        except OSError as wrong:
            raise NotConnected(
                f"{self.config.endpoint}: the connection is gone ({wrong or type(wrong).__name__})"
            ) from None
        except ua.UaStatusCodeError as wrong:
            if wrong.code in messages.SESSION_GONE:
                raise NotConnected(f"{self.config.endpoint}: {name}: {quality.words(wrong.code)}") from None
            raise
        except Exception as wrong:  # asyncua's decoder raises anything when a server answers nonsense
            what = f"{type(wrong).__name__}: {wrong}"
            raise NotConnected(f"{self.config.endpoint}: the answer to {name} is unusable ({what})") from wrong

    @property
    def renew_after(self) -> float:
        """Seconds until the channel's keys must be renewed: three quarters of their life."""
        return float(self.client.secure_channel_timeout) * 0.75 / 1000

    @property
    def session_timeout(self) -> float:
        """Seconds the server really keeps a session it hears nothing from."""
        granted = float(self.client.session_timeout) / 1000
        return granted if granted > 0 else self.config.session_timeout

    async def renew(self) -> None:
        """New keys for the channel; requests wait meanwhile. Raises NotConnected."""
        self._steady.clear()
        try:
            await self._translated(self.client.open_secure_channel(renew=True), "OpenSecureChannel")
            self.client.uaclient.revolve_security_token()
        finally:
            self._steady.set()

    async def forget(self, subscription: int) -> None:
        """Delete it; one the server does not know any more is fine. Raises NotConnected."""
        with suppress(ua.UaStatusCodeError):
            await self.ask(self.session.delete_subscriptions([subscription]), "DeleteSubscriptions")

    async def close(self, *, delete_subscriptions: bool = True) -> bool:
        """End the session if the server still listens; never longer than a moment, never an exception for a peer that is gone.

        True if the server agreed.
        """
        protocol: Any = self.client.uaclient.protocol
        transport = protocol and protocol.transport
        agreed = False
        with suppress(Exception):
            async with within(_CLOSE_S):
                stands = transport is not None and not transport.is_closing()
                await self.session.close_session(delete_subscriptions)
                agreed = stands
                await self.client.close_secure_channel()
        self.client.uaclient.disconnect_socket()
        if transport is not None and (not transport.is_closing() or transport.get_write_buffer_size()):
            transport.abort()
        return agreed


async def open_link(config: OpcUaConfig, identity: Identity | None) -> Link:
    """`identity` is needed unless the policy is None. Raises NotConnected with the stage that failed and what to do; BadConfig."""
    messages.quiet_asyncua()
    messages.LAST_WORDS.take()
    step = _Step(config, identity)
    try:
        async with within(config.connect_timeout):
            certificate, warnings = None, list[str]()
            if identity is not None:
                certificate, warnings = await _server_certificate(step, identity)
            client, session = new_client(config)
            await _protect(client, config, identity, certificate)
            link = Link(config, client, session, warnings=warnings)
            try:
                await _log_in(step, link)
                await _look_around(step, link)
            except BaseException:
                await link.close()
                raise
    except (NotConnected, BadConfig):
        raise
    except (
        Exception
    ) as wrong:  # asyncua raises anything from AssertionError to NotEnoughData when a server refuses or lies
        offered = "" if identity or isinstance(wrong, OSError) else await _if_not_none(config)
        raise NotConnected(step.failure(wrong) + offered) from wrong
    return link


async def _if_not_none(config: OpcUaConfig) -> str:
    """What a server offers that refuses to talk without security; for a message, so its own failure is none."""
    with suppress(Exception):
        async with within(config.request_timeout):
            offered = await _endpoints(config)
        if all(e.SecurityPolicyUri != _NONE for e in offered):
            return f". The server does not offer security None; it offers {_offers(offered)}"
    return ""


async def _endpoints(config: OpcUaConfig) -> list[Any]:
    client, _ = new_client(config)
    found: list[Any] = await client.connect_and_get_server_endpoints()
    return found


class _Step:
    """What is being done, for the message when it fails."""

    def __init__(self, config: OpcUaConfig, identity: Identity | None) -> None:
        self.config, self.identity, self.name = config, identity, "connecting"
        self.logins = ""
        """Which kinds of users the server takes, once it said so."""

    async def run(self, name: str, call: Any) -> Any:
        self.name = name
        return await call

    def failure(self, wrong: Exception) -> str:
        certificate = str(self.identity.own.certificate_file) if self.identity else ""
        text = messages.failure(wrong, self.name, self.config, certificate, messages.LAST_WORDS.take())
        return f"{text}. It takes: {self.logins}" if self.logins and self.name == _LOGGING_IN else text


async def _server_certificate(step: _Step, identity: Identity) -> tuple[bytes, list[str]]:
    """The certificate of the endpoint with our policy and mode, judged, and what is odd about it."""
    config = step.config
    known = await asyncio.to_thread(pinned, config, identity)
    if known is not None:
        return await asyncio.to_thread(check_server, config, identity, known, None)
    offered = await step.run(messages.ASKING, _endpoints(config))
    mode, policy = _MODES[config.security.mode], _POLICIES[config.security.policy].URI
    for one in offered:
        if one.SecurityMode == mode and one.SecurityPolicyUri == policy:
            return await asyncio.to_thread(
                check_server, config, identity, one.ServerCertificate, one.Server.ApplicationUri
            )
    raise NotConnected(
        f"{config.endpoint}: the server does not offer security {messages.security(config)}; it offers {_offers(offered)}"
    )


def _offers(endpoints: list[Any]) -> str:
    words = sorted({f"{e.SecurityPolicyUri.rpartition('#')[2]} {e.SecurityMode.name.rstrip('_')}" for e in endpoints})
    return ", ".join(words) or "nothing"


async def _protect(
    client: Client, config: OpcUaConfig, identity: Identity | None, server_certificate: bytes | None
) -> None:
    """Give the client its name, and what the policy needs."""
    client.application_uri = config.application_uri or f"urn:{socket.gethostname()}:streamforge"
    if identity is None or server_certificate is None:
        return
    client.application_uri = identity.own.uri
    await client.set_security(
        _POLICIES[config.security.policy],
        CertProperties(identity.own.certificate.public_bytes(Encoding.DER), "der"),
        CertProperties(await asyncio.to_thread(identity.own.key_file.read_bytes), "pem"),
        server_certificate=CertProperties(server_certificate, "der"),
        mode=_MODES[config.security.mode],
    )


async def _log_in(step: _Step, link: Link) -> None:
    client, config = link.client, link.config
    await step.run("connecting", client.connect_socket())
    await step.run("saying hello", client.send_hello())
    await step.run("opening the secure channel", client.open_secure_channel())
    await step.run("creating a session", client.create_session())
    client._policy_ids = sorted(client._policy_ids, key=_preference)
    secret = config.security.policy != "None" and config.security.mode == "sign_and_encrypt"
    if config.user is not None and not secret:
        policy = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri or ""
        if policy == _NONE:
            link.warnings.append(
                "the password travels in clear text; right would be a policy such as Basic256Sha256 with sign_and_encrypt"
            )
    step.logins = ", ".join(sorted({p.TokenType.name for p in client._policy_ids})) or "nobody"
    await step.run(_LOGGING_IN, client.activate_session(username=config.user, password=config.password or ""))


def _preference(policy: Any) -> int:
    """Of several ways to send the password, one that keeps it secret and that we know comes first; asyncua takes the first."""
    known = [p.URI for p in _POLICIES.values()]
    uri = policy.SecurityPolicyUri
    return 0 if uri in known else 1 if not uri else 2 if uri == _NONE else 3


async def _look_around(step: _Step, link: Link) -> None:
    """The namespaces, which may have moved since last time, and what the server takes in one request."""
    ids = ua.ObjectIds
    wanted = [
        ids.Server_NamespaceArray,
        ids.Server_ServerStatus_StartTime,
        ids.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
        ids.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        ids.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    ]
    step.name, found = "reading its namespaces", list[Any]()
    # In parts, as everything: what a server takes in one request may be less than these.
    async for _, values in link.in_parts("read", [ua.NodeId(i) for i in wanted], partial(_values, link)):
        found += values
    namespaces, started, *limits = [f.Value.Value if f.Value is not None else None for f in found]
    link.namespaces = list(namespaces or [])
    if isinstance(started, datetime):
        link.started = round((started - datetime(1970, 1, 1, tzinfo=started.tzinfo)) / timedelta(microseconds=1))
    told = Limits(*(min(limit, 1000) if isinstance(limit, int) and limit > 0 else 1000 for limit in limits))
    link.limits = replace(told, read=min(told.read, link.limits.read))


async def _values(link: Link, nodes: list[Any]) -> list[Any]:
    found: list[Any] = await link.session.read_attributes(nodes, ua.AttributeIds.Value)
    return found
