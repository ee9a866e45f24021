"""The local API's worker: the same routes on a Unix socket, for the command line, and on a loopback port, for the page."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from actors.context import Context, Status
from actors.io_actor import IoActor
from control.local_socket import listen, socket_path
from control.routes import app
from control.state import State
from control.values import Values
from schemas import VERSION
from schemas.gateway import ApiConfig

STOP_WITHIN_S = 3
AGAIN_AFTER_S = 5.0


class PortTaken(Exception):
    """Another program listens where the page should be."""


def bind(config: ApiConfig) -> socket.socket:
    """Raises PortTaken."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"the page cannot listen on {config.host}:{config.port}: {error.strerror}; set another api.port, or 0 for a free one"
        ) from None
    listener.listen(128)
    return listener


def hosts(config: ApiConfig) -> list[str]:
    """Which Host headers are ours. Off loopback any: the name people use for the machine is theirs."""
    loopback = config.host == "localhost" or ipaddress.ip_address(config.host).is_loopback
    return ["127.0.0.1", "localhost", "[::1]", config.host] if loopback else ["*"]


def server(application: Starlette) -> uvicorn.Server:
    settings: dict[str, Any] = {"log_config": None, "lifespan": "off", "access_log": False, "server_header": False}
    return uvicorn.Server(
        uvicorn.Config(application, timeout_graceful_shutdown=STOP_WITHIN_S, limit_concurrency=256, **settings)
    )


async def run(context: Context) -> None:
    """Serve until stopped."""
    config = ApiConfig.model_validate(context.config["api"])
    path = socket_path(Path(context.config["data_dir"]))
    values = Values(context)
    state = State(context, VERSION, values)
    commands = server(app(state, ["*"], may_act=True))
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
            context.health(Status.DEGRADED, str(taken))
            await asyncio.sleep(AGAIN_AFTER_S)
    context.health(Status.HEALTHY)
    context.facts["address"] = f"http://{config.host}:{port.getsockname()[1]}/"
    page = server(app(state, hosts(config), may_act=False))
    serving = asyncio.create_task(page.serve(sockets=[port]))
    try:
        await asyncio.shield(serving)
    finally:
        page.should_exit = True
        await serving


class LocalApi(IoActor):
    """The worker `control_path/api`."""

    main = staticmethod(run)
