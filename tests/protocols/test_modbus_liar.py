"""Devices that lie (FAULTS 54, 55, 57, 58): no wrong value is accepted that a check could catch, and the next honest poll works."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest
import uvloop

from protocols.modbus.messages import exception_words
from tests.kit.modbus_server import honest
from tests.protocols.modbus_kit import ADDRESSES, BOGUS, PATIENT, caller, sends, tells

PIECE_EVERY_S, DRIP_EVERY_S = 0.001, 1
"""The device's pace within one answer."""
SLOW_S = 0.3
"""Its time to answer, longer than the timeout."""


async def resets_in_the_middle(request, writer):
    writer.write(request.answer()[:8])
    await writer.drain()
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SO_LINGER 0: close sends RST
    writer.transport.abort()


async def hangs_up_in_the_middle(request, writer):
    writer.write(request.answer()[:8])
    writer.close()


async def stays_silent(request, writer):
    return


async def drips_for_ever(request, writer):
    for byte in request.answer():
        writer.write(bytes([byte]))
        await asyncio.sleep(DRIP_EVERY_S)


LIES = {
    "the transaction of tomorrow": tells(tid=lambda r: r.tid + 1, data=lambda r: BOGUS[: 2 * r.count]),
    "an old transaction": tells(tid=lambda r: (r.tid - 500) % 65536, data=lambda r: BOGUS[: 2 * r.count]),
    "another unit": tells(unit=9),
    "another function": tells(function=4),
    "an exception of another function": sends(lambda r: r.frame(bytes([0x84, 2]))),
    "an exception with data": sends(lambda r: r.frame(bytes([0x83, 2, 0, 0]))),
    "one register fewer": tells(data=lambda r: r.data()[:-2]),
    "one register more": tells(data=lambda r: r.data() + b"\0\0"),
    "no register at all": tells(data=b""),
    "half a register": tells(data=lambda r: r.data()[:-1]),
    "a byte count too high": tells(byte_count=lambda r: 2 * r.count + 2),
    "a byte count too low": tells(byte_count=lambda r: 2 * r.count - 2),
    "a length too long": tells(length=lambda r: 2 * r.count + 9),
    "a length too short": tells(length=lambda r: 2 * r.count),
    "length zero": tells(length=0),
    "length one": tells(length=1),
    "65 kB": tells(length=65535),
    "another protocol": tells(protocol=7),
    "only a header": sends(lambda r: r.frame(b"")),
    "only a function code": sends(lambda r: r.frame(b"\x03")),
    "noise": sends(lambda r: b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "silence": stays_silent,
    "a reset in the middle": resets_in_the_middle,
    "a hang-up in the middle": hangs_up_in_the_middle,
    "a byte a second": drips_for_ever,
    **{f"exception {code:#x}": sends(lambda r, code=code: r.refusal(code)) for code in (*range(1, 12), 0x99, 0)},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_lie_becomes_a_value_and_the_next_honest_poll_works(lie):
    """On uvloop, which the gateway's workers use; the other tests run on asyncio's own loop."""
    answers_within_s, wrong = uvloop.run(lied_to(lie))
    assert wrong == []
    assert answers_within_s < 6


async def lied_to(lie):
    """How long after the last lie the truth was told, and the values that were not."""

    async def three_lies(request, writer):
        await (lie if 3 <= request.number < 6 else honest)(request, writer)

    # Refused addresses are tried again soon here, so that what the lie taught is not kept for ten minutes.
    async with caller(three_lies, refused_pause="200ms") as (one, device):
        await one.until(lambda: len(device.requests) >= 6)
        told_the_truth = time.monotonic()
        await one.until_good()
        return time.monotonic() - told_the_truth, one.wrong()


@pytest.mark.parametrize("pieces", [1, 7, 8])
async def test_an_honest_answer_in_pieces_is_taken(pieces):
    async def slowly(request, writer):
        frame = request.answer()
        for at in range(0, len(frame), pieces):
            writer.write(frame[at : at + pieces])
            await asyncio.sleep(PIECE_EVERY_S)

    async with caller(slowly, **PATIENT) as (one, _device):
        await one.until_good()
        assert (one.losses, one.wrong()) == ([], [])


async def test_an_answer_sent_twice_is_taken_once():
    async with caller(sends(lambda r: r.answer() * 2), **PATIENT) as (one, device):
        for _ in range(5):
            await one.read()
        assert (one.losses, one.wrong(), device.connections) == ([], [], 1)
        assert one.counter("doubled_replies_total") > 3


async def test_a_late_answer_is_never_the_answer_to_the_next_question():
    held = []

    async def one_behind(request, writer):
        """Each answer comes when the next question was asked, with words that were wrong even then."""
        if held:
            writer.write(held.pop())
        held.append(request.answer(data=BOGUS[: 2 * request.count]))

    async with caller(one_behind, dead_after=50) as (one, device):
        await one.until(lambda: len(device.requests) >= 4)
        device.reply = honest
        await one.until_good()
        assert one.wrong() == []
        assert one.counter("late_replies_total") >= 2


async def test_a_device_slower_than_the_timeout_is_slow_and_not_dead():
    """FAULTS 55: seen as slow, said so, given more time: no lockstep for ever."""
    lock = asyncio.Lock()

    async def slowly(request, writer):
        async with lock:  # one after the other, as a small device works
            await asyncio.sleep(SLOW_S)
            writer.write(request.answer())

    async with caller(slowly) as (one, device):
        await one.until_good()
        assert one.losses == []
        (sentence,) = one.adapter.health().degraded
        assert "unit 1 is slow" in sentence
        assert "response_timeout" in sentence
        device.reply = honest
        await one.until_good()
        await one.until(lambda: one.adapter.health().degraded == [])
        assert one.wrong() == []


async def test_a_device_that_answers_with_nothing_but_failures_is_said_once_for_all_its_points():
    async with caller(sends(lambda r: r.refusal(4))) as (one, device):
        await one.until(lambda: len(one.reasons()) == 2)
        health = one.adapter.health()
        (sentence,) = health.degraded
        assert sentence == (
            f"unit 1, holding registers (function 3): {exception_words(4)}; "
            "5 points have no value: x/0 (40001), x/1 (40002), x/2 (40003) and 2 more"
        )
        assert "a controller in STOP" in health.next_step
        device.reply = honest
        await one.until_good()
        assert one.adapter.health().degraded == []


async def test_a_connection_on_which_nothing_answers_is_given_up():
    async with caller(stays_silent) as (one, device):
        await one.until(lambda: one.losses)
        assert "did not answer the last" in one.losses[0]
        device.reply = honest
        await one.until_good()


async def test_silence_for_ever_is_one_bad_reading_for_each_point():
    """Through several reconnections; the caller itself has said BAD when it was told NotConnected."""
    async with caller(stays_silent, dead_pause="50ms", dead_pause_most="50ms") as (one, device):
        await one.until(lambda: device.connections >= 3)
        assert len(one.readings) <= len(ADDRESSES)


async def test_busy_is_asked_again_at_once():
    async def first_busy(request, writer):
        writer.write(request.refusal(6) if request.number % 2 == 0 else request.answer())

    async with caller(first_busy, retries=1, **PATIENT) as (one, _device):
        await one.until_good()
        assert one.reasons() == set()
        assert one.counter('exceptions_total{code="6"}') >= 2


async def test_what_the_device_answers_is_said_in_words():
    async with caller(sends(lambda r: r.refusal(4))) as (one, _device):
        await one.read()
        assert len(one.readings) == len(ADDRESSES)
        assert all("device failure" in reason for reason in one.reasons())
        await one.read()
        assert len(one.readings) == len(ADDRESSES), "said once"


async def test_a_device_that_answers_only_so_many_registers_is_read_in_smaller_pieces():
    """Seen against a real server: asked for 46 registers it answered 23."""
    async with caller(tells(data=lambda r: r.data()[:4]), gap=50) as (one, device):
        await one.until_good()
        await one.read()
        requests = len(device.requests)
        await one.read()
        assert {r.count for r in device.requests[requests:]} <= {1, 2}, "what was learned is kept"
        assert one.wrong() == []


async def test_a_range_that_is_never_answered_does_not_darken_the_points_beside_it():
    async def silent_at_41(request, writer):
        if not request.start <= 41 < request.start + request.count:
            await honest(request, writer)

    # All five points are one read here, so at first the device looks dead.
    async with caller(silent_at_41, gap=50, response_timeout="50ms", dead_pause="50ms") as (one, _device):
        await one.until(lambda: any("(40042): no answer" in sentence for sentence in one.adapter.health().degraded))
        seen = len(one.readings)
        await one.read()
        assert {r.point.parameter for r in one.readings[seen:]} == {"0", "1", "2", "40"}
        assert one.wrong() == []
