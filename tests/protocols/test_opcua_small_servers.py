"""What small servers do without, as gopcua's and async-opcua's: browse paths, room for five reads at once, old keys beside new ones,
messages that wait. Real asyncua server that is made to do so."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession

from schemas.records import Quality
from tests.kit.opcua import URI, InThread, OpcUaServer, adapter, point, soon

AT_PATH = {"parameter": "at_path", "path": f"/Objects/nsu={URI};Press4/Temp"}


@pytest.fixture(scope="module")
def plant():
    return InThread(OpcUaServer({"Other": 0.0}))


@pytest.fixture(autouse=True)
async def nothing_left(plant):
    yield
    plant.server.swallow, plant.server.swallowed = (lambda _: False), 0
    await plant(plant.server.forget_subscriptions())


async def test_without_browse_paths_the_points_with_a_node_flow(plant, monkeypatch):
    async def refuse(self, paths):
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)

    monkeypatch.setattr(InternalSession, "translate_browsepaths_to_nodeids", refuse)
    async with adapter(plant, point("temp", "Temp"), AT_PATH) as plc:
        bad = await plc.next("at_path")
        assert (await plc.next("temp")).value is not None
        health = plc.health()
    assert bad.status is Quality.BAD
    assert "the server does not look up browse paths (BadServiceUnsupported" in bad.reason
    assert "mode: poll" not in health.next_step
    assert health.next_step.startswith("write `node` in place of `path`")


async def test_a_server_that_takes_few_reads_at_once_is_connected_to(plant, monkeypatch):
    async def limited(self, params):
        if len(params.NodesToRead) > 2:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        return await given(self, params)

    given = InternalSession.read
    monkeypatch.setattr(InternalSession, "read", limited)
    points = [point(f"p{n}", "Temp", mode="poll") for n in range(5)]
    async with adapter(plant, *points) as plc:
        await plc.first_of_each(*(f"p{n}" for n in range(5)))
        assert plc.adapter._link.limits.read <= 2


async def test_no_request_goes_out_while_new_keys_are_made(plant, monkeypatch):
    """async-opcua drops the old keys with the answer: a request that bears them ends the channel."""
    asked = []

    async def counted(self, params):
        asked.append(params)
        return await given(self, params)

    given = InternalSession.read
    async with adapter(plant, point("temp", "Temp", mode="poll", every="20ms")) as plc:
        await plc.next("temp")
        link, answered = plc.adapter._link, asyncio.Event()
        renew, turn, waiting = link.client.open_secure_channel, link._steady.wait, []

        async def noticed():
            if not link._steady.is_set():
                waiting.append(1)
            return await turn()

        monkeypatch.setattr(link._steady, "wait", noticed)

        async def slowly(*args, **more):
            await renew(*args, **more)
            await answered.wait()

        link.client.open_secure_channel = slowly
        renewing = asyncio.create_task(link.renew())
        await asyncio.sleep(0)
        monkeypatch.setattr(InternalSession, "read", counted)
        await soon(lambda: waiting)
        assert len(asked) <= 1, "more than the one that was under way"
        answered.set()
        await renewing
        await soon(lambda: len(asked) > 1)


async def test_each_loss_is_said_also_soon_after_another(plant):
    """Only the first makes a new subscription; a second one within the minute went by with a counter."""
    async with adapter(plant, point("temp", "Temp"), point("other", "Other"), watchdog="3s") as plc:
        await plc.first_of_each("temp", "other")
        await lose_one_for_good(plant, plc, 1.0)
        assert "1 messages were lost" in await reason_at(plc, 101.0)
        await soon(lambda: plc.health().counters.get("subscriptions_recreated"))
        await plant(plant.server.write("Temp", 50.0))
        await plc.until(lambda r: r.point.parameter == "temp" and r.value == 50.0)
        await lose_one_for_good(plant, plc, 2.0)
        assert "1 messages were lost" in await reason_at(plc, 102.0)
        assert plc.health().counters["messages_lost"] == 2
        assert plc.health().counters["subscriptions_recreated"] == 1
        await soon(lambda: any("dropped 2 messages" in said for said in plc.health().degraded))
        assert plc.health().next_step.startswith("raise the server's limits of a session")


async def reason_at(plc, value):
    (*_, told) = await plc.until(lambda r: r.point.parameter == "temp" and r.value == value)
    return told.reason or ""


async def lose_one_for_good(plant, plc, value):
    """A message on `other` that the server neither sends nor keeps; then one on `temp`."""
    subscription = plant.server.subscriptions[plc.adapter._subscription.id]
    already, lose = plant.server.swallowed, itertools.chain([True], itertools.repeat(False))
    plant.server.swallow = lambda result: bool(result.NotificationMessage.NotificationData) and next(lose)
    await plant(plant.server.write("Other", value))
    await soon(lambda: plant.server.swallowed > already)
    subscription._not_acknowledged_results.clear()
    await plant(plant.server.write("Temp", 100.0 + value))
