"""What an adapter says of 1, 3 and 300 bad points: one sentence for each cause, with the first names; all names beside it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from protocols.contract import Cause, NotConnected, Reject
from protocols.load import make, validated
from protocols.mqtt import adapter as mqtt
from protocols.mqtt import unusable
from protocols.mqtt.unusable import TOPICS_MOST, Unusable
from tests.kit.modbus_server import liar
from tests.kit.opcua import Tap, adapter_config, point, shared_server, soon
from tests.protocols.modbus_reading import reading, register, until
from tests.protocols.mqtt_kit import RAW, collect, connected

MANY = pytest.mark.parametrize("n", [1, 3, 300])
ON = shared_server


@MANY
async def test_a_modbus_unit_that_refuses_its_registers(n):
    async def refuse(request, writer):
        writer.write(request.refusal(2))

    points = [register(40 * k % 60000, unit_id=7) for k in range(n)]
    async with liar(refuse) as one, reading(one.port, *points, every="100ms") as adapter:
        await until(adapter, lambda found: len(found) >= n, 20)
        (cause,) = adapter.health().causes
    assert len(cause.points) == n
    assert len(str(cause)) < 400
    assert "unit 7" in str(cause)
    assert "exception 2, illegal data address" in str(cause)
    assert "x/p0 (40001)" in str(cause)
    assert "40101 counts from 1" in (cause.next_step or "")
    if n > 1:
        assert "holding registers (function 3)" in str(cause)
        assert f"{n} points have no value" in str(cause)


async def test_a_modbus_gateway_that_answers_for_units_it_cannot_reach():
    async def away(request, writer):
        writer.write(request.answer() if request.unit == 1 else request.refusal(11))

    points = [register(k, unit_id=unit) for unit in range(1, 9) for k in range(2)]
    async with liar(away) as one, reading(one.port, *points, dead_pause="1min") as adapter:
        await until(adapter, lambda _: sum(len(c.points) for c in adapter.health().causes) == 14, 20)
        (cause,) = adapter.health().causes
    assert cause.said.startswith(
        "units 2, 3, 4, 5, 6 and 2 more, holding registers (function 3): exception 11, gateway "
    )
    assert "see at the serial gateway" in (cause.next_step or "")


async def test_modbus_units_that_are_silent_are_one_sentence():
    async def mute(request, writer):
        if request.unit == 1:
            writer.write(request.answer())

    points = [register(k, unit_id=unit) for unit in (1, 2, 3) for k in range(2)]
    hasty = {"response_timeout": "50ms", "dead_pause": "1min", "retries": 0, "dead_after": 2}
    async with liar(mute) as one, reading(one.port, *points, **hasty) as adapter:
        await until(adapter, lambda _: sum(len(c.points) for c in adapter.health().causes) == 4, 20)
        (cause,) = adapter.health().causes
    assert cause.said == "units 2 and 3 did not answer the last 2 requests and are tried rarely"
    assert "see whether that unit is on" in (cause.next_step or "")


async def test_a_connection_on_which_nothing_answers_is_not_told_that_others_are_read():
    async def mute(request, writer):
        return

    hasty = {"response_timeout": "50ms", "dead_pause": "1min", "retries": 0, "dead_after": 2}
    async with liar(mute) as one, reading(one.port, register(0), **hasty) as adapter:
        with suppress(NotConnected):
            await until(adapter, lambda _: bool(adapter.health().causes), 20)
        (cause,) = adapter.health().causes
    assert "perhaps it is no Modbus device" in cause.said
    assert "see what listens on 127.0.0.1" in (cause.next_step or "")


@asynccontextmanager
async def opcua(*points):
    made = make(validated(adapter_config(ON().server.url, list(points))))
    await made.connect()
    try:
        yield Tap(made)
    finally:
        await asyncio.wait_for(made.close(), 5)


@MANY
@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_opcua_nodes_that_are_not_there(n, mode):
    async with opcua(*(point(f"p{k}", f"NotThere{k}", mode=mode) for k in range(n))) as plc:
        await soon(lambda: sum(len(c.points) for c in plc.health().causes) == n)
        (cause,) = plc.health().causes
    assert cause.points[-1] == f"press_4/p{n - 1}"
    assert len(str(cause)) < 400
    assert "BadNodeIdUnknown" in str(cause)
    assert "OPC UA browser" in (cause.next_step or "")
    if mode == "subscribe":
        assert "s=NotThere0" in str(cause)


async def test_opcua_paths_of_one_mistake_are_one_sentence_with_what_is_there_instead():
    wrong = [{"parameter": f"p{k}", "path": f"/Objects/ns=0;Servr{k}"} for k in range(30)]
    async with opcua(*wrong) as plc:
        await soon(lambda: sum(len(c.points) for c in plc.health().causes) == 30)
        (cause,) = plc.health().causes
    assert "BadNoMatch" in cause.said
    assert "Servr0 is not in Objects" in cause.example


@MANY
async def test_mqtt_messages_that_cannot_be_used(mosquitto, n, monkeypatch):
    monkeypatch.setattr(unusable, "SHOWN_AFTER_S", 0.0)
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port) as one:
        await asyncio.to_thread(sender.send_many, [(f"t/{k}", "none") for k in range(n)])
        await collect(one, lambda _, rejects: len(rejects) >= n)
        (cause,) = one.health().causes
        assert len(cause.points) == n
        assert f"t/{n - 1}" in cause.points
        assert "a value of another type" in cause.said
        assert "'none' is no number" in cause.example
        assert len(str(cause)) < 400
        assert "dead letters keep each message" in (cause.next_step or "")
        await asyncio.to_thread(sender.send_many, [(f"t/{k}", "1") for k in range(n)])
        await collect(one, lambda found, _: len(found) >= n)
        assert one.health().causes == []


async def test_mqtt_a_topic_that_is_misspelt_is_told_until_the_first_message(mosquitto, monkeypatch):
    broker = mosquitto()
    sender = mosquitto.publisher(broker)
    async with connected(broker.port) as one:
        assert one.health().causes == [], "silence has its time first"
        monkeypatch.setattr(mqtt, "DEAF_AFTER_S", 0.0)
        (cause,) = one.health().causes
        assert str(cause) == "t/+: no message has come since the connection stands"
        assert "upper and lower case" in (cause.next_step or "")
        await asyncio.to_thread(sender.send_many, [("t/a", "1")])
        await collect(one, lambda found, _: len(found) >= 1)
        assert one.health().causes == []
        await one.close()
        await one.connect()
        assert one.health().causes == [], "what came once will come again"


@MANY
async def test_mqtt_subscriptions_that_are_refused(n):
    from tests.protocols.mqtt_kit import scripted

    answers = b"\x01" + b"\x80" * n
    length = len(answers) + 2
    head = b"\x90" + (bytes([length]) if length < 128 else bytes([length % 128 | 128, length // 128])) + b"\x00\x01"
    refused = [{**RAW, "topic": f"secret/{k}"} for k in range(n)]
    async with scripted(b"\x20\x02\x00\x00", head + answers) as port:
        async with connected(port, RAW, *refused, version="3.1.1") as one:
            (cause,) = one.health().causes
    assert cause.points == tuple(f"secret/{k}" for k in range(n))
    assert len(str(cause)) < 200
    assert "access rules" in (cause.next_step or "")


def test_a_retained_message_that_was_deleted_is_nobodys_mistake():
    topics = Unusable()
    topics.note(b"t/a", [Reject("type", "t/a: 'x' is no number", b"x")], 0.0)
    topics.note(b"t/a", [Reject("empty", "t/a: the payload is empty", b"")], 1.0)
    assert list(topics.causes(100.0)) == []


def test_a_topic_that_is_soon_good_again_is_not_worth_a_word():
    topics, bad = Unusable(), [Reject("type", "t/a: 'x' is no number", b"x")]
    for second in range(4):
        topics.note(b"t/a", bad, float(second))
        assert list(topics.causes(float(second))) == []
    assert [cause.points for cause in topics.causes(5.0)] == [("t/a",)], "since the first of them"
    topics.note(b"t/a", [], 6.0)
    topics.note(b"t/a", bad, 7.0)
    assert list(topics.causes(8.0)) == []


def test_topics_without_end_are_bounded():
    topics = Unusable()
    for n in range(TOPICS_MOST + 500):
        topics.note(b"t/%d" % n, [Reject("json", f"t/{n}: no JSON document", b"{")], 0.0)
    (cause,) = topics.causes(5.0)
    assert len(cause.points) == TOPICS_MOST
    assert cause.points[0] == "t/500"


@pytest.mark.parametrize("n", [1, 2])
def test_a_topic_without_end_is_not_shown_whole(n):
    """A topic may have 65535 characters, and what an adapter says is told each second."""
    topics = Unusable()
    for k in range(n):
        name = f"{k}/" + "q" * 60_000
        topics.note(name.encode(), [Reject("name", f"{name}: the name has 60002 characters", b"1")], 0.0)
    (cause,) = topics.causes(5.0)
    assert len(str(cause)) < 600
    assert cause.example.endswith("the name has 60002 characters")


def test_what_befalls_everything_stands_before_what_befalls_some():
    assert str(Cause("the server is suspended")) == "the server is suspended"
    assert str(Cause("gone", ("a/b",))) == "a/b: gone"
    assert str(Cause("gone", ("a", "b", "c", "d"), "a is ns=2;s=a")) == (
        "gone (as a is ns=2;s=a); 4 points have no value: a, b, c and 1 more"
    )
