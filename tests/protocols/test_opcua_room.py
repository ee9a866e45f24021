"""Servers with room for one subscription, or for few monitored items, as small controllers have: what a connection left there is in
the way of the next one. Real asyncua server."""

from __future__ import annotations

import asyncio

import pytest
from asyncua import ua
from asyncua.server.subscription_service import SubscriptionService

from protocols.load import make, validated
from schemas.records import Quality
from tests.kit.opcua import InThread, OpcUaServer, adapter_config, point

QUICK = {"publishing_interval": "50ms", "keep_alive_count": 10, "watchdog": "5s", "retry_nodes": "60s"}
DEADLINE_S = 30
NAMES = ("Temp", "Other")


@pytest.fixture(scope="module")
def plant():
    return InThread(OpcUaServer({"Other": 0.0}))


@pytest.fixture(autouse=True)
async def nothing_left(plant):
    yield
    await plant(plant.server.forget_subscriptions())


def new(plant, state_dir):
    points = [point(name, name, queue_size=100) for name in NAMES]
    return make(validated(adapter_config(plant.server.url, points, state_dir=str(state_dir), **QUICK)))


async def write(plant, *numbers):
    for n in numbers:
        for name in NAMES:
            await plant(plant.server.write(name, float(n)))


async def readings(adapter, last):
    """All until each point has this value; the stream has them."""
    seen = []
    async with asyncio.timeout(DEADLINE_S):
        while {r.point.parameter for r in seen if r.value == last} != set(NAMES):
            batch = await adapter.read()
            seen += batch.readings
            batch.delivered()
    return seen


async def leave_something(plant, tmp_path):
    """A connection that ends as a stop does: the server samples on."""
    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 100)
    await readings(first, 100.0)
    await first.close()
    await write(plant, 101, 102)


async def test_a_server_with_room_for_one_subscription_hands_over_and_then_takes_the_next(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(plant.server.server.iserver, "max_subscriptions", 1)
    await leave_something(plant, tmp_path)
    second = new(plant, tmp_path)
    await second.connect()
    seen = await readings(second, 102.0)
    await write(plant, 103)
    seen += await readings(second, 103.0)
    assert "subscriptions_recreated" not in second.health().counters
    await second.close()
    temp = [r for r in seen if r.point.parameter == "Temp"]
    assert [r.value for r in temp] == [101.0, 102.0, 103.0]
    assert "no room for a second subscription" in temp[-1].reason
    assert len(plant.server.subscriptions) == 1


async def test_points_for_which_the_old_subscription_took_the_room_are_watched_as_soon_as_it_has_ended(
    plant, tmp_path, monkeypatch
):
    create = SubscriptionService.create_monitored_items

    async def few(self, params):
        """None while another subscription has some."""
        others = [s for i, s in self.subscriptions.items() if i != params.SubscriptionId]
        if any(s.monitored_item_srv._monitored_items for s in others):
            refused = ua.MonitoredItemCreateResult()
            refused.StatusCode = ua.StatusCode(ua.StatusCodes.BadTooManyMonitoredItems)
            return [refused for _ in params.ItemsToCreate]
        return await create(self, params)

    monkeypatch.setattr(SubscriptionService, "create_monitored_items", few)
    await leave_something(plant, tmp_path)
    second = new(plant, tmp_path)
    await second.connect()
    await readings(second, 102.0)
    await write(plant, 103)
    seen = await readings(second, 103.0)
    await second.close()
    assert seen[-1].status is Quality.GOOD
