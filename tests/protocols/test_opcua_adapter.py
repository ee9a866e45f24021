"""The OPC UA adapter against a real asyncua server: what arrives, from which nodes, in which mode."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from asyncua import ua

from protocols.load import make, validated
from protocols.opcua import values
from schemas.records import Quality
from tests.kit.opcua import URI, Tap, adapter_config, point, shared_server, soon
from tests.kit.opcua_values import data_value

AT = datetime(2026, 1, 29, 10, 0, 0, 123456, tzinfo=UTC)
AT_US = int(AT.timestamp() * 1e6)
ON = shared_server


@asynccontextmanager
async def adapter(*points, **more):
    made = make(validated(adapter_config(ON().server.url, list(points), **more)))
    await made.connect()
    try:
        yield Tap(made)
    finally:
        await asyncio.wait_for(made.close(), 30)


async def variable(value):
    """A new variable with a name of its own, so that tests do not meet."""
    key = f"v{uuid.uuid4().hex[:8]}"
    await ON()(ON().server.add(key, value))
    return key


async def write(key, value, status=0, at=AT):
    await ON()(ON().server.write(key, value, status, at))


async def test_a_change_arrives_with_the_sources_time_and_its_bytes():
    key = await variable(1.0)
    async with adapter(point("temp", key, unit="celsius")) as plc:
        await plc.next("temp")
        await write(key, 85.4)
        reading = await plc.next("temp")
    assert (reading.value, reading.device_time, reading.status, reading.reason) == (85.4, AT_US, Quality.GOOD, None)
    assert reading.point.unit == "celsius"
    assert values.reading(reading.point, data_value(reading.raw)) == reading


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_an_element_comes_from_a_server_that_sends_the_whole_array(mode):
    key = await variable([1.5, 2.5, 3.5])
    async with adapter(point("zone", key, element=1, mode=mode)) as plc:
        reading = await plc.next("zone")
    assert (reading.value, reading.status) == (2.5, Quality.GOOD)


@pytest.mark.parametrize(
    ("variant", "value"),
    [
        (ua.Variant(True, ua.VariantType.Boolean), True),
        (ua.Variant(-3, ua.VariantType.SByte), -3),
        (ua.Variant(255, ua.VariantType.Byte), 255),
        (ua.Variant(-(2**15), ua.VariantType.Int16), -(2**15)),
        (ua.Variant(65535, ua.VariantType.UInt16), 65535),
        (ua.Variant(2**32 - 1, ua.VariantType.UInt32), 2**32 - 1),
        (ua.Variant(-1e300, ua.VariantType.Double), -1e300),
        (ua.Variant(-(2**63), ua.VariantType.Int64), -(2**63)),
        (ua.Variant(2**63 - 1, ua.VariantType.UInt64), 2**63 - 1),
        (ua.Variant(2**64 - 1, ua.VariantType.UInt64), 2.0**64),
        (ua.Variant(0.5, ua.VariantType.Float), 0.5),
        (ua.Variant("größer", ua.VariantType.String), "größer"),
        (ua.Variant(AT, ua.VariantType.DateTime), "2026-01-29T10:00:00.123456Z"),
        (ua.Variant(ua.ServerState.Suspended, ua.VariantType.Int32), 3),
        (ua.Variant(uuid.UUID(int=5), ua.VariantType.Guid), "00000000-0000-0000-0000-000000000005"),
        (ua.Variant(b"\x01\xff", ua.VariantType.ByteString), "01ff"),
        (ua.Variant(ua.LocalizedText("offen", "de")), "offen"),
        (ua.Variant(ua.NodeId("x", 2)), "ns=2;s=x"),
        (ua.Variant(ua.ExpandedNodeId(5, 2)), "ns=2;i=5"),
        (ua.Variant(ua.QualifiedName("name", 2)), "name"),
        (ua.Variant(ua.StatusCode(ua.StatusCodes.BadOutOfService), ua.VariantType.StatusCode), "BadOutOfService"),
        (ua.Variant(ua.XmlElement("<a/>"), ua.VariantType.XmlElement), "<a/>"),
    ],
    ids=str,
)
async def test_types(variant, value):
    key = await variable(variant)
    async with adapter(point("subscribed", key), point("polled", key, mode="poll")) as plc:
        found = await plc.first_of_each("subscribed", "polled")
    assert {type(r.value) for r in found.values()} == {type(value)}
    assert {r.value for r in found.values()} == {value}


ODD = [
    [1.0, 2.0],
    [[1, 2], [3, 4]],
    ["a"] * 5,
    ua.EUInformation(),
    [ua.EUInformation()],
    float("nan"),
    float("-inf"),
]


@pytest.mark.parametrize("value", ODD, ids=repr)
async def test_what_fits_no_reading_is_one_bad_reading_with_the_reason(value):
    key = await variable(value)
    async with adapter(point("odd", key), point("temp", "Ticking")) as plc:
        reading = await plc.next("odd")
        assert (reading.value, reading.status) == (None, Quality.BAD)
        assert reading.reason.startswith("the value is ")
        await plc.next("temp")
        assert any(s.startswith("press_4/odd: the value is ") for s in plc.health().degraded)


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_a_null_is_no_reading_and_counted_and_a_value_after_it_comes(mode):
    key = await variable("text")
    await write(key, ua.Variant(None, ua.VariantType.String))
    async with adapter(point("odd", key, mode=mode, every="50ms")) as plc:
        await soon(lambda: plc.health().counters.get("null_values"))
        assert plc.health().degraded == []
        await write(key, "again")
        assert (await plc.next("odd")).value == "again"


@pytest.mark.parametrize(
    ("at", "device_time"),
    [
        (datetime(1601, 1, 1, tzinfo=UTC), None),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1650, 1, 1, tzinfo=UTC), -10_098_172_800_000_000),
        (datetime(2999, 1, 1, tzinfo=UTC), 32_472_144_000_000_000),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None),
    ],
    ids=str,
)
async def test_times_far_away_are_told_as_they_are_and_the_least_and_greatest_mean_none(at, device_time):
    key = await variable(1.0)
    await write(key, 2.0, at=at)
    async with adapter(point("temp", key)) as plc:
        reading = await plc.next("temp")
    assert (reading.value, reading.device_time, reading.status) == (2.0, device_time, Quality.GOOD)


async def test_status_codes_become_quality_with_the_reason():
    key = await variable(1.0)
    async with adapter(point("temp", key)) as plc:
        await plc.next("temp")
        await write(key, 2.0, ua.StatusCodes.UncertainLastUsableValue)
        doubtful = await plc.next("temp")
        await write(key, 3.0, ua.StatusCodes.BadSensorFailure)
        bad = await plc.next("temp")
        await write(key, 4.0)
        good = await plc.next("temp")
    assert (doubtful.value, doubtful.status) == (2.0, Quality.UNCERTAIN)
    assert doubtful.reason.startswith("UncertainLastUsableValue: ")
    assert bad.status == Quality.BAD
    assert bad.reason.startswith("BadSensorFailure: ")
    assert (good.value, good.status, good.reason) == (4.0, Quality.GOOD, None)


async def test_an_overflow_at_the_server_is_counted_and_marked():
    key = await variable(1.0)
    async with adapter(point("temp", key)) as plc:
        await plc.next("temp")
        await write(key, 2.0, 0x480)
        reading = await plc.next("temp")
        assert (reading.value, reading.status) == (2.0, Quality.GOOD)
        assert "lost" in reading.reason
        assert plc.health().counters["overflows"] == 1


async def test_nodes_by_path_and_by_index():
    key = await variable(7)
    path = {"parameter": "by_path", "path": f"/Objects/nsu={URI};Press4/{key}"}
    index = {"parameter": "by_index", "node": f"ns={ON().server.namespace};s={key}"}
    standard = {"parameter": "state", "path": "/Objects/Server/ServerStatus/State", "mode": "poll"}
    async with adapter(path, index, standard) as plc:
        found = await plc.first_of_each("by_path", "by_index", "state")
    assert {p: r.value for p, r in found.items()} == {"by_path": 7, "by_index": 7, "state": 0}


async def test_bad_nodes_are_reported_once_and_block_nobody():
    key = await variable(1.0)
    bad = [
        point("unknown", "NotThere"),
        point("unknown_polled", "NotThereEither", mode="poll", every="50ms"),
        {"parameter": "no_path", "path": f"/Objects/nsu={URI};Nowhere"},
        {"parameter": "no_namespace", "node": "nsu=urn:nobody;s=x"},
    ]
    async with adapter(*bad, point("temp", key)) as plc:
        seen = []
        for n in range(5):
            seen += await plc.until(lambda r: r.point.parameter == "temp")
            await write(key, float(n + 2))
        reasons = {r.point.parameter: r.reason for r in seen if r.status == Quality.BAD}
        assert len([r for r in seen if r.status == Quality.BAD]) == 4
        assert "BadNodeIdUnknown" in reasons["unknown"]
        assert "BadNodeIdUnknown" in reasons["unknown_polled"]
        assert "BadNoMatch" in reasons["no_path"]
        assert "no namespace urn:nobody" in reasons["no_namespace"]
        assert sorted(len(cause.points) for cause in plc.health().causes) == [1, 1, 2], "two are of one cause"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/Objects/nsu={URI};Press4/Tmp", f"nsu={URI};Tmp is not in Press4; there is nsu={URI};Temp"),
        (f"/Objects/nsu={URI};Press4/ns=0;Temp", f"is not in Press4; right would be nsu={URI};Temp"),
        (f"/Objects/nsu={URI};Pres4/Temp", f"nsu={URI};Pres4 is not in Objects; there is nsu={URI};Press4"),
        ("/Object/Server", "Object is not in Root; there is nsu=http://opcfoundation.org/UA/;Objects"),
        (f"/Objects/nsu={URI};Press4/Temp/Deeper", "is not in Temp; there is nothing in it"),
        ("/Objects/nsu=urn:other;Press4", "the server has no namespace urn:other; it has"),
    ],
)
async def test_of_a_wrong_path_it_is_said_which_name_and_what_is_there(path, words):
    async with adapter(point("temp", "Ticking"), {"parameter": "wrong", "path": path}) as plc:
        assert words in (await plc.next("wrong")).reason
        assert (await plc.next("temp")).value is not None


async def test_a_node_that_appears_later_is_found():
    key = f"v{uuid.uuid4().hex[:8]}"
    async with adapter(
        point("late", key), point("late_polled", key, mode="poll", every="50ms"), retry_nodes="200ms"
    ) as plc:
        assert (await plc.next("late")).status == Quality.BAD
        await ON()(ON().server.add(key, 5.0))
        found = await plc.first_of_each("late", "late_polled")
        assert {r.value for r in found.values()} == {5.0}
        assert plc.health().degraded == []


async def test_a_node_that_vanishes_is_one_bad_reading_and_comes_back():
    key = await variable(1.0)
    async with adapter(point("temp", key, mode="poll", every="50ms"), retry_nodes="200ms") as plc:
        assert (await plc.next("temp")).value == 1.0
        await ON()(ON().server.remove(key))
        gone = await plc.next("temp")
        assert "BadNodeIdUnknown" in gone.reason
        await ON()(ON().server.add(key, 9.0))
        assert (await plc.next("temp")).value == 9.0


async def test_a_poll_gives_each_sample_once():
    key = await variable(1.0)
    await write(key, 1.0)
    async with adapter(point("temp", key, mode="poll", every="20ms")) as plc:
        await plc.next("temp")
        await soon(lambda: plc.health().counters.get("same_again", 0) >= 3)
        await write(key, 1.0, at=datetime(2026, 1, 29, 10, 0, 1, tzinfo=UTC))
        assert (await plc.next("temp")).device_time == AT_US - 123456 + 1_000_000


async def test_with_the_timestamp_as_trigger_a_value_that_stays_is_told_again():
    key = await variable(False)
    async with adapter(point("door", key, trigger="timestamp")) as plc:
        assert (await plc.next("door")).value is False
        for value, second in [(False, 1), (True, 2), (True, 3)]:
            await write(key, value, at=datetime(2026, 1, 29, 10, 0, second, tzinfo=UTC))
        assert [(await plc.next("door")).value for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_deadband(mode):
    """What is written to `mark` after it comes without it, in the same message or answer or a later one."""
    key, mark = await variable(10.0), await variable(0.0)
    same = {"mode": mode, "every": "20ms"}
    async with adapter(point("temp", key, deadband=1.0, **same), point("mark", mark, **same)) as plc:
        assert (await plc.first_of_each("temp", "mark"))["temp"].value == 10.0
        for n, value in enumerate([10.5, 10.9], 1):
            await write(key, value, at=datetime(2026, 1, 29, 10, 0, n, tzinfo=UTC))
            await write(mark, float(n))
            assert [r.value for r in await plc.until(lambda r, n=n: r.value == float(n))] == [float(n)]
        await write(key, 20.0)
        assert (await plc.next("temp")).value == 20.0


async def test_groups_are_polled_at_their_own_interval():
    fast, slow = await variable(1.0), await variable(1.0)
    async with adapter(
        point("fast", fast, mode="poll", every="30ms"), point("slow", slow, mode="poll", every="1h")
    ) as plc:
        await plc.until(lambda r: r.point.parameter == "slow")
        before = plc.health().counters["values"]
        await soon(lambda: plc.health().counters["values"] >= before + 5)
        await write(fast, 2.0)
        await write(slow, 2.0)
        seen = await plc.until(lambda r: r.value == 2.0)
        assert [r.point.parameter for r in seen if r.value == 2.0] == ["fast"], "the other's hour is not over"


async def test_many_points_go_in_the_servers_chunks(monkeypatch):
    keys = [await variable(float(n)) for n in range(25)]
    limits = ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead)
    server = ON().server.server

    async def limit(most):
        await server.write_attribute_value(limits, ua.DataValue(ua.Variant(most, ua.VariantType.UInt32)))

    await ON()(limit(10))
    try:
        async with adapter(*(point(f"p{n}", key, mode="poll") for n, key in enumerate(keys))) as plc:
            assert plc.adapter._link.limits.read == 10
            found = await plc.first_of_each(*(f"p{n}" for n in range(25)))
    finally:
        await ON()(limit(0))
    assert {p: r.value for p, r in found.items()} == {f"p{n}": float(n) for n in range(25)}


async def test_a_server_that_is_not_running_says_so_in_health():
    state = ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)

    async def enter(one):
        await ON().server.server.write_attribute_value(state, ua.DataValue(ua.Variant(one, ua.VariantType.Int32)))

    async with adapter(point("temp", "Ticking"), session_timeout="1s") as plc:
        assert plc.health().degraded == []
        await ON()(enter(ua.ServerState.Suspended))
        try:
            await soon(lambda: plc.health().degraded)
            assert "state Suspended" in plc.health().degraded[0]
        finally:
            await ON()(enter(ua.ServerState.Running))
        await soon(lambda: plc.health().degraded == [])
        assert (await plc.next("temp")).status is Quality.GOOD
