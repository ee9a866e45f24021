"""What happens when the flow stops though the session stands, and when session, server or network go away. Real asyncua server."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

import pytest
from asyncua import ua

from protocols.contract import NotConnected
from protocols.load import make, validated
from protocols.opcua.subscription import SilentServer
from schemas.records import Quality
from tests.kit.opcua import URI, Gate, InThread, OpcUaServer, Tap, adapter_config, point, soon

QUICK = {"publishing_interval": "50ms", "keep_alive_count": 3, "watchdog": "500ms"}
PATIENT = {"watchdog": "3s"}
"""For tests in which the server is well, however busy the machine is."""
APART_S = 0.06
"""More than a publishing interval: what is written so far apart comes in messages of its own."""
MANY_MESSAGES_S = 0.7
"""In which a server that is asked sends a dozen."""


@pytest.fixture(scope="module")
def plant():
    return InThread(OpcUaServer({"Other": 0.0}))


@pytest.fixture(autouse=True)
async def nothing_swallowed_and_nothing_left(plant):
    yield
    plant.server.swallow, plant.server.swallowed = (lambda _: False), 0
    await plant(plant.server.forget_subscriptions())


@asynccontextmanager
async def adapter(url, *points, **more):
    made = make(validated(adapter_config(url, list(points) or None, **{**QUICK, **more})))
    await made.connect()
    try:
        yield Tap(made)
    finally:
        await asyncio.wait_for(made.close(), 30)


async def write(plant, value):
    await plant(plant.server.write("Temp", float(value)))


async def lost(plc, deadline_s=30):
    """The exception that ends the connection."""
    async with asyncio.timeout(deadline_s):
        while True:
            try:
                (await plc.adapter.read()).delivered()
            except (NotConnected, SilentServer) as end:
                return end


def has_data(result):
    return bool(result.NotificationMessage.NotificationData)


async def test_one_lost_message_is_asked_for_again(plant):
    async with adapter(plant.server.url, **PATIENT) as plc:
        await plc.next("temp")
        lose = itertools.chain([True], itertools.repeat(False))
        plant.server.swallow = lambda result: has_data(result) and next(lose)
        await write(plant, 1)
        await soon(lambda: plant.server.swallowed)
        await write(plant, 2)
        assert [(await plc.next("temp")).value for _ in range(2)] == [1.0, 2.0]
        assert plc.health().counters["republished"] == 1
        assert "silences" not in plc.health().counters


async def test_when_a_message_is_lost_for_good_all_values_are_told_again(plant):
    async with adapter(plant.server.url, point("temp", "Temp"), point("other", "Other")) as plc:
        await plc.first_of_each("temp", "other")
        subscription = plant.server.subscriptions[plc.adapter._subscription.id]
        lose = itertools.chain([True], itertools.repeat(False))
        plant.server.swallow = lambda result: has_data(result) and next(lose)
        await plant(plant.server.write("Other", 77.0))
        await soon(lambda: plant.server.swallowed)
        subscription._not_acknowledged_results.clear()
        await write(plant, 7)
        await plc.until(lambda r: r.point.parameter == "other" and r.value == 77.0)
        assert plc.health().counters["messages_lost"] == 1
        assert plc.health().counters["subscriptions_recreated"] == 1


async def test_when_every_request_was_swallowed_new_ones_are_sent_and_nothing_is_lost(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        plant.server.swallow = lambda _: plant.server.swallowed < 3
        for n in range(1, 6):
            await write(plant, n)
            await asyncio.sleep(APART_S)
        seen = await plc.until(lambda r: r.value == 5.0)
        assert [r.value for r in seen] == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert plc.health().counters["silences"] == 1
        assert "subscriptions_recreated" not in plc.health().counters
        assert plc.health().degraded == []


async def test_a_subscription_that_stays_silent_is_made_anew(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        dead = plc.adapter._subscription.id
        plant.server.swallow = lambda result: result.SubscriptionId == dead
        await soon(lambda: plc.health().counters.get("subscriptions_recreated"))
        await write(plant, 42)
        await plc.until(lambda r: r.value == 42.0)
        assert plc.adapter._subscription.id != dead
        assert dead not in plant.server.subscriptions


async def test_a_session_that_stays_silent_is_given_up_and_a_silent_new_one_is_a_crash(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        plant.server.swallow = lambda _: True
        end = await lost(plc)
        assert isinstance(end, NotConnected)
        assert "neither values nor keep-alives" in str(end)
        await plc.adapter.close()
        await plc.adapter.connect()
        assert isinstance(await lost(plc), SilentServer)


async def test_after_a_given_up_session_a_sign_of_life_starts_over(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        plant.server.swallow = lambda _: True
        await lost(plc)
        plant.server.swallow = lambda _: False
        await plc.adapter.close()
        signs = plc.health().counters.get("keep_alives", 0)
        await plc.adapter.connect()
        await plc.next("temp")
        await soon(lambda: plc.health().counters.get("keep_alives", 0) > signs)
        plant.server.swallow = lambda _: True
        assert isinstance(await lost(plc), NotConnected)


async def test_keep_alives_alone_are_life(plant):
    async with adapter(plant.server.url, watchdog="1s") as plc:
        await plc.next("temp")
        await soon(lambda: plc.health().counters.get("keep_alives", 0) >= 15)  # more than the watchdog's patience
        assert "silences" not in plc.health().counters


async def test_values_faster_than_keep_alives_are_life(plant):
    async with adapter(plant.server.url, keep_alive_count=10, watchdog="1s") as plc:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            await write(plant, time.monotonic())
            await plc.next("temp")
        assert "silences" not in plc.health().counters
        assert plc.health().counters.get("keep_alives", 0) <= 1, "or they were the life"


async def test_a_subscription_the_server_ended_is_made_anew(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        subscription = plant.server.subscriptions[plc.adapter._subscription.id]
        await plant(subscription.monitored_item_srv.trigger_statuschange(ua.StatusCode(ua.StatusCodes.BadTimeout)))
        await soon(lambda: plc.health().counters.get("subscriptions_recreated"))
        await write(plant, 43)
        seen = await plc.until(lambda r: r.value == 43.0)
        assert {r.status for r in seen} == {Quality.GOOD}
        assert plc.health().counters["subscriptions_recreated"] == 1


async def test_a_subscription_the_server_forgot_is_made_anew(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        await plant(plant.server.subscriptions.pop(plc.adapter._subscription.id).stop())
        await soon(lambda: plc.health().counters.get("subscriptions_recreated"))
        await write(plant, 44)
        seen = await plc.until(lambda r: r.value == 44.0)
        assert {r.status for r in seen} == {Quality.GOOD}
        assert plc.health().counters["subscriptions_recreated"] == 1


async def test_a_session_the_server_closed_is_not_connected_and_the_next_one_works(plant):
    async with adapter(plant.server.url) as plc:
        await plc.next("temp")
        sessions = {c.processor.session for c in plant.server.server.bserver.clients if c.processor.session}
        for session in sessions:
            await plant(session.close_session(True))
        assert "Session" in str(await lost(plc))
        await plc.adapter.close()
        await plc.adapter.connect()
        await plc.next("temp")


async def test_a_half_open_connection_is_noticed(plant):
    gate = Gate(plant.server.port)
    await gate.open()
    try:
        async with adapter(gate.url, request_timeout="1s") as plc:
            await plc.next("temp")
            gate.flowing.clear()
            start = time.monotonic()
            await lost(plc)
            assert time.monotonic() - start < 10
    finally:
        await gate.shut()


async def test_a_half_open_connection_is_noticed_by_polls(plant):
    gate = Gate(plant.server.port)
    await gate.open()
    try:
        async with adapter(gate.url, point("temp", "Temp", mode="poll", every="50ms"), request_timeout="1s") as plc:
            await plc.next("temp")
            gate.flowing.clear()
            assert "no answer to Read" in str(await lost(plc))
    finally:
        await gate.shut()


async def test_a_slow_reader_stops_the_asking_not_the_memory(plant):
    points = [point("temp", "Temp", queue_size=100_000)]
    async with adapter(plant.server.url, *points, buffer=1000, watchdog="4s") as plc:
        for n in range(10_000):
            await plant(plant.server.write("Temp", float(n))) if n % 100 == 0 else plant._loop.call_soon_threadsafe(
                lambda n=n: asyncio.ensure_future(plant.server.write("Temp", float(n)), loop=plant._loop)
            )
        await soon(lambda: plc.health().counters.get("pauses"))
        held = plc.adapter._inbox._held
        await asyncio.sleep(MANY_MESSAGES_S)
        assert plc.adapter._inbox._held == held
        seen = await plc.until(lambda r: r.value == 9900.0)
        assert len(seen) > 9000
        assert plc.health().degraded == []


async def test_a_restarted_server_with_moved_namespaces_is_found_again():
    first = OpcUaServer()
    await first.start()
    async with adapter(
        first.url, point("temp", "Temp"), {"parameter": "path", "path": f"/Objects/nsu={URI};Press4/Temp"}
    ) as plc:
        await plc.first_of_each("temp", "path")
        await first.stop()
        await lost(plc)
        await plc.adapter.close()
        second = OpcUaServer({"Temp": 55.0}, port=first.port, namespaces=("urn:new:1", "urn:new:2"))
        await second.start()
        try:
            assert second.namespace == first.namespace + 2
            await plc.adapter.connect()
            found = await plc.first_of_each("temp", "path")
            assert {r.value for r in found.values()} == {55.0}
            assert {r.status for r in found.values()} == {Quality.GOOD}
        finally:
            await plc.adapter.close()
            await second.stop()
