"""The local API's worker: the same routes on a Unix socket, for the command line, and on a loopback port, for the page."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from actors.context import Context, Status
from actors.io_actor import IoActor
from control.gate import ANY_HOST
from control.http_protocol import BoundedProtocol, PatientProtocol
from control.local_socket import listen, socket_path
from control.routes import app
from control.state import State
from control.values import Values
from schemas import VERSION
from schemas.gateway import ApiConfig

STOP_WITHIN_S = 3
AGAIN_AFTER_S = 5.0
PORT_STEP = (
    "end what has that port or address (`ss -ltnp` shows it): the page then comes by itself; or set another `api.port`, 0 for a free one, "
    "and start the gateway again. The command line works meanwhile"
)

log = structlog.get_logger()


class PortTaken(Exception):
    """Another program listens where the page should be."""


def bind(config: ApiConfig) -> socket.socket:
    """Raises PortTaken."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortTaken(f"the page cannot listen on {config.host}:{config.port}: {error.strerror}") from None
    return listener


def hosts(config: ApiConfig) -> list[str]:
    """Which names in the Host header are ours, besides addresses: off loopback also those that people use for this machine."""
    loopback = config.host == "localhost" or ipaddress.ip_address(config.host).is_loopback
    own = [] if loopback else [socket.gethostname(), socket.getfqdn()]
    return ["localhost", *own, *config.names]


def server(application: ASGIApp, protocol: type[BoundedProtocol]) -> uvicorn.Server:
    settings: dict[str, Any] = {
        "log_config": None,
        "log_level": "warning",
        "lifespan": "off",
        "access_log": False,
        "server_header": False,
        "ws": "none",
        "proxy_headers": False,
    }
    return uvicorn.Server(
        uvicorn.Config(application, http=protocol, timeout_graceful_shutdown=STOP_WITHIN_S, **settings)
    )


async def run(context: Context) -> None:
    """Serve until stopped."""
    config = ApiConfig.model_validate(context.config["api"])
    path = socket_path(Path(context.config["data_dir"]))
    values = Values(context)
    state = State(context, VERSION, values)
    commands = server(app(state, [ANY_HOST], may_act=True), PatientProtocol)
    context.facts["socket"] = str(path)
    context.on_tree = state.take
    context.watch_tree()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(commands.serve(sockets=[listen(path)]))
        others = [tasks.create_task(values.run()), tasks.create_task(serve_page(context, config, state))]
        context.ready()
        await context.stopping.wait()
        commands.should_exit = True
        for task in others:
            task.cancel()
    path.unlink(missing_ok=True)


async def serve_page(context: Context, config: ApiConfig, state: State) -> None:
    """Serve the port until cancelled; one that is taken is tried again, and the command line works meanwhile."""
    while True:
        try:
            port = bind(config)
            break
        except PortTaken as taken:
            if str(taken) != context.reason:
                log.warning("page_has_no_port", reason=str(taken))
            context.health(Status.DEGRADED, str(taken), PORT_STEP)
            await asyncio.sleep(AGAIN_AFTER_S)
    context.health(Status.HEALTHY)
    context.facts["address"] = f"http://{config.host}:{port.getsockname()[1]}/"
    page = server(app(state, hosts(config), may_act=False), BoundedProtocol)
    serving = asyncio.create_task(page.serve(sockets=[port]))
    try:
        await asyncio.shield(serving)
    finally:
        page.should_exit = True
        await serving


class LocalApi(IoActor):
    """The worker `control_path/api`."""

    main = staticmethod(run)
