"""What the server keeps for us until the stream has it, and how the next connection or process fetches it. Real asyncua server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from asyncua import ua

from protocols.contract import NotConnected
from protocols.load import make, validated
from protocols.opcua.receipts import Mark, Receipts
from schemas.records import Quality
from tests.kit.opcua import Gate, InThread, OpcUaServer, Tap, adapter_config, point, soon

QUICK = {"publishing_interval": "50ms", "keep_alive_count": 10, "watchdog": "5s"}


@pytest.fixture(scope="module")
def server():
    return InThread(OpcUaServer())


@pytest.fixture
async def plant(server):
    """The one server, as no test before has left it."""
    for number in list(server.server.subscriptions):
        await server(server.server.subscriptions.pop(number).stop())
    await write(server, 20)
    return server


@pytest.fixture
async def gate(plant):
    gate = Gate(plant.server.port)
    await gate.open()
    yield gate
    await gate.shut()


def new(url, state_dir=None, **more):
    points = [point("temp", "Temp", queue_size=100)]
    return make(validated(adapter_config(url, points, state_dir=state_dir and str(state_dir), **{**QUICK, **more})))


@asynccontextmanager
async def connected(adapter):
    await adapter.connect()
    try:
        yield adapter
    finally:
        await asyncio.wait_for(adapter.close(), 30)


async def write(plant, *numbers):
    for n in numbers:
        await plant(plant.server.write("Temp", float(n)))


def kept(plant, adapter):
    """What the server would repeat."""
    return plant.server.subscriptions[adapter._subscription.id]._not_acknowledged_results


def published(plant, adapter, value):
    """Whether the server has sent a message with this value, which it keeps until it is told that it arrived."""
    sent = [
        data for result in list(kept(plant, adapter).values()) for data in result.NotificationMessage.NotificationData
    ]
    return any(item.Value.Value.Value == value for data in sent for item in data.MonitoredItems)


async def values(adapter, last, *, deliver):
    """Values up to `last`; the stream has them, or never will."""
    seen = []
    async with asyncio.timeout(30):
        while last not in seen:
            batch = await adapter.read()
            seen += [r.value for r in batch.readings]
            if deliver:
                batch.delivered()
    return seen


async def lost(adapter, gate):
    """The connection, for both sides, and seen by the reader."""
    await gate.shut()
    with pytest.raises(NotConnected):
        await values(adapter, None, deliver=True)
    await adapter.close()


async def killed(adapter):
    """As by kill -9: nothing is said to the server, no task goes on."""
    for task in adapter._tasks:
        task.cancel()
    await asyncio.gather(*adapter._tasks, return_exceptions=True)
    adapter._link.client.uaclient.protocol.transport.abort()


async def test_the_server_keeps_a_message_until_the_stream_has_it(plant):
    async with connected(new(plant.server.url)) as adapter:
        await values(adapter, 20.0, deliver=True)
        await write(plant, 1)
        await soon(lambda: adapter._inbox._held)
        batch = await adapter.read()
        await write(plant, 2)
        await soon(lambda: adapter._inbox._held)
        assert len(kept(plant, adapter)) >= 2
        batch.delivered()
        await values(adapter, 2.0, deliver=True)
        await soon(lambda: not kept(plant, adapter))


async def test_a_killed_process_loses_nothing_and_repeats_nothing(plant, tmp_path):
    first = new(plant.server.url, tmp_path)
    await first.connect()
    await write(plant, 100)
    await values(first, 100.0, deliver=True)
    await write(plant, 101)
    await values(first, 101.0, deliver=False)
    await write(plant, 102)
    await soon(lambda: first._inbox._held)
    before = first._subscription.id
    await killed(first)
    await write(plant, 103)
    async with connected(new(plant.server.url, tmp_path)) as second:
        seen = await values(second, 103.0, deliver=True)
        assert seen[:2] == [101.0, 102.0]
        assert seen.count(103.0) == 1
        assert 100.0 not in seen
        assert second.health().counters["recovered_messages"] >= 2
        assert "messages_lost" not in second.health().counters
        await soon(lambda: before not in plant.server.subscriptions)
        await write(plant, 104)
        assert await values(second, 104.0, deliver=True) == [104.0]
    await write(plant, 105)
    async with connected(new(plant.server.url, tmp_path)) as third:
        assert await values(third, 105.0, deliver=True) == [105.0]


async def test_a_lost_connection_loses_nothing(plant, gate):
    async with connected(new(gate.url)) as adapter:
        await write(plant, 200)
        await values(adapter, 200.0, deliver=True)
        gate.flowing.clear()
        await write(plant, 201)
        await soon(lambda: published(plant, adapter, 201.0))
        await lost(adapter, gate)
        await write(plant, 202)
        gate.flowing.set()
        await gate.open()
        await adapter.connect()
        seen = await values(adapter, 202.0, deliver=True)
        assert seen == [201.0, 202.0]


async def test_what_waits_for_the_stream_at_a_loss_is_not_fetched_again(plant, gate):
    async with connected(new(gate.url)) as adapter:
        await write(plant, 300)
        await values(adapter, 300.0, deliver=True)
        await write(plant, 301)
        waiting = await adapter.read()
        assert [r.value for r in waiting.readings] == [301.0]
        await lost(adapter, gate)
        await gate.open()
        await adapter.connect()
        waiting.delivered()
        await write(plant, 302)
        assert 301.0 not in (await values(adapter, 302.0, deliver=True))[1:]


async def test_a_server_that_hands_nothing_over_is_said_and_does_not_stop_the_flow(plant, gate, monkeypatch, caplog):
    async def refuse(self, params, session_id, callback):
        return [ua.TransferResult(ua.StatusCode(ua.StatusCodes.BadUserAccessDenied))]

    async with connected(new(gate.url)) as adapter:
        await write(plant, 400)
        await values(adapter, 400.0, deliver=True)
        monkeypatch.setattr(type(plant.server.server.iserver.subscription_service), "transfer_subscriptions", refuse)
        await lost(adapter, gate)
        await gate.open()
        await adapter.connect()
        await values(adapter, 400.0, deliver=True)
        assert adapter.health().counters["transfers_refused"] == 1
        assert "BadUserAccessDenied" in caplog.text
        assert "many servers do it only for a `user`, with `security`" in caplog.text


async def test_another_start_of_the_server_is_another_subscription(tmp_path):
    server = OpcUaServer()
    await server.start()
    first = new(server.url, tmp_path)
    await first.connect()
    await values(first, 20.0, deliver=False)
    await killed(first)
    await server.stop()
    other = OpcUaServer(port=server.port)
    await other.start()
    try:
        other.server.iserver.subscription_service._sub_id_counter = 76
        stranger = new(other.url)
        async with connected(stranger), connected(new(other.url, tmp_path)) as second:
            assert Tap(second).health().counters.get("recovered_messages") is None
            await values(second, 20.0, deliver=True)
            await values(stranger, 20.0, deliver=True)
    finally:
        await other.stop()


async def test_other_points_take_nothing_over(plant, tmp_path):
    first = new(plant.server.url, tmp_path)
    await write(plant, 500)
    await first.connect()
    await values(first, 500.0, deliver=False)
    await killed(first)
    other = adapter_config(plant.server.url, [point("new_name", "Temp")], state_dir=str(tmp_path), **QUICK)
    async with connected(make(validated(other))) as second:
        reading = await Tap(second).next("new_name")
        assert reading.status is Quality.GOOD
        assert "recovered_messages" not in second.health().counters


MARK = Mark("points", 5, 77)


def test_messages_are_acknowledged_in_order_and_those_without_readings_with_the_one_before():
    receipts = Receipts(None)
    receipts.begin(77, MARK)
    receipts.came(1, False)
    assert receipts.acknowledge == [1]
    for number, has_readings in ((2, True), (3, False), (4, True), (5, False)):
        receipts.came(number, has_readings)
    receipts.hand((77, 4))
    assert receipts.acknowledge == [1]
    receipts.stored((77, 2))
    assert receipts.acknowledge == [1, 2, 3]
    assert receipts.waiting
    receipts.stored((77, 4))
    assert receipts.acknowledge == [1, 2, 3, 4, 5]
    assert not receipts.waiting


def test_a_subscription_before_says_nothing_of_this_one():
    receipts = Receipts(None)
    receipts.begin(77, MARK)
    receipts.came(1, True)
    receipts.stored((76, 9))
    assert receipts.acknowledge == []


def test_the_mark_survives_the_process(tmp_path):
    file = tmp_path / "state" / "press.json"
    receipts = Receipts(file)
    receipts.begin(77, MARK)
    receipts.came(1, True)
    receipts.stored((77, 1))
    again = Receipts(file)
    again.resume()
    assert (again.mark, again.delivered, again.worth_keeping) == (MARK, 1, True)
    again.handed_over(agreed=False)
    again.begin(0, None)
    third = Receipts(file)
    third.resume()
    assert third.mark is None
    third.begin(78, MARK)
    assert not third.worth_keeping
    third.handed_over(agreed=True)
    assert third.worth_keeping


@pytest.mark.parametrize("content", ["", "{", "[]", '{"delivered": 1}', json.dumps({"delivered": "x", "settings": 1})])
def test_a_damaged_mark_is_none(tmp_path, content):
    (tmp_path / "press.json").write_text(content)
    receipts = Receipts(tmp_path / "press.json")
    receipts.resume()
    assert receipts.mark is None


def test_a_mark_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    receipts = Receipts(tmp_path / "file" / "press.json")
    receipts.begin(77, MARK)
    receipts.came(1, True)
    receipts.stored((77, 1))
    assert receipts.acknowledge == [1]
    assert caplog.text.count("cannot be written") == 1
