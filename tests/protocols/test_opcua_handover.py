"""What a connection leaves at the server when it ends, so that the next one takes over: nothing is lost by a stop, or by a server
that hung; where the server hands nothing over, nothing is left there, and the data say so. Real asyncua server."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from asyncua import ua
from asyncua.server.subscription_service import SubscriptionService

from protocols.contract import NotConnected
from protocols.load import make, validated
from protocols.opcua.binary import DataValue
from protocols.opcua.link import Link
from protocols.opcua.overlap import Overlap
from protocols.opcua.receipts import Receipts
from protocols.opcua.recovery import Recovery
from protocols.opcua.subscription import Subscription
from schemas.records import Quality
from tests.kit.opcua import InThread, OpcUaServer, adapter_config, point, soon

QUICK = {"publishing_interval": "50ms", "keep_alive_count": 10, "watchdog": "5s"}
NO = ua.StatusCodes.BadUserAccessDenied


@pytest.fixture(scope="module")
def plant():
    return InThread(OpcUaServer())


def new(plant, state_dir, **more):
    points = [point("temp", "Temp", queue_size=100)]
    return make(validated(adapter_config(plant.server.url, points, state_dir=str(state_dir), **{**QUICK, **more})))


async def write(plant, *numbers):
    for n in numbers:
        await plant(plant.server.write("Temp", float(n)))


async def readings(adapter, last):
    """All until this value; the stream has them."""
    seen = []
    async with asyncio.timeout(30):
        while not seen or seen[-1].value != last:
            batch = await adapter.read()
            seen += batch.readings
            batch.delivered()
    return seen


async def values(adapter, last):
    return [r.value for r in await readings(adapter, last)]


async def connected(adapter, deadline_s=30):
    """Connected, as soon as the server has a moment."""
    async with asyncio.timeout(deadline_s):
        while True:
            with suppress(NotConnected):
                return await adapter.connect()


async def lost(adapter, deadline_s=30):
    with pytest.raises(NotConnected):
        async with asyncio.timeout(deadline_s):
            while True:
                (await adapter.read()).delivered()


async def refuse(self, params, session_id, callback):
    return [ua.TransferResult(ua.StatusCode(NO)) for _ in params.SubscriptionIds]


async def test_a_stop_and_a_start_lose_nothing(plant, tmp_path):
    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 100)
    await values(first, 100.0)
    await first.close()
    await write(plant, 101, 102, 103)
    second = new(plant, tmp_path)
    await second.connect()
    seen = await readings(second, 103.0)
    assert [r.value for r in seen] == [101.0, 102.0, 103.0]
    assert [r.reason for r in seen] == [None, None, None]
    await second.close()


async def test_a_server_that_hung_still_has_what_it_sampled_before(plant, tmp_path):
    async def sample_and_hang():
        for n in (201.0, 202.0, 203.0):
            await plant.server.write("Temp", n)
        plant.server.hang(6)

    adapter = new(plant, tmp_path, watchdog="600ms", request_timeout="1s", connect_timeout="1s")
    await adapter.connect()
    await write(plant, 200)
    await values(adapter, 200.0)
    hanging = asyncio.create_task(plant(sample_and_hang()))
    await lost(adapter)
    assert not hanging.done()
    await adapter.close()
    await hanging
    await connected(adapter)
    assert await values(adapter, 203.0) == [201.0, 202.0, 203.0]
    await adapter.close()


async def test_a_server_that_hands_nothing_over_is_left_without_a_subscription(plant, tmp_path, monkeypatch):
    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 300)
    await values(first, 300.0)
    await first.close()
    monkeypatch.setattr(SubscriptionService, "transfer_subscriptions", refuse)
    await write(plant, 301)
    second = new(plant, tmp_path)
    await second.connect()
    (reading,) = await readings(second, 301.0)
    said = "values before this one may be lost: the server did not hand over the subscription before"
    assert (reading.status, reading.reason) == (Quality.GOOD, f"{said} (BadUserAccessDenied)")
    await write(plant, 302)
    assert [r.reason for r in await readings(second, 302.0)] == [None]
    await second.close()
    await write(plant, 303)
    third = new(plant, tmp_path)
    await third.connect()
    (reading,) = await readings(third, 303.0)
    assert reading.reason == "values before this one may be lost: the server hands no subscription over"
    for adapter in (third, new(plant, tmp_path)):
        await adapter.connect()
        await write(plant, time.monotonic())
        await soon(lambda adapter=adapter: adapter._receipts.mark)
        mine = adapter._receipts.mark.subscription
        assert mine in plant.server.subscriptions
        await adapter.close()
        assert mine not in plant.server.subscriptions


async def test_a_server_that_hands_over_again_is_believed(plant, tmp_path, monkeypatch):
    adapter = new(plant, tmp_path)
    await adapter.connect()
    await write(plant, 400)
    await values(adapter, 400.0)
    await adapter.close()
    with monkeypatch.context() as refusing:
        refusing.setattr(SubscriptionService, "transfer_subscriptions", refuse)
        await adapter.connect()
        await write(plant, 401)
        await values(adapter, 401.0)
        assert not adapter._receipts.worth_keeping
    adapter._link.client.uaclient.protocol.transport.abort()
    await lost(adapter)
    await adapter.connect()
    await write(plant, 402)
    await values(adapter, 402.0)
    assert adapter._receipts.worth_keeping
    await adapter.close()


async def test_changed_points_leave_no_subscription_behind_and_say_that_values_may_be_missing(plant, tmp_path):
    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 500)
    await values(first, 500.0)
    before = first._receipts.mark.subscription
    await first.close()
    assert before in plant.server.subscriptions
    points = [point("temp", "Temp", queue_size=50)]
    second = make(validated(adapter_config(plant.server.url, points, state_dir=str(tmp_path), **QUICK)))
    await second.connect()
    (reading,) = await readings(second, 500.0)
    assert reading.reason == "values before this one may be lost: its settings were changed"
    assert before not in plant.server.subscriptions
    await second.close()


async def test_a_server_with_room_for_one_subscription_gets_a_new_one_for_a_silent_one(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(plant.server.server.iserver, "max_subscriptions", len(plant.server.subscriptions) + 1)
    adapter = new(plant, tmp_path, watchdog="600ms")
    await adapter.connect()
    await write(plant, 600)
    await values(adapter, 600.0)
    silent = adapter._subscription.id
    plant.server.swallow = lambda result: result.SubscriptionId == silent
    try:
        await soon(lambda: adapter.health().counters.get("subscriptions_recreated"))
        await write(plant, 601)
        (reading, *_) = await readings(adapter, 601.0)
        assert reading.reason.startswith("values before this one may be lost: neither values nor keep-alives")
        assert silent not in plant.server.subscriptions
    finally:
        plant.server.swallow = lambda _: False
        await adapter.close()


async def test_what_is_sampled_while_one_subscription_takes_over_from_the_other_comes_once(
    plant, tmp_path, monkeypatch
):
    made = Subscription.create

    async def amid_changes(self):
        await write(plant, 701, 702)
        await made(self)
        await write(plant, 703, 704)

    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 700)
    await values(first, 700.0)
    await first.close()
    monkeypatch.setattr(Subscription, "create", amid_changes)
    second = new(plant, tmp_path)
    await second.connect()
    assert await values(second, 704.0) == [701.0, 702.0, 703.0, 704.0]
    await write(plant, 705)
    assert await values(second, 705.0) == [705.0]
    await second.close()


async def test_a_new_subscription_does_not_step_back_behind_the_one_before(plant, tmp_path, monkeypatch):
    made = Subscription.create

    async def before_a_change(self):
        await made(self)
        await write(plant, 801)

    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 800)
    await values(first, 800.0)
    await first.close()
    monkeypatch.setattr(Subscription, "create", before_a_change)
    second = new(plant, tmp_path)
    await second.connect()
    assert await values(second, 801.0) == [801.0]
    await write(plant, 802)
    assert await values(second, 802.0) == [802.0]
    await second.close()


def sample(at, value=1.0):
    return DataValue(11, value, None, 0, at, at, b"")


def test_only_the_same_sample_is_a_repeat_and_a_newer_one_ends_the_comparing():
    overlap = Overlap()
    for at in (5, 6, 7):
        overlap.note(0, sample(at))
    assert overlap.repeats(0, sample(5))
    assert overlap.repeats(0, sample(6))
    assert not overlap.repeats(0, sample(6, 2.0))
    assert not overlap.repeats(0, sample(8))
    assert not overlap.repeats(0, sample(7))


def test_a_first_value_older_than_what_was_told_is_a_repeat_later_ones_are_not():
    overlap = Overlap()
    overlap.note(0, sample(5))
    overlap.note(1, sample(5))
    assert overlap.repeats(0, sample(3))
    assert not overlap.repeats(0, sample(4))
    assert not overlap.repeats(2, sample(3))
    assert not overlap.repeats(1, sample(None))


async def test_a_message_that_went_astray_during_the_takeover_is_asked_for_again(plant, tmp_path, monkeypatch):
    made = Recovery._drain

    async def after_one_went_astray(self, subscription):
        asked = asyncio.create_task(self.link.publish(ua.PublishRequest()))
        plant.server.swallow = lambda result: (
            result.SubscriptionId == subscription
            and result.NotificationMessage.NotificationData
            and not plant.server.swallowed
        )
        await write(plant, 901)
        await soon(lambda: plant.server.swallowed)
        await write(plant, 902)
        self.pending.add(asked)
        await made(self, subscription)

    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 900)
    await values(first, 900.0)
    await first.close()
    monkeypatch.setattr(Recovery, "_drain", after_one_went_astray)
    second = new(plant, tmp_path)
    await second.connect()
    try:
        assert await values(second, 902.0) == [901.0, 902.0]
        assert "messages_lost" not in second.health().counters
    finally:
        plant.server.swallow, plant.server.swallowed = (lambda _: False), 0
        await second.close()


async def test_when_the_old_subscription_is_deleted_the_next_process_would_already_find_the_new_one(
    plant, tmp_path, monkeypatch
):
    deleted = Link.forget
    found = []

    async def look_first(self, subscription):
        next_process = Receipts(tmp_path / "press_4.json")
        next_process.resume()
        found.append((subscription, next_process.mark.subscription))
        await deleted(self, subscription)

    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 1000)
    await values(first, 1000.0)
    old = first._subscription.id
    await first.close()
    monkeypatch.setattr(Link, "forget", look_first)
    second = new(plant, tmp_path)
    await second.connect()
    await write(plant, 1001)
    reading = asyncio.create_task(values(second, 1001.0))
    await soon(lambda: old not in plant.server.subscriptions)
    assert found == [(old, second._subscription.id)]
    await reading
    await second.close()


def telling_the_session_before(monkeypatch):
    """As Eclipse Milo and the standard have it: the word that its subscription went to another takes a sequence number."""
    transfer = SubscriptionService.transfer_subscriptions

    async def and_tell(self, params, session_id, callback):
        results = await transfer(self, params, session_id, callback)
        for one in params.SubscriptionIds:
            self.subscriptions[one]._notification_seq += 1
        return results

    monkeypatch.setattr(SubscriptionService, "transfer_subscriptions", and_tell)


async def test_a_loss_that_shows_after_the_takeover_is_said_too(plant, tmp_path, monkeypatch):
    made = Subscription.create

    async def before_a_change(self):
        await made(self)
        await write(plant, 1102)

    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 1100)
    await values(first, 1100.0)
    await soon(lambda: not plant.server.subscriptions[first._subscription.id]._not_acknowledged_results)
    await first.close()
    telling_the_session_before(monkeypatch)
    monkeypatch.setattr(Subscription, "create", before_a_change)
    second = new(plant, tmp_path)
    await second.connect()
    (reading,) = await readings(second, 1102.0)
    assert reading.reason == "values before this one may be lost: the server did not keep 1 messages"
    assert second.health().counters["messages_lost"] == 1
    await second.close()


async def test_a_takeover_that_breaks_off_is_no_loss_for_the_next_one(plant, tmp_path, monkeypatch):
    made, broken = Subscription.create, []

    async def break_off_at_first(self):
        if not broken:
            broken.append(self)
            await write(plant, 1202)
            raise NotConnected("a network that is gone")
        await made(self)

    first = new(plant, tmp_path)
    await first.connect()
    await write(plant, 1200)
    await values(first, 1200.0)
    await write(plant, 1201)
    await first.read()
    first._link.client.uaclient.protocol.transport.abort()
    await first.close()
    telling_the_session_before(monkeypatch)
    monkeypatch.setattr(Subscription, "create", break_off_at_first)
    second = new(plant, tmp_path)
    await second.connect()
    seen = []
    with pytest.raises(NotConnected):
        while True:
            batch = await second.read()
            seen += batch.readings
            batch.delivered()
    await second.connect()
    seen += await readings(second, 1202.0)
    assert [(r.value, r.reason) for r in seen if r.value is not None] == [(1201.0, None), (1202.0, None)]
    assert "messages_lost" not in second.health().counters
    await second.close()
