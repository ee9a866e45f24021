"""The adapter against pymodbus' server and well-meaning devices: merging, splitting, units."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from protocols.contract import NotConnected
from protocols.load import make, validated
from protocols.modbus.messages import exception_words
from schemas.records import Quality
from tests.kit.modbus_server import honest, liar
from tests.protocols.modbus_reading import by_name, config, device, reading, register, until


async def test_all_tables_and_types_of_a_pymodbus_server_in_one_batch_of_few_reads():
    async with (
        device() as port,
        reading(
            port,
            {"address": "00004", "type": "bool"},
            {"address": 10005, "type": "bool"},
            {"address": 30011, "type": "int16"},
            {"address": 40011, "type": "uint32"},
            register(12, "float32", word_order="little"),
            register(14, bit=1, type="bool"),
            register(20, "string", length=4, encoding="latin-1"),
            register(24, "uint16", scale=0.1, offset=-10),
            register(25, "int64"),
            register(29, "float64", byte_order="little"),
        ) as adapter,
    ):
        found = by_name(await adapter.read())
        assert adapter.health().counters["requests_total"] == 4
    values = [found[f"p{n}"].value for n in range(9)]
    assert values == [
        True,
        False,
        110,
        (110 << 16) + 111,
        struct.unpack(">f", struct.pack(">HH", 113, 112))[0],
        bool(114 & 2),
        "",
        pytest.approx(2.4),
        int.from_bytes(struct.pack(">4H", 125, 126, 127, 128), "big"),
    ]
    assert found["p3"].raw == struct.pack(">HH", 110, 111)
    assert {r.status for r in found.values()} == {Quality.GOOD}
    now = time.time() * 1e6
    assert all(abs(r.device_time - now) < 10e6 for r in found.values())


async def test_2000_coils_and_125_registers_are_one_read_each_and_one_more_is_two():
    async with liar() as one:
        coils = [{"table": "coil", "address": n} for n in range(0, 2001, 80)]
        words = [register(n) for n in range(126)]
        async with reading(one.port, *coils, *words) as adapter:
            found = by_name(await adapter.read())
            assert [(r.function, r.start, r.count) for r in one.requests] == [
                (1, 0, 1921),
                (1, 2000, 1),
                (3, 0, 125),
                (3, 125, 1),
            ]
            assert [found[f"p{n}"].value for n in range(len(coils))] == [n % 3 == 0 for n in range(0, 2001, 80)]


async def test_limits_of_poor_devices_are_kept():
    async with liar() as one:
        async with reading(one.port, *(register(n) for n in range(20)), registers_max=6) as adapter:
            await adapter.read()
        assert [r.count for r in one.requests] == [6, 6, 6, 2]


async def test_one_refused_address_is_found_within_one_poll_and_all_others_flow():
    """pymodbus answers exception 2 for all of a read that touches register 300 or later."""
    points = [register(n) for n in range(250, 311, 2)]
    async with device() as port, reading(port, *points) as adapter:
        first = by_name(await adapter.read())
        good = {name for name, r in first.items() if r.status is Quality.GOOD}
        assert good == {f"p{n}" for n in range(25)}
        assert all("exception 2, illegal data address" in first[f"p{n}"].reason for n in range(25, 31))
        asked = adapter.health().counters["requests_total"]
        second = by_name(await adapter.read())
        assert second.keys() == good, "the refused ones are silent now"
        assert adapter.health().counters["requests_total"] == asked + 1, (
            "the split is kept and the good ones are together again"
        )
        (sentence,) = adapter.health().degraded
        assert sentence == (
            f"unit 1, holding registers (function 3): {exception_words(2)}; "
            "6 points have no value: x/p25 (40301), x/p26 (40303), x/p27 (40305) and 3 more"
        )
        assert len(adapter.health().causes[0].points) == 6


async def test_a_refused_point_is_tried_again_alone_and_comes_back():
    async def reply(request, writer):
        bad = state["refuses"] and request.start <= 5 < request.start + request.count
        writer.write(request.refusal(2) if bad else request.answer())

    state = {"refuses": True}
    async with (
        liar(reply) as one,
        reading(one.port, *(register(n) for n in range(10)), refused_pause="300ms") as adapter,
    ):
        assert by_name(await adapter.read())["p5"].status is Quality.BAD
        asked = len(one.requests)
        await until(adapter, lambda _: len(one.requests) > asked + 8)
        alone = [r for r in one.requests[asked:] if r.start <= 5 < r.start + r.count]
        assert 1 <= len(alone) <= 5
        assert {r.count for r in alone} == {1}
        state["refuses"] = False
        await until(adapter, lambda found: any(r.point.parameter == "p5" and r.value == 5 for r in found))
        assert adapter.health().degraded == []
        asked = len(one.requests)
        await adapter.read()
        assert [r.count for r in one.requests[asked:]] == [10], "one read again"


async def test_a_hole_in_the_map_between_two_good_points_darkens_neither():
    async def reply(request, writer):
        hole = request.start <= 5 < request.start + request.count
        writer.write(request.refusal(2) if hole else request.answer())

    async with liar(reply) as one, reading(one.port, *(register(n) for n in (2, 3, 4, 7, 8))) as adapter:
        assert len(by_name(await adapter.read())) == 5
        asked = len(one.requests)
        batch = await adapter.read()
        assert [r.value for r in batch.readings] == [2, 3, 4, 7, 8]
        assert len(one.requests) - asked <= 3


async def test_a_table_the_device_does_not_have_is_said_once():
    async def no_inputs(request, writer):
        writer.write(request.refusal(1) if request.function == 4 else request.answer())

    async with liar(no_inputs) as one, reading(one.port, register(1), {"address": 30001, "type": "int16"}) as adapter:
        first = by_name(await adapter.read())
        assert "exception 1, illegal function" in first["p1"].reason
        assert by_name(await adapter.read()).keys() == {"p0"}


async def test_a_silent_unit_gets_one_bad_reading_a_point_and_the_others_keep_their_rate():
    async def unit_2_is_off(request, writer):
        if request.unit != 2:
            await honest(request, writer)

    points = [register(n, unit_id=unit) for unit in (1, 2, 3) for n in range(3)]
    async with (
        liar(unit_2_is_off) as one,
        reading(one.port, *points, response_timeout="300ms", dead_pause="1min") as adapter,
    ):
        found = await until(adapter, lambda _: bool(adapter.health().degraded))
        found += [r for _ in range(4) for r in (await adapter.read()).readings]  # what the timeouts had held up
        began, asked = time.monotonic(), len(one.requests)
        found += await until(adapter, lambda more: len(more) >= 2 * 3 * 10)
        assert time.monotonic() - began < 3, "ten polls at 100 ms for both living units, none held up for 300 ms"
        assert {r.unit for r in one.requests[asked:]} == {1, 3}
        (sentence,) = adapter.health().degraded
        assert sentence == (
            "unit 2 did not answer the last 3 requests and is tried rarely; 3 points have no value: "
            "x/p3 (40001), x/p4 (40002), x/p5 (40003)"
        )
        bad = [r for r in found if r.status is Quality.BAD]
        assert len(bad) == 3
        assert all("unit 2" in r.reason for r in bad)


async def test_a_silent_unit_that_answers_again_is_read_at_its_rate():
    async def reply(request, writer):
        if request.unit == 1 or state["on"]:
            await honest(request, writer)

    state = {"on": False}
    points = [register(1, unit_id=1), register(2, unit_id=2)]
    quick = {"response_timeout": "50ms", "dead_pause": "200ms", "retries": 0}
    async with liar(reply) as one, reading(one.port, *points, **quick) as adapter:
        await until(adapter, lambda _: bool(adapter.health().degraded))
        state["on"] = True
        found = await until(adapter, lambda found: sum(r.point.parameter == "p1" and r.value == 2 for r in found) >= 5)
        await until(adapter, lambda _: adapter.health().degraded == [])
        assert Quality.BAD not in {r.status for r in found if r.value is not None}


async def test_a_unit_that_hung_and_then_answers_all_at_once_is_not_left_alone_for_the_rest_of_its_pause():
    woken, held = asyncio.Event(), []

    async def reply(request, writer):
        if request.unit == 1 or woken.is_set():
            await honest(request, writer)
        else:
            held.append((request, writer))

    points = [register(1, unit_id=1), register(2, unit_id=2)]
    hasty = {"response_timeout": "50ms", "dead_pause": "1min", "retries": 0}
    async with liar(reply) as one, reading(one.port, *points, **hasty) as adapter:
        await until(adapter, lambda _: bool(adapter.health().degraded))
        hung = time.monotonic()
        await until(adapter, lambda _: time.monotonic() - hung > 0.5)  # longer than any answer is waited for
        woken.set()
        for request, writer in held:
            await honest(request, writer)
        found = await until(adapter, lambda found: sum(r.value == 2 for r in found) >= 3)
        assert Quality.BAD not in {r.status for r in found if r.value is not None}


async def test_a_gateway_that_says_its_unit_is_away_counts_as_silence_of_that_unit():
    async def reply(request, writer):
        writer.write(request.refusal(11) if request.unit == 2 else request.answer())

    points = [register(1, unit_id=1), register(2, unit_id=2)]
    async with liar(reply) as one, reading(one.port, *points, dead_pause="1min") as adapter:
        found = await until(adapter, lambda _: bool(adapter.health().degraded))
        assert next(r.reason.partition(": ")[2] for r in found if r.status is Quality.BAD).startswith("exception 11")
        assert len([r for r in found if r.status is Quality.BAD]) == 1


async def test_a_name_nobody_knows_and_a_closed_port_are_said_in_words():
    async with device() as port:
        pass
    with pytest.raises(NotConnected, match="refused the connection: is the device on"):
        await make(validated(config(port, register(0)))).connect()
    with pytest.raises(NotConnected, match="name is not known"):
        await make(validated({**config(port, register(0)), "host": "no-such-device.invalid"})).connect()


async def test_the_raw_words_decode_to_the_value_again():
    async with (
        device() as port,
        reading(port, register(10, "float32", byte_order="little", word_order="little")) as adapter,
    ):
        (one,) = (await adapter.read()).readings
        assert one.value == struct.unpack("<f", one.raw)[0]
