"""A real OPC UA server for tests: asyncua's, on a free loopback port, with values that a test sets or that keep changing."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.server.user_managers import UserManager

URI = "urn:streamforge:test"
LOCALHOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return probe.getsockname()[1]


class Users(UserManager):
    """One user; nobody else, and nobody without a name."""

    def __init__(self, name: str, password: str) -> None:
        self.name, self.password = name, password

    def get_user(self, iserver, username=None, password=None, certificate=None):
        from asyncua.crypto.permission_rules import User, UserRole

        return User(role=UserRole.User) if (username, password) == (self.name, self.password) else None


class OpcUaServer:
    """Folder `Press4` in namespace URI with one variable for each of `values`; node ids `s=<name>`."""

    def __init__(self, values: dict[str, Any] | None = None, *, other_namespaces: int = 0, **settings: Any) -> None:
        self.port = free_port()
        self.values = values or {"Temp": 20.0, "Door": False}
        self.other_namespaces = other_namespaces
        self.settings = settings
        self.server: Server | None = None
        self.namespace = 0
        self._ticker: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://{LOCALHOST}:{self.port}/plant"

    async def start(self) -> None:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        users = self.settings.get("users")
        self.server = server = Server(user_manager=users)
        await server.init()
        server.disable_clock()  # which would hold up every stop for a second
        server.set_endpoint(self.url)
        server.set_security_policy(self.settings.get("policies", [ua.SecurityPolicyType.NoSecurity]))
        if users:
            server.set_identity_tokens([ua.UserNameIdentityToken])
        if "uri" in self.settings:
            await server.set_application_uri(self.settings["uri"])
        if "certificate" in self.settings:
            await server.load_certificate(self.settings["certificate"])
            await server.load_private_key(self.settings["key"])
        if "validator" in self.settings:
            server.set_certificate_validator(self.settings["validator"])
        for n in range(self.other_namespaces):
            await server.register_namespace(f"urn:other:{n}")
        self.namespace = await server.register_namespace(URI)
        name = ua.QualifiedName("Press4", self.namespace)
        folder = await server.nodes.objects.add_object(ua.NodeId("Press4", self.namespace), name)
        for key, value in self.values.items():
            await folder.add_variable(self.node(key), ua.QualifiedName(key, self.namespace), value)
        await server.start()

    def node(self, key: str) -> ua.NodeId:
        return ua.NodeId(key, self.namespace)

    async def add(self, key: str, value: Any) -> None:
        folder = self.server.get_node(self.node("Press4"))
        await folder.add_variable(self.node(key), ua.QualifiedName(key, self.namespace), value)

    async def write(self, key: str, value: Any, status: int = 0, at: datetime | None = None) -> None:
        """`value` as a Variant or as Python has it."""
        kept = value if isinstance(value, ua.Variant) else ua.Variant(value)
        stamp = at or datetime.now(UTC)
        made = ua.DataValue(kept, ua.StatusCode(status), SourceTimestamp=stamp, ServerTimestamp=stamp)
        await self.server.write_attribute_value(self.node(key), made)

    def tick(self, key: str, every: float = 0.05) -> None:
        """Have this value count up from now on."""

        async def count() -> None:
            for n in itertools.count():
                with suppress(AttributeError):
                    await self.write(key, float(n))
                await asyncio.sleep(every)

        self._ticker = asyncio.create_task(count())

    async def stop(self) -> None:
        """As if the plug was pulled: connections die first, then nobody listens."""
        if self._ticker:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        server, self.server = self.server, None
        if server is None:
            return
        for client in list(server.bserver.clients):
            if client.transport:
                client.transport.abort()
        with suppress(Exception):
            await server.stop()


def adapter_config(url: str, points: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """With short times."""
    return {
        "id": "press_4",
        "protocol": "opcua",
        "endpoint": url,
        "publishing_interval": "100ms",
        "keep_alive_count": 5,
        "request_timeout": "2s",
        "connect_timeout": "2s",
        "defaults": {"asset": "press_4"},
        "points": points or [{"parameter": "temp", "node": f"nsu={URI};s=Temp"}],
        **more,
    }

