"""The loop thread and its bell, without an actor system; what a worker may say of itself."""

from __future__ import annotations

import asyncio
import select
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.context import Context, Status
from actors.io_actor import FACTS_MAX, NAMES_MAX, LoopThread, snapshot


def life(main: Callable[[], Awaitable[None]], loop: LoopThread | None = None) -> str | None:
    """Run it as the mailbox would, and return what it ended with: None or a traceback."""
    loop = loop or LoopThread()
    ends: list[str | None] = []
    loop.start(main, ends.append)
    deadline = time.monotonic() + 30
    while not ends:
        assert time.monotonic() < deadline
        if select.select([loop.bell], [], [], 1)[0]:
            for notice in loop.hear():
                notice()
    loop.close()
    return ends[0]


def test_the_end_of_main_rings_the_bell() -> None:
    async def main() -> None:
        await asyncio.sleep(0)

    assert life(main) is None


def test_an_error_arrives_as_its_traceback() -> None:
    async def main() -> None:
        raise OSError("the cable is out")

    assert (life(main) or "").splitlines()[-1] == "OSError: the cable is out"


def test_every_notice_is_heard_once_and_in_order() -> None:
    loop, heard = LoopThread(), list[int]()

    async def main() -> None:
        for number in range(20_000):
            loop.tell(f"word {number}", lambda number=number: heard.append(number))  # type: ignore[misc]

    assert life(main, loop) is None
    assert heard == list(range(20_000))


def test_the_bell_outlives_the_last_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, words, ring = LoopThread(), list[str | None](), LoopThread._ring

    def late(bell: LoopThread) -> None:
        heard.wait(30)
        ring(bell)
        words.append("rung")

    async def main() -> None:
        await asyncio.sleep(0)

    heard = threading.Event()
    monkeypatch.setattr(LoopThread, "_ring", late)
    loop.start(main, words.append)
    while not words:
        for notice in loop.hear():
            notice()
    threading.Timer(0.05, heard.set).start()
    loop.close()
    assert words == [None, "rung"]


def test_a_main_that_does_not_stop_is_cancelled() -> None:
    loop, words = LoopThread(), list[str]()

    async def main() -> None:
        loop.cancel_after(0.05)
        try:
            await asyncio.Event().wait()
        finally:
            words.append("closed")

    assert (life(main, loop) or "").splitlines()[-1].endswith("CancelledError: it did not stop in time")
    assert words == ["closed"]


def test_tasks_left_behind_are_cancelled_before_the_end() -> None:
    words: list[str] = []

    async def left(begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            words.append("closed")

    async def main() -> None:
        begun = asyncio.Event()
        keep.append(asyncio.create_task(left(begun)))
        await begun.wait()

    keep: list[asyncio.Task[None]] = []
    assert life(main) is None
    assert words == ["closed"]


def test_a_call_runs_on_the_loop_and_after_its_end_is_nothing() -> None:
    called: list[str] = []

    async def main() -> None:
        there = asyncio.Event()
        loop.call(lambda: called.append(threading.current_thread().name))
        loop.call(there.set)
        await there.wait()

    loop = LoopThread()
    assert life(main, loop) is None
    loop.call(lambda: called.append("after the end"))
    loop.call_later(0, lambda: called.append("after the end"))
    assert called == ["loop"]


def test_a_snapshot_is_bounded_and_does_not_follow_later_changes() -> None:
    context = Context("a", {})
    context.facts["seen"] = [1]
    for number in range(NAMES_MAX + 10):
        context.count(f"c{number}_total")
    shot = snapshot(context)
    context.facts["seen"].append(2)
    assert (shot["facts"], len(shot["counters"])) == ({"seen": [1]}, NAMES_MAX)
    context.facts["seen"] = "x" * FACTS_MAX
    assert list(snapshot(context)["facts"]) == ["facts"]


async def test_a_worker_without_supervisor_is_told_so() -> None:
    answer = await Context("a", {}).command("restart", "b")
    assert answer == {"ok": False, "error": "b: this worker runs without a supervisor"}


async def test_a_command_without_answer_ends_with_the_deadline() -> None:
    async def never(_verb: str, _target: str) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(TimeoutError):
        await Context("a", {}, on_command=never).command("restart", "b", within_s=0.02)


def test_only_a_changed_status_is_news() -> None:
    told: list[int] = []
    context = Context("a", {}, on_health=lambda: told.append(1))
    context.health(Status.DEGRADED, "one bad node")
    context.health(Status.DEGRADED, "two bad nodes")
    assert (told, context.reason) == ([1], "two bad nodes")
