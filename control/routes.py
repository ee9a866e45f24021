"""The local API's routes, one small function each. Only the Unix socket may act; the loopback port reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control import metrics
from control.metrics import json_safe
from control.problems import Kind, Problem, handle, handle_http
from control.state import State
from control.values import check_topic, read_topic

PAGE = Path(__file__).resolve().parents[1] / "ui_static"
FRAME_EVERY_S = 1.0
VALUES_EVERY_S = 0.5
WATCHERS_MAX = 32
COMMAND_WITHIN_S = 60.0
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def state_of(request: Request) -> State:
    state: State = request.app.state.gateway
    return state


async def live(request: Request) -> Response:
    alive = state_of(request).alive()
    return JSONResponse({"alive": alive}, 200 if alive else 503)


async def ready(request: Request) -> Response:
    told = state_of(request).health()
    good = told["status"] in ("HEALTHY", "DEGRADED")
    return JSONResponse({"ready": good, "status": told["status"], "reason": told["reason"]}, 200 if good else 503)


async def health(request: Request) -> Response:
    return JSONResponse(state_of(request).health())


async def scrape(request: Request) -> Response:
    state = state_of(request)
    return Response(metrics.render(state.tree, state.version), media_type=metrics.CONTENT_TYPE)


async def tree(request: Request) -> Response:
    state = state_of(request)
    if state.tree is None:
        raise Problem(Kind.UNREACHABLE, "the supervision tree has not reported yet; try again in a moment")
    return JSONResponse(json_safe(state.tree))


async def flow(request: Request) -> Response:
    return JSONResponse(json_safe(state_of(request).live()["flow"]))


def event(kind: str, data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(json_safe(data), separators=(',', ':'))}\n\n"


def sse(frames: AsyncIterator[str]) -> Response:
    return StreamingResponse(frames, media_type="text/event-stream")


async def values_stream(request: Request) -> Response:
    check_watchers(state_of(request))

    async def frames() -> AsyncIterator[str]:
        with watching(state_of(request)) as state:
            seen = 0
            while not state.context.stopping.is_set():
                seen, changed = state.values.since(seen)
                yield event("values", changed)
                await asyncio.sleep(VALUES_EVERY_S)

    return sse(frames())


async def live_stream(request: Request) -> Response:
    """Everything the page needs in one connection: browsers allow six to a host."""
    check_watchers(state_of(request))

    async def frames() -> AsyncIterator[str]:
        with watching(state_of(request)) as state:
            seen = 0
            while not state.context.stopping.is_set():
                yield event("state", state.live())
                seen, changed = state.values.since(seen)
                if changed:
                    yield event("values", changed)
                await asyncio.sleep(FRAME_EVERY_S)

    return sse(frames())


def check_watchers(state: State) -> None:
    """Before the answer begins. Raises Problem."""
    if state.values.watchers >= WATCHERS_MAX:
        raise Problem(Kind.CONFLICT, f"{WATCHERS_MAX} pages are open already; close one")


@contextmanager
def watching(state: State) -> Iterator[State]:
    """Counts who looks: values are read from the stream only while someone does."""
    state.values.watch(1)
    try:
        yield state
    finally:
        state.values.watch(-1)


async def tail(request: Request) -> Response:
    """A topic's records as JSON lines: the last `last` of each partition, then, with `follow`, what comes."""
    topic = request.path_params["topic"]
    check_topic(topic)
    last = number(request, "last", 10, 100_000)
    follow = request.query_params.get("follow", "true")
    if follow not in ("true", "false"):
        raise Problem(Kind.USAGE, f"follow is {follow[:40]!r}; right would be true or false")
    state = state_of(request)

    async def lines() -> AsyncIterator[str]:
        async for record in read_topic(state.context, topic, last, follow == "true"):
            yield json.dumps(json_safe(record), default=str) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or len(text) > len(str(most)) or int(text) > most:
        raise Problem(Kind.USAGE, f"{name} is {text[:40]!r}; right would be a number from 0 to {most}")
    return int(text)


async def restart(request: Request) -> Response:
    return await act(request, "restart")


async def act(request: Request, name: str) -> Response:
    """Have the tree do something to one component or branch."""
    state = state_of(request)
    if not request.app.state.may_act:
        detail = (
            f"this port only reads; in a terminal: streamforge restart {request.path_params['id'].rsplit('/', 1)[-1]}"
        )
        raise Problem(Kind.FORBIDDEN, detail)
    node = state.find(request.path_params["id"])
    try:
        answer = await state.context.command(name, node["id"], within_s=COMMAND_WITHIN_S)
    except TimeoutError:
        raise Problem(
            Kind.TIMEOUT, f"{node['id']} has not done it within {COMMAND_WITHIN_S:.0f} s; see streamforge tree"
        ) from None
    if not answer.get("ok"):
        raise Problem(Kind.CONFLICT, f"{node['id']}: {answer.get('error')}")
    return JSONResponse({"component": node["id"], "pid_before": node.get("pid"), **answer})


class Headers:
    """Adds the page's security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self.app(scope, receive, with_headers)


ROUTES: list[BaseRoute] = [
    Route("/health/live", live),
    Route("/health/ready", ready),
    Route("/health", health),
    Route("/metrics", scrape),
    Route("/api/v1/tree", tree),
    Route("/api/v1/flow", flow),
    Route("/api/v1/values", values_stream),
    Route("/api/v1/live", live_stream),
    Route("/api/v1/topics/{topic}/tail", tail),
    Route("/api/v1/components/{id:path}/restart", restart, methods=["POST"]),
    Mount("/", StaticFiles(directory=PAGE, html=True)),
]


def app(state: State, hosts: list[str], may_act: bool) -> Starlette:
    """`hosts`: the Host headers to answer; a page from elsewhere that points a name at this address gets nothing."""
    middleware = [Middleware(Headers), Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
    made = Starlette(
        routes=ROUTES, middleware=middleware, exception_handlers={Problem: handle, HTTPException: handle_http}
    )
    made.state.gateway, made.state.may_act = state, may_act
    return made
