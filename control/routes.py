"""The local API's routes, one small function each; docs/api.md is their list for people. Only the Unix socket may act; the loopback port reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from actors.surroundings import command, restart_whole
from control import metrics
from control.gate import Gate
from control.json_safe import answer, json_text
from control.problems import Kind, Problem, handle, handle_any, handle_http
from control.readers import Stream, ticks
from control.state import State
from control.tail import LAST_MAX, check_topic, read_topic
from control.view import last_part

PAGE = Path(__file__).resolve().parents[1] / "ui_static"
FRAME_EVERY_S = 1.0
VALUES_EVERY_S = 0.5
COMMAND_WITHIN_S = 60.0


def state_of(request: Request) -> State:
    state: State = request.app.state.gateway
    return state


async def live(request: Request) -> Response:
    alive = state_of(request).alive()
    return answer({"alive": alive}, 200 if alive else 503)


async def ready(request: Request) -> Response:
    told = state_of(request).health()
    good = told["status"] in ("HEALTHY", "DEGRADED")
    return answer({"ready": good, "status": told["status"], "reason": told["reason"]}, 200 if good else 503)


async def health(request: Request) -> Response:
    return answer(state_of(request).health())


async def scrape(request: Request) -> Response:
    state = state_of(request)
    return Response(metrics.render(state.tree, state.version), media_type=metrics.CONTENT_TYPE)


async def tree(request: Request) -> Response:
    state = state_of(request)
    if state.tree is None:
        raise Problem(Kind.UNREACHABLE, "the supervision tree has not reported yet; try again in a moment")
    return answer(state.tree)


async def component(request: Request) -> Response:
    if request.path_params["id"].endswith("/restart"):
        raise HTTPException(405, headers={"Allow": "POST"})
    return answer(state_of(request).find(request.path_params["id"]))


async def flow(request: Request) -> Response:
    return answer(state_of(request).flow())


def event(kind: str, json: str) -> str:
    return f"event: {kind}\ndata: {json}\n\n"


async def values_stream(request: Request) -> Response:
    return events(state_of(request), VALUES_EVERY_S, lambda _state: "")


async def live_stream(request: Request) -> Response:
    """Everything the page needs in one connection: browsers allow six to a host."""
    return events(state_of(request), FRAME_EVERY_S, lambda state: event("state", state.frame()))


def events(state: State, every_s: float, before: Callable[[State], str]) -> Response:
    """Server-sent events: values that are newer than those the client got, after what `before` gives."""

    async def frames() -> AsyncGenerator[str, None]:
        with watching(state):
            seen = 0
            async for _ in ticks(state.context, every_s):
                seen, changed = state.values.since(seen)
                yield before(state) + event("values", json_text(changed))

    return Stream(frames(), state.pages, "text/event-stream")


@contextmanager
def watching(state: State) -> Iterator[None]:
    """Counts who looks: values are read from the stream only while someone does."""
    state.values.watch(1)
    try:
        yield
    finally:
        state.values.watch(-1)


async def tail(request: Request) -> Response:
    """A topic's records as JSON lines: the last `last` of each partition, then, with `follow`, what comes."""
    topic = request.path_params["topic"]
    check_topic(topic)
    last = number(request, "last", 10, LAST_MAX)
    follow = request.query_params.get("follow", "true")
    if follow not in ("true", "false"):
        raise Problem(Kind.USAGE, f"follow is {follow[:40]!r}; right would be true or false")
    state = state_of(request)

    async def lines() -> AsyncGenerator[str, None]:
        async for record in read_topic(state.context, topic, last, follow == "true"):
            yield json_text(record) + "\n"

    return Stream(lines(), state.tails, "application/x-ndjson")


def number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) or int(text) > most:
        raise Problem(Kind.USAGE, f"{name} is {text[:40]!r}; right would be a number from 0 to {most}")
    return int(text)


async def restart(request: Request) -> Response:
    """Have the tree restart one component or branch."""
    state, name = state_of(request), request.path_params["id"]
    if not request.app.state.may_act:
        raise Problem(
            Kind.FORBIDDEN, f"this port only reads; in a terminal: {command(f'restart {quote(last_part(name))}')}"
        )
    node = state.find(name)
    if node is state.tree:
        parts = ", ".join(last_part(child["id"]) for child in node["children"])
        text = f"{node['id']} is the whole gateway, which restarts from outside ({restart_whole()}); its branches are {parts}"
        raise Problem(Kind.CONFLICT, text)
    if f"{state.context.id}/".startswith(f"{node['id']}/"):
        # The order stops this very process: answer first.
        order = BackgroundTask(state.context.command, "restart", node["id"], within_s=COMMAND_WITHIN_S)
        return _answer_and_do(node, order)
    return answer(await act(state, node, "restart"))


def _answer_and_do(node: dict[str, Any], order: BackgroundTask) -> Response:
    given = answer({"component": node["id"], "pid_before": node.get("pid"), "ok": True, "state": "restarting"}, 202)
    given.background = order
    return given


async def act(state: State, node: dict[str, Any], verb: str) -> dict[str, Any]:
    """Raises Problem."""
    try:
        done = await state.context.command(verb, node["id"], within_s=COMMAND_WITHIN_S)
    except TimeoutError:
        text = f"{node['id']} has not done it within {COMMAND_WITHIN_S:.0f} s; see {command('tree')}"
        raise Problem(Kind.TIMEOUT, text) from None
    if not done.get("ok"):
        raise Problem(Kind.CONFLICT, f"{node['id']}: {done.get('error')}")
    return {"component": node["id"], "pid_before": node.get("pid"), **done}


ROUTES = [
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
    Route("/api/v1/components/{id:path}", component),
]


def app(state: State, hosts: Collection[str], may_act: bool) -> ASGIApp:
    """`hosts`: see control/gate.py. What is no route may be a file of the page."""
    made = Starlette(
        routes=ROUTES, exception_handlers={Problem: handle, HTTPException: handle_http, Exception: handle_any}
    )
    made.router.redirect_slashes = False
    made.router.default = StaticFiles(directory=PAGE, html=True)
    made.state.gateway, made.state.may_act = state, may_act
    return Gate(made, hosts)
