"""What a worker says while its mailbox does not get to hear it: bounded, the newest figures, and no order lost in silence."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.context import Context
from actors.io_actor import IoActor, LoopThread
from actors.notices import ORDERS_MOST, Notices


def test_news_takes_the_place_of_unheard_news_of_its_name_and_is_counted() -> None:
    notices, heard = Notices(), list[str]()
    for n in range(1000):
        notices.news("figures", lambda n=n: heard.append(f"figures {n}"))  # type: ignore[misc]
        if n == 5:
            notices.news("started", lambda: heard.append("started"))
    for notice in notices.take():
        notice()
    assert heard == ["started", "figures 999"]
    assert notices.replaced == 999
    assert notices.take() == []


def test_orders_are_kept_in_order_and_refused_beyond_the_bound() -> None:
    notices, heard = Notices(), list[int]()
    taken = [notices.order(lambda n=n: heard.append(n)) for n in range(ORDERS_MOST + 3)]  # type: ignore[misc]
    assert taken == [True] * ORDERS_MOST + [False] * 3
    assert notices.orders == ORDERS_MOST
    for notice in notices.take():
        notice()
    assert heard == list(range(ORDERS_MOST))
    assert notices.order(lambda: None)


def test_what_became_of_notices_is_among_the_figures() -> None:
    loop, context = LoopThread(), Context("a", {})
    loop.measure(context)
    assert (context.gauges, context.counters) == ({"orders_fill": 0.0}, {})
    for _ in range(3):
        loop.tell("figures", lambda: None)
        assert loop.order(lambda: None)
    loop.measure(context)
    assert context.gauges == {"orders_fill": 3 / ORDERS_MOST}
    assert context.counters == {"notices_replaced_total": 2}
    assert len(loop.hear()) == 4
    loop.close()


async def test_an_order_for_which_there_is_no_room_is_answered_at_once_and_counted() -> None:
    actor: Any = IoActor()
    actor.loop, actor.context, actor._waiting = LoopThread(), Context("api", {}), {}
    under_way = [asyncio.create_task(actor._command("restart", "press")) for _ in range(ORDERS_MOST)]
    await asyncio.sleep(0)  # one turn of the loop, in which all of them are given
    answer = await actor._command("restart", "press")
    assert answer == {"ok": False, "error": "press: 100 orders have not left this worker yet; try again"}
    assert actor.context.counters == {"orders_refused_total": 1}
    for task in under_way:
        task.cancel()
    await asyncio.wait(under_way)
    assert actor._waiting == {}
    actor.loop.close()
