"""The settings of one OPC UA connection and of its points. Addresses are parsed by nodes.py; nothing is resolved here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from protocols import clear_text
from protocols.opcua import nodes
from schemas.gateway import AdapterConfig, PointConfig, matching, points_once, with_assets
from schemas.mistakes import Where
from schemas.model import Model, Unfit, known, together
from schemas.units import Duration, MaybeZeroDuration, Period, Wait, between

ElementField = Annotated[
    str, matching(r"\d+(,\d+)*", "an element; right would be 3, or 1,2 in a matrix"), BeforeValidator(str)
]


def _node(given: str) -> str:
    nodes.parse_node(given)
    return given


def _path(given: str) -> str:
    nodes.parse_path(given)
    return given


def _endpoint(given: str) -> str:
    try:
        url = urlsplit(given)
        good = url.scheme == "opc.tcp" and url.hostname and url.port
    except ValueError:
        good = False
    if not good:
        raise ValueError("is not an OPC UA address; right would be opc.tcp://host:4840")
    if "@" in url.netloc:
        raise ValueError("holds a user name; right would be `user` and `password`")
    return given


class SecurityConfig(Model):
    policy: Literal["None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] = "None"
    """How messages are protected. `None` is neither signed nor secret."""
    mode: Literal["sign", "sign_and_encrypt"] = "sign_and_encrypt"
    """With a policy other than None: sign only, or also encrypt."""
    trust: Literal["list", "first_use"] = "list"
    """`list`: only servers whose certificate (or its issuer) a person put into `trusted/`. `first_use`: the first certificate
    seen is put there by itself; who answers first is believed, so only where the network is trusted at that moment."""
    server_certificate: Annotated[str, matching(r"[^/\\]+", "the name of a file in `trusted/`")] | None = None
    """Name of the file in `trusted/` with this server's certificate; only for servers that do not even say what they offer
    without security."""


class OpcUaPoint(PointConfig):
    node: Annotated[str, AfterValidator(_node)] | None = None
    """Node id, with the namespace as URI (`nsu=urn:plant:press;s=Temp`, safe) or as index (`ns=2;s=Temp`, may move when the server restarts)."""
    path: Annotated[str, AfterValidator(_path)] | None = None
    """Instead of `node`: browse names from the root, as `/Objects/nsu=urn:plant:press;Press4/Temp`."""
    element: ElementField | None = None
    """For arrays: which element, from 0 (`3`; `1,2` in a matrix)."""
    mode: Literal["subscribe", "poll"] = "subscribe"
    """Have the server report changes, or ask it every so often."""
    every: Period = 1
    """With mode poll: how often it is read."""
    sampling_interval: Annotated[MaybeZeroDuration, between("0s", "1d")] | None = None
    """With mode subscribe: how often the server looks at the value; 0s: as fast as it can; unset: the publishing interval."""
    queue_size: Annotated[int, Field(ge=1, le=100_000)] = 10
    """How many values the server keeps for this point between two notifications."""
    discard_oldest: bool = True
    """Which value the server drops when that queue is full: the oldest, or the newest."""
    trigger: Literal["value", "timestamp"] = "value"
    """Report when the value or its status changed, or also when only its timestamp did (then a silence is a gap)."""
    deadband: Annotated[float, Field(gt=0)] | None = None
    """Smallest change that counts, in the unit of the value."""
    deadband_percent: Annotated[float, Field(gt=0, le=100)] | None = None
    """Smallest change that counts, in percent of the range the server gives (EURange); mode subscribe only."""

    @together
    def _node_or_path(self) -> Unfit:
        if (self.node is None) == (self.path is None):
            yield (
                (),
                f"has {'neither' if self.node is None else 'both'} node and path; right would be exactly one of them",
            )

    @together
    def _one_deadband(self) -> Unfit:
        if self.deadband and self.deadband_percent:
            text = f"{self.deadband_percent:g} stands beside deadband; right would be one of them"
            yield ("deadband_percent",), text

    @together
    def _percent_is_the_servers(self) -> Unfit:
        if self.deadband_percent and self.mode == "poll":
            text = f"{self.deadband_percent:g} is the server's business and needs mode subscribe; right would be `deadband`"
            yield ("deadband_percent",), text

    @property
    def address(self) -> str:
        """The node as it was written, for people."""
        return self.node or self.path or ""


class OpcUaConfig(AdapterConfig):
    protocol: Literal["opcua"] = "opcua"
    endpoint: Annotated[str, AfterValidator(_endpoint)]
    """Where the server listens, as `opc.tcp://192.0.2.20:4840/path`."""
    security: SecurityConfig = SecurityConfig()
    """How the connection is protected, and which servers are believed."""
    user: str | None = None
    """User name at the server; unset: anonymous."""
    password: str | None = None
    """Its password, as `${secret:name}`."""
    application_uri: str | None = None
    """What this gateway calls itself; part of its certificate. Unset: as in the certificate, at first `urn:<host>:streamforge`."""
    certs_dir: str | None = None
    """Directory with own/, trusted/, issuers/, rejected/ and crl/. Relative to the gateway's data directory; unset: `certs/opcua` there."""
    state_dir: str | None = None
    """Directory with what the next process must know to fetch what the server kept for this one. Relative to the gateway's data
    directory; unset: `state/opcua` there."""
    publishing_interval: Annotated[Duration, between("1ms", "1h")] = 0.5
    """How often the server sends what changed."""
    keep_alive_count: Annotated[int, Field(ge=1, le=10_000)] = 10
    """After so many publishing intervals without a change the server sends a sign of life."""
    watchdog: Annotated[Duration, between("1ms", "1d")] | None = None
    """How long neither a change nor a sign of life may arrive. Unset: two keep-alive times, at least 3 s."""
    session_timeout: Annotated[Duration, between("1s", "1d")] = 60
    """How long the server keeps a session it hears nothing from."""
    request_timeout: Wait = 5
    """How long one request may take."""
    retry_nodes: Annotated[Duration, between("10ms", "1d")] = 60
    """How often nodes that the server does not know are tried again."""
    buffer: Annotated[int, Field(ge=1000, le=1_000_000)] = 20_000
    """Most readings held here while the stream is slow; then the server is not asked for more, and its queues fill."""
    points: Annotated[list[OpcUaPoint], Field(min_length=1)]
    """What is subscribed to and polled."""

    @together
    def _password_has_a_user(self) -> Unfit:
        if self.password is not None and self.user is None:
            yield ("password",), "is given without a user; right would be both or neither"

    @together
    def _watchdog_waits_for_signs_of_life(self) -> Unfit:
        if self.watchdog is not None and self.watchdog <= self.keep_alive_time:
            least = f"publishing_interval x keep_alive_count = {self.keep_alive_time:g}s"
            text = (
                f"{self.watchdog:g}s is not longer than {least}; right would be at least {2 * self.keep_alive_time:g}s"
            )
            yield ("watchdog",), text

    @together
    def _points_are_of_assets(self) -> Unfit:
        yield from with_assets(self.points, self.defaults)

    @together
    def _names_once(self) -> Unfit:
        yield from points_once(known(self.points, lambda p: (p.asset, p.parameter)))

    def lacking(self, data_dir: Path) -> list[tuple[Where, str]]:
        trusted = data_dir / (self.certs_dir or "certs/opcua") / "trusted"
        if self.security.policy == "None":
            clear = self.password is not None and not clear_text.is_loopback(urlsplit(self.endpoint).hostname or "")
            return [(("password",), clear_text.OPCUA.format(at=self.endpoint))] if clear else []
        name = self.security.server_certificate
        if name is not None and not (trusted / name).is_file():
            text = f"there is no {trusted / name}; right would be the server's certificate there"
            return [(("security", "server_certificate"), text)]
        if self.security.trust == "list" and not (trusted.is_dir() and any(trusted.iterdir())):
            text = f"no server is trusted yet: {trusted} is empty; right would be the server's certificate, or its issuer's, there"
            return [(("security",), text)]
        return []

    @property
    def keep_alive_time(self) -> float:
        """Seconds between two signs of life, as asked for."""
        return self.publishing_interval * self.keep_alive_count
