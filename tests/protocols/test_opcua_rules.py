"""The pure parts of the OPC UA adapter as tables: addresses, status codes, settings, the watchdog, turns of polls, what is news."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from pydantic import ValidationError

from protocols.opcua import nodes, quality, watchdog
from protocols.opcua.config import OpcUaConfig, OpcUaPoint
from protocols.opcua.items import items_of
from protocols.opcua.polls import Group, groups_of, next_turn
from protocols.opcua.receipts import distance, next_number
from protocols.opcua.watchdog import Action, Watch
from schemas.records import Quality
from tests.kit.opcua import adapter_config
from tests.kit.opcua_values import data_value


@pytest.mark.parametrize(
    ("text", "namespace", "identifier"),
    [
        ("i=2258", 0, 2258),
        ("ns=2;s=Press.Temp", 2, "Press.Temp"),
        ("ns=3;s=with;semi=colon", 3, "with;semi=colon"),
        ("nsu=http://plant.example/UA/;s=Temp", "http://plant.example/UA/", "Temp"),
        ("nsu=urn:x;g=00000000-0000-0000-0000-000000000005", "urn:x", uuid.UUID(int=5)),
        ("ns=1;b=AQI=", 1, b"\x01\x02"),
    ],
)
def test_node_ids(text, namespace, identifier):
    assert nodes.parse_node(text) == nodes.NodeAddress(namespace, identifier)


@pytest.mark.parametrize(
    "text",
    ["", "Temp", "ns=2", "ns=x;s=a", "s=", "i=abc", "i=-1", "i=4294967296", "g=12", "b=?", "ns=2;x=1", "nsu=;s=a"],
)
def test_what_is_no_node_id(text):
    with pytest.raises(ValueError, match=r"right would be|is not"):
        nodes.parse_node(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/Objects/Server", [(0, "Objects"), (0, "Server")]),
        (
            "/Objects/nsu=http://a/b/;Press 4/Temp",
            [(0, "Objects"), ("http://a/b/", "Press 4"), ("http://a/b/", "Temp")],
        ),
        ("/Objects/ns=2;Press/ns=0;State", [(0, "Objects"), (2, "Press"), (0, "State")]),
        ("/Objects/a&/b&&c", [(0, "Objects"), (0, "a/b&c")]),
    ],
)
def test_browse_paths(text, names):
    assert nodes.parse_path(text) == [nodes.Name(*name) for name in names]


@pytest.mark.parametrize("text", ["", "/", "Objects", "/Objects//x", "/Objects/", "/Objects/nsu=urn:x;"])
def test_what_is_no_browse_path(text):
    with pytest.raises(ValueError, match="right would be /Objects"):
        nodes.parse_path(text)


def test_a_namespace_is_found_where_it_is_now():
    address = nodes.parse_node("nsu=urn:x;s=a")
    assert nodes.node_id(address, ["http://opcfoundation.org/UA/", "urn:x"]).NamespaceIndex == 1
    assert nodes.node_id(address, ["http://opcfoundation.org/UA/", "urn:y", "urn:x"]).NamespaceIndex == 2
    with pytest.raises(nodes.UnknownNamespace, match="no namespace urn:x; it has urn:y"):
        nodes.node_id(address, ["urn:y"])


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (0x00000000, Quality.GOOD, None),
        (0x00000400, Quality.GOOD, None),
        (0x00960000, Quality.GOOD, "GoodLocalOverride: "),
        (0x00000480, Quality.GOOD, "values before this one were lost"),
        (0x40900000, Quality.UNCERTAIN, "UncertainLastUsableValue: "),
        (0x40940600, Quality.UNCERTAIN, "UncertainEngineeringUnitsExceeded: "),
        (0x80340000, Quality.BAD, "BadNodeIdUnknown: "),
        (0x80310000, Quality.BAD, "BadNoCommunication: "),
        (0x80000000, Quality.BAD, "Bad: "),
        (0x8FFF0000, Quality.BAD, "Bad: status code 0x8FFF0000"),
        (0xC0000000, Quality.BAD, "Bad: "),
    ],
)
def test_status_codes(code, status, reason):
    found, words = quality.judged(code)
    assert found is status
    assert (words is None) == (reason is None)
    assert words is None or words.startswith(reason)


def test_limits_are_said_with_a_doubtful_value():
    assert quality.judged(0x40940600)[1].endswith("at its high limit")


def test_every_status_code_of_the_standard_has_a_quality_and_words():
    codes = [code for name, code in vars(ua.StatusCodes).items() if not name.startswith("_")]
    assert len(codes) > 200
    for code in codes:
        status, reason = quality.judged(code)
        assert status is quality.severity(code)
        assert reason or code == 0


def config(**changes):
    return OpcUaConfig.model_validate(adapter_config("opc.tcp://plc:4840", **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": "opc.tcp://plc"}, "right would be opc.tcp://host:4840"),
        ({"endpoint": "opc.tcp://me:secret@plc:4840"}, "right would be `user` and `password`"),
        ({"password": "x"}, "without a user"),
        ({"watchdog": "200ms"}, "right would be at least 1s"),
        ({"points": []}, "at least 1"),
        ({"points": [{"parameter": "a", "node": "i=1"}, {"parameter": "a", "node": "i=2"}]}, "is there already"),
        ({"points": [{"parameter": "a"}]}, "exactly one of them"),
        ({"points": [{"parameter": "a", "node": "i=1", "path": "/Objects"}]}, "exactly one of them"),
        ({"points": [{"parameter": "a", "node": "one"}]}, "is not a node id"),
        ({"points": [{"parameter": "a", "path": "Objects"}]}, "is not a browse path"),
        ({"points": [{"parameter": "a", "node": "i=1", "deadband": 1, "deadband_percent": 1}]}, "one of them"),
        (
            {"points": [{"parameter": "a", "node": "i=1", "deadband_percent": 1, "mode": "poll"}]},
            "right would be `deadband`",
        ),
        ({"points": [{"parameter": "a", "node": "i=1"}], "defaults": {}}, "asset: is missing"),
        ({"security": {"policy": "Basic128Rsa15"}}, "Basic256Sha256"),
    ],
)
def test_settings_that_cannot_work(changes, words):
    with pytest.raises(ValidationError, match=words):
        config(**changes)


def test_every_setting_has_a_sentence():
    for model in (OpcUaConfig, OpcUaPoint):
        own = set(model.model_fields) - set(model.__bases__[0].model_fields)
        assert [name for name in own if not model.model_fields[name].description] == []


def test_the_watchdog_takes_one_step_for_each_bound_of_silence_in_order():
    state, taken = Watch(since=0, bound=10), []
    for now in range(61):
        state, action = watchdog.decide(state, now)
        if action:
            taken.append((now, action))
    assert taken == [
        (10, Action.REPUBLISH),
        (20, Action.RECREATE),
        (30, Action.RECONNECT),
        (40, Action.CRASH),
        (50, Action.CRASH),
        (60, Action.CRASH),
    ]


@pytest.mark.parametrize("done", list(Action))
def test_any_sign_of_life_starts_over(done):
    state = watchdog.life(Watch(0, 10, done), 100)
    assert watchdog.decide(state, 109.9)[1] is Action.WAIT
    assert watchdog.decide(state, 110)[1] is Action.REPUBLISH


def test_signs_of_life_however_fast_never_bring_a_step():
    state = Watch(0, 10)
    for n in range(1, 100_000):
        state = watchdog.life(state, n * 0.001)
        state, action = watchdog.decide(state, n * 0.001)
        assert action is Action.WAIT


def test_a_new_session_after_a_silent_one_gets_one_bound():
    silent = Watch(30, 10, Action.RECONNECT)
    assert watchdog.decide(watchdog.connected(silent, 50, 10), 60)[1] is Action.CRASH
    fresh = watchdog.connected(replace(silent, done=Action.RECREATE), 50, 10)
    assert watchdog.decide(fresh, 60)[1] is Action.REPUBLISH


def test_a_pause_of_our_own_is_no_silence():
    state = watchdog.pause(Watch(0, 10, Action.REPUBLISH), 100)
    assert watchdog.due(state) == 110
    assert watchdog.decide(state, 110)[1] is Action.RECREATE


@pytest.mark.parametrize(
    ("expected", "sequence", "ahead"),
    [(1, 1, 0), (5, 8, 3), (8, 5, -3), (0xFFFFFFFF, 1, 1), (1, 0xFFFFFFFF, -1), (0xFFFFFFFE, 2, 3)],
)
def test_sequence_numbers_wrap_over_zero(expected, sequence, ahead):
    assert distance(expected, sequence) == ahead
    if ahead == 1:
        assert next_number(expected) == sequence


@pytest.mark.parametrize(
    ("now", "due", "missed"),
    [(100.0, 101.0, 0), (100.9, 101.0, 0), (101.0, 102.0, 1), (103.5, 104.0, 3)],
)
def test_turns_keep_their_time_base_and_never_come_in_a_burst(now, due, missed):
    assert next_turn(Group(1.0, [], 100.0), now) == (due, missed)


def points(*more):
    return [OpcUaPoint(asset="a", parameter=f"p{n}", node="i=1", **m) for n, m in enumerate(more)]


def test_points_with_one_interval_are_one_group():
    polls = {"mode": "poll", "every": "1s"}
    items = items_of(points(polls, {}, polls, {"mode": "poll", "every": "2s"}), Counter())
    assert [(g.every, [i.handle for i in g.items], g.due) for g in groups_of(items, 5.0)] == [
        (1.0, [0, 2], 5.0),
        (2.0, [3], 5.0),
    ]


def value(plain, status=0):
    return data_value(struct_to_binary(ua.DataValue(ua.Variant(plain), ua.StatusCode(status))))


@pytest.mark.parametrize(
    ("settings", "values", "news"),
    [
        ({}, [1.0, 1.0, 2.0], [1.0, 1.0, 2.0]),
        ({"mode": "poll"}, [1.0, 1.0, 2.0], [1.0, 2.0]),
        ({"mode": "poll"}, [True, True, False], [True, False]),
        ({"mode": "poll", "deadband": 1.0}, [1.0, 1.5, 2.0, 2.1, 2.2, 1.0], [1.0, 2.1, 1.0]),
        ({"mode": "poll", "deadband": 1.0}, ["a", "b"], ["a", "b"]),
    ],
)
def test_what_is_news(settings, values, news):
    (item,) = items_of(points(settings), Counter())
    made = [item.take(value(v)) for v in values]
    assert [m.value for m in made if m is not None] == news


def test_a_bad_status_that_lasts_is_said_once_and_the_next_good_value_passes():
    (item,) = items_of(points({}), Counter())
    codes = [0x80340000, 0x80340000, 0x80310000, 0, 0x80340000]
    made = [item.take(value(1.0, code)) for code in codes]
    assert [m and m.status for m in made] == [Quality.BAD, None, Quality.BAD, Quality.GOOD, Quality.BAD]


def test_after_the_connection_was_lost_everything_is_news():
    (item,) = items_of(points({"mode": "poll"}), Counter())
    assert item.take(value(1)) is not None
    assert item.take(value(1)) is None
    item.forget()
    assert item.take(value(1)) is not None


T0, T1 = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def sample(plain, source, server, status=0):
    told = ua.DataValue(ua.Variant(plain), ua.StatusCode(status), source, server)
    return data_value(struct_to_binary(told))


def lost(item):
    item.forget()


def gone(item):
    assert item.fail("the node is gone") is not None


def bad(item):
    assert item.take(sample(0.0, T0, T0, 0x80310000)).status is Quality.BAD


@pytest.mark.parametrize("between", [lost, gone, bad])
def test_a_value_that_did_not_change_over_a_trouble_is_told_as_holding_still(between):
    """At its old time it would be a duplicate, and the last word on the point would stay BAD."""
    (item,) = items_of(points({}), Counter())
    assert item.take(sample(1.0, T0, T0)).device_time == T0.timestamp() * 1e6
    between(item)
    again = item.take(sample(1.0, T0, T1))
    assert (again.value, again.status, again.device_time) == (1.0, Quality.GOOD, T1.timestamp() * 1e6)
    assert again.reason == "holds since 2026-01-01T00:00:00Z"
    assert item.take(sample(1.0, T0, T1)) is None


@pytest.mark.parametrize("server", [None, T0])
def test_where_the_server_says_no_later_time_a_value_that_holds_has_that_of_its_arrival(server):
    (item,) = items_of(points({}), Counter())
    item.take(sample(1.0, T0, T0))
    item.forget()
    assert item.take(sample(1.0, T0, server)).device_time is None


def test_a_value_that_changed_meanwhile_keeps_its_own_time():
    (item,) = items_of(points({}), Counter())
    item.take(sample(1.0, T0, T0))
    item.forget()
    changed = item.take(sample(2.0, T1, T1))
    assert (changed.device_time, changed.reason) == (T1.timestamp() * 1e6, None)


def test_a_null_without_a_bad_status_is_no_reading_and_counted():
    (item,) = items_of(points({}), Counter())
    assert item.take(value(None)) is None
    assert item.counters["null_values"] == 1
    assert item.take(value(None, 0x80340000)).status is Quality.BAD
