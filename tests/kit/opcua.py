"""A real OPC UA server for tests: asyncua's, on a free loopback port, whose answers a test can swallow; and a gate in front of it.

One server for the whole process runs in a thread (`shared_server`): starting one costs a second. Tests that restart their server or
set its security start their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.uaprocessor import UaProcessor
from asyncua.server.user_managers import UserManager

from protocols.load import make, validated
from tests.kit.ports import free_port
from tests.kit.waiting import until

URI = "urn:streamforge:test"
LOCALHOST = "127.0.0.1"


class Users(UserManager):
    """One user; nobody else, and nobody without a name."""

    def __init__(self, name: str, password: str) -> None:
        self.name, self.password = name, password

    def get_user(self, iserver, username=None, password=None, certificate=None):
        return User(role=UserRole.User) if (username, password) == (self.name, self.password) else None


class OpcUaServer:
    """Folder `Press4` in namespace URI with one variable for each of `values`; node ids `s=<name>`."""

    def __init__(
        self, values: dict[str, Any] | None = None, *, port: int = 0, namespaces: tuple[str, ...] = (), **security: Any
    ) -> None:
        self.port = port or free_port()
        self.values = {"Temp": 20.0} | (values or {})
        self.namespaces = namespaces
        """Registered before URI, so that it gets a higher index."""
        self.security = security
        """policies, users, uri, certificate, key, validator."""
        self.server: Server | None = None
        self.namespace = 0
        self.swallow: Callable[[Any], bool] = lambda _: False
        """Asked for each PublishResult on its way out; true: the client never gets it."""
        self.swallowed = 0
        self._tickers: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"opc.tcp://{LOCALHOST}:{self.port}/plant"

    @property
    def subscriptions(self) -> dict[int, InternalSubscription]:
        return self.server.iserver.subscription_service.subscriptions

    async def start(self) -> None:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        self.server = server = Server(user_manager=self.security.get("users"))
        await server.init()
        server.disable_clock()  # which would hold up every stop for a second
        server.set_endpoint(self.url)
        await self._secure(server)
        for uri in self.namespaces:
            await server.register_namespace(uri)
        self.namespace = await server.register_namespace(URI)
        name = ua.QualifiedName("Press4", self.namespace)
        await server.nodes.objects.add_object(ua.NodeId("Press4", self.namespace), name)
        for key, value in self.values.items():
            await self.add(key, value)
        _SERVERS[id(server.iserver)] = self
        await server.start()

    async def _secure(self, server: Server) -> None:
        given = self.security
        server.set_security_policy(given.get("policies", [ua.SecurityPolicyType.NoSecurity]))
        if "users" in given:
            server.set_identity_tokens([ua.UserNameIdentityToken])
        if "uri" in given:
            await server.set_application_uri(given["uri"])
        if "certificate" in given:
            await server.load_certificate(given["certificate"])
            await server.load_private_key(given["key"])
        if "validator" in given:
            server.set_certificate_validator(given["validator"])

    def node(self, key: str) -> ua.NodeId:
        return ua.NodeId(key, self.namespace)

    async def add(self, key: str, value: Any) -> None:
        folder = self.server.get_node(self.node("Press4"))
        await folder.add_variable(self.node(key), ua.QualifiedName(key, self.namespace), value)

    async def remove(self, key: str) -> None:
        await self.server.delete_nodes([self.server.get_node(self.node(key))])

    async def write(self, key: str, value: Any, status: int = 0, at: datetime | None = None) -> None:
        """`value` as a Variant or as Python has it."""
        kept = value if isinstance(value, ua.Variant) else ua.Variant(value)
        stamp = at or datetime.now(UTC)
        made = ua.DataValue(kept, ua.StatusCode(status), SourceTimestamp=stamp, ServerTimestamp=stamp)
        await self.server.write_attribute_value(self.node(key), made)

    async def tick(self, key: str, every: float = 0.05) -> None:
        """Have this value count up from now on."""

        async def count() -> None:
            n = 0
            while True:
                await self.write(key, float(n := n + 1))
                await asyncio.sleep(every)  # its pace

        self._tickers.append(asyncio.create_task(count()))

    def hang(self, seconds: float) -> None:
        """Do nothing at all, though connections stand, as a controller that is too busy; to be called on its own loop."""
        time.sleep(seconds)  # its pace

    async def forget_subscriptions(self) -> None:
        """Those of earlier tests too, which live on for the next connection that would take them over."""
        while self.subscriptions:
            await self.subscriptions.popitem()[1].stop()

    async def stop(self) -> None:
        """As if the plug was pulled: connections die first, then nobody listens; sessions are forgotten."""
        server, self.server = self.server, None
        if server is None:
            return
        _SERVERS.pop(id(server.iserver))
        for task in self._tickers:
            task.cancel()
        self._tickers.clear()
        for client in list(server.bserver.clients):
            if client.transport:
                client.transport.abort()
        await asyncio.sleep(0)
        for subscription in list(server.iserver.subscription_service.subscriptions.values()):
            await subscription.stop()
        await server.stop()
        for task in asyncio.all_tasks():
            if task.get_coro().__qualname__ == "InternalSession._timeout_loop":
                task.cancel()


_SERVERS: dict[int, OpcUaServer] = {}
_forward = UaProcessor.forward_publish_response


async def _forward_unless_swallowed(self: UaProcessor, result: Any, request: Any) -> None:
    server = _SERVERS.get(id(self.iserver))
    if server is not None and server.swallow(result):
        server.swallowed += 1
        return
    await _forward(self, result, request)


UaProcessor.forward_publish_response = _forward_unless_swallowed


class InThread:
    """A server on a loop of its own, so that it shares no tasks with the test: `await on(server.write(...))`."""

    def __init__(self, server: OpcUaServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="opcua server", daemon=True).start()
        asyncio.run_coroutine_threadsafe(server.start(), self._loop).result(60)

    async def __call__(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


@cache
def shared_server() -> InThread:
    on = InThread(OpcUaServer({"Ticking": 0.0}))
    asyncio.run_coroutine_threadsafe(on.server.tick("Ticking"), on._loop).result(60)
    return on


class Gate:
    """A port in front of a server that can be shut (connections die, nobody listens) and stopped up (bytes no longer pass)."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self.connections: Counter[str] = Counter()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"opc.tcp://{LOCALHOST}:{self.port}/plant"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, LOCALHOST, self.port)

    async def shut(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections["opened"] += 1
        with suppress(OSError, asyncio.CancelledError):
            inner_reader, inner_writer = await asyncio.open_connection(LOCALHOST, self.target)
            pair = {writer, inner_writer}
            self._writers |= pair
            pumps = [
                asyncio.create_task(self._pump(reader, inner_writer)),
                asyncio.create_task(self._pump(inner_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                for one in pair:
                    one.transport.abort()
                self._writers -= pair
        self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()


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
        "points": [point("temp", "Temp")] if points is None else points,
        **more,
    }


def point(parameter: str, key: str, **more: Any) -> dict[str, Any]:
    return {"parameter": parameter, "node": f"nsu={URI};s={key}", **more}


async def soon(condition: Callable[[], Any], deadline_s: float = 30) -> None:
    """Wait until this becomes true."""
    await until(condition, deadline_s)


class Tap:
    """Reads an adapter one reading at a time, so that a test need not know how they were batched."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter
        self._left: list[Any] = []

    async def until(self, wanted: Callable[[Any], bool], deadline_s: float = 30) -> list[Any]:
        """All readings up to and with the first that fits."""
        seen: list[Any] = []
        async with asyncio.timeout(deadline_s):
            while not (seen and wanted(seen[-1])):
                if not self._left:
                    batch = await self.adapter.read()
                    batch.delivered()
                    self._left = list(batch.readings)
                seen += self._left[:1]
                self._left = self._left[1:]
        return seen

    async def next(self, parameter: str, deadline_s: float = 30) -> Any:
        """The next reading of this parameter."""
        return (await self.until(lambda r: r.point.parameter == parameter, deadline_s))[-1]

    async def first_of_each(self, *parameters: str) -> dict[str, Any]:
        """Parameter to its next reading that is not BAD."""
        found: dict[str, Any] = {}
        while found.keys() < set(parameters):
            (*_, reading) = await self.until(lambda r: r.status < 3)
            found.setdefault(reading.point.parameter, reading)
        return found

    def health(self) -> Any:
        return self.adapter.health()


@asynccontextmanager
async def adapter(plant: InThread, *points: dict[str, Any], **more: Any) -> AsyncIterator[Tap]:
    """A connected one at the plant's server."""
    made = make(validated(adapter_config(plant.server.url, list(points) or None, **more)))
    await made.connect()
    try:
        yield Tap(made)
    finally:
        await asyncio.wait_for(made.close(), 30)
