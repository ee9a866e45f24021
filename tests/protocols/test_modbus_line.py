"""Devices that end the connection between answers, take one connection only, or do not repeat the number of the request."""

from __future__ import annotations

import asyncio

import pytest

from protocols.contract import NotConnected
from schemas.records import Quality
from tests.kit.modbus_server import honest
from tests.protocols.modbus_kit import ADDRESSES, BOGUS, PATIENT, caller, sends, tells

IDLE_MOST_S = 0.03
"""The device's patience with a connection on which nothing is asked."""
NOTHING_DUE_S = 0.3
"""A part of the interval of a second in which a storm would be seen."""
SLOW_S = 0.25
LATE_S, LATER_S = 0.3, 0.5
"""The device's times to answer, all beyond the timeout."""


async def hangs_up_after_it(request, writer):
    writer.write(request.answer())
    await writer.drain()
    writer.close()


async def leaves_when_idle(request, writer):
    writer.write(request.answer())
    await asyncio.sleep(IDLE_MOST_S)
    writer.close()


@pytest.mark.parametrize("manner", [hangs_up_after_it, leaves_when_idle])
async def test_a_device_that_ends_the_connection_after_each_answer_is_read_without_a_loss(manner):
    async with caller(manner, **PATIENT) as (one, device):
        await one.until(lambda: len(device.requests) >= 20)
        assert (one.losses, one.reasons(), one.wrong()) == ([], set(), [])
        assert len(one.readings) >= 9 * len(ADDRESSES)
        assert one.counter("reopened_total") >= 5


async def test_a_connection_that_ends_unused_is_opened_again_when_it_is_needed_and_not_before():
    """A device's idle time is shorter than the interval: no storm of connections while nothing is asked."""
    async with caller(hangs_up_after_it, every="1s", **PATIENT) as (one, device):
        await one.read()
        device.shuns = True  # From now on each connection that says nothing is ended at once.
        reading = asyncio.ensure_future(one.read())
        await asyncio.sleep(NOTHING_DUE_S)
        assert device.connections <= 4
        device.shuns = False
        await reading
        assert (one.losses, one.wrong()) == ([], [])


async def test_a_device_that_takes_the_connection_and_ends_it_is_not_connected():
    """As one does that has all its connections in use."""
    async with caller() as (one, device):
        device.shuns = True
        await one.adapter.close()
        await one.adapter.connect()
        with pytest.raises(
            NotConnected, match="before it answered anything; many devices take 1 to 4 connections only"
        ):
            await one.adapter.read()


async def test_a_new_connection_that_does_not_answer_either_is_a_loss():
    async def once_then_never(request, writer):
        if request.number == 0:
            writer.write(request.answer())
            await writer.drain()
        writer.close()

    async with caller(once_then_never) as (one, device):
        with pytest.raises(NotConnected, match="closed the connection before it answered anything"):
            await one.adapter.read()
        device.reply = honest
        await one.until_good()


async def test_a_device_with_room_for_one_connection_never_sees_two_of_ours():
    async with caller(hangs_up_after_it, **PATIENT) as (one, device):
        device.most = 1
        await one.until(lambda: len(device.requests) >= 10)
        assert (one.losses, device.turned_away) == ([], 0)


def same_size(**more):
    """Two reads of one register each, far apart: nothing but the number of the request tells their answers apart."""
    points = [{"parameter": str(n), "table": "holding", "address": n, "type": "uint16"} for n in (0, 40)]
    return {"points": points, **more}


def newest_number_on_an_old_answer():
    """The first question of three is answered when the next one is there, and carries the newest number."""
    held = []

    async def reply(request, writer):
        if request.number % 3 == 0:
            held.append((request, writer))
            return
        while held:
            old, its_writer = held.pop()
            its_writer.write(old.answer(tid=request.tid))
        writer.write(request.answer())

    return reply


async def test_an_old_answer_under_the_newest_number_is_not_taken_for_another_question():
    """pymodbus' own server does so while it is slow. Only an answer to the same question again can be meant."""
    async with caller(newest_number_on_an_old_answer(), **same_size(dead_after=50)) as (one, device):
        await one.until(lambda: len(device.requests) >= 9)
        assert one.wrong() == []
        assert one.losses == []
        assert {r.value for r in one.readings if r.status is Quality.GOOD} == {0, 40}


async def test_a_question_waits_for_the_late_answer_before_the_connection_is_given_up_for_it():
    """So a slow device is still seen to be slow, and not dialled again each time."""
    lock = asyncio.Lock()

    async def slowly(request, writer):
        async with lock:
            await asyncio.sleep(SLOW_S)
            writer.write(request.answer())

    async with caller(slowly, **same_size()) as (one, device):
        await one.until(lambda: len([r for r in one.readings if r.status is Quality.GOOD]) >= 4)
        assert "unit 1 is slow" in one.adapter.health().degraded[0]
        assert device.connections == 1
        assert (one.wrong(), one.losses) == ([], [])


NO_NUMBER = {"always 0": tells(tid=0), "its own count": tells(tid=lambda r: 7000 + r.number)}


@pytest.mark.parametrize("reply", NO_NUMBER.values(), ids=NO_NUMBER)
async def test_a_device_that_does_not_repeat_the_number_is_refused_with_the_way_out_and_then_read(reply):
    async with caller(reply) as (one, _device):
        with pytest.raises(NotConnected, match="transaction: ignored"):
            await one.adapter.read()
    async with caller(reply, transaction="ignored", **PATIENT) as (one, device):
        await one.until_good()
        assert (one.losses, one.wrong(), device.connections) == ([], [], 1)


async def test_with_numbers_ignored_a_late_answer_is_still_never_another_ones():
    async def one_behind(request, writer):
        """Each answer comes after its time; with 0 for a number nothing tells it from the right one."""
        await asyncio.sleep((LATE_S, LATER_S, 0)[request.number % 3])
        writer.write(request.answer(tid=0))

    async with caller(one_behind, **same_size(transaction="ignored", dead_after=50)) as (one, device):
        await one.until(lambda: len(device.requests) >= 9)
        assert one.wrong() == []
        device.reply = tells(tid=0)
        await one.until(lambda: [r.status for r in one.readings[-2:]] == [Quality.GOOD] * 2)
        assert one.wrong() == []


async def test_with_numbers_ignored_more_than_one_answer_ends_the_connection():
    async with caller(sends(lambda r: r.answer(tid=0) * 2), transaction="ignored") as (one, _device):
        with pytest.raises(NotConnected, match="more than its answer"):
            await one.adapter.read()


async def test_a_late_answer_and_the_right_one_in_one_segment():
    held = []

    async def both_at_once(request, writer):
        if request.number % 2 == 0:
            held.append(request.answer(data=BOGUS[: 2 * request.count]))
        else:
            writer.write(held.pop() + request.answer())

    async with caller(both_at_once, dead_after=50) as (one, device):
        await one.until(lambda: len(device.requests) >= 10)
        assert (one.wrong(), one.losses) == ([], [])
        assert one.counter("late_replies_total") >= 3


@pytest.mark.parametrize("unit", [0, 247, 255])
async def test_units_beyond_the_serial_ones_are_asked_as_they_are(unit):
    async with caller(unit=unit, **PATIENT) as (one, device):
        await one.until_good()
        assert {request.unit for request in device.requests} == {unit}


async def test_a_device_that_answers_as_another_unit_is_said_with_the_right_one():
    async with caller(tells(unit=1), unit=255) as (one, _device):
        with pytest.raises(NotConnected, match=r"answered for unit 1, asked was unit 255.* unit: 1"):
            await one.adapter.read()


async def test_the_last_address_of_a_table_is_read_and_never_passed():
    points = [{"parameter": str(n), "table": "holding", "address": n, "type": "uint16"} for n in (65530, 65535)]
    async with caller(points=points, **PATIENT) as (one, device):
        await one.read()
        assert [r.value for r in one.readings] == [65530, 65535]
        assert {(r.start, r.count) for r in device.requests} == {(65530, 6)}
