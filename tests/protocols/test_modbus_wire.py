"""The wire alone: what an answer must be, and that no bytes whatever bring anything but an answer or a named refusal."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from protocols.contract import NotConnected
from protocols.modbus.addresses import Table
from protocols.modbus.wire import Exceptional, Silence, Tally, Unfit, Wire, payload_of, size_of


@pytest.mark.parametrize(
    ("table", "count", "size"),
    [(Table.coil, 1, 1), (Table.coil, 8, 1), (Table.discrete, 9, 2), (Table.holding, 125, 250)],
)
def test_size_of_an_answer(table, count, size):
    assert size_of(table, count) == size


@pytest.mark.parametrize(
    ("pdu", "raised"),
    [
        ("", Unfit),
        ("03", Unfit),
        ("0304", Unfit),
        ("0304 0001 02", Unfit),
        ("0304 0001 0002 03", Unfit),
        ("0302 0001 0002", Unfit),
        ("0404 0001 0002", Unfit),
        ("83", Unfit),
        ("8302 00", Unfit),
        ("8402", Unfit),
        ("8302", Exceptional),
    ],
)
def test_an_answer_to_a_read_of_two_registers_is_refused(pdu, raised):
    with pytest.raises(raised):
        payload_of(bytes.fromhex(pdu), 3, 4)


def test_the_right_answer_is_its_data():
    assert payload_of(bytes.fromhex("0304 0001 0002"), 3, 4) == bytes.fromhex("00010002")


class Socket(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self):
        super().__init__()
        self.written = []
        self.aborted = False

    def write(self, data):
        self.written.append(data)

    def abort(self):
        self.aborted = True


def a_wire():
    wire, socket = Wire("device:502", Tally()), Socket()
    wire.connection_made(socket)
    return wire, socket


def answer(request, data):
    tid, _, _, unit, function, _, _ = struct.unpack(">HHHBBHH", request)
    return struct.pack(">HHHBBB", tid, 0, len(data) + 3, unit, function, len(data)) + data


async def asked(wire):
    """A request for two registers that is on its way."""
    task = asyncio.ensure_future(wire.ask(7, Table.holding, 100, 2, 5))
    await asyncio.sleep(0)  # one turn of the loop: it has asked and waits
    return task


async def test_a_request_is_what_the_standard_says():
    wire, socket = a_wire()
    task = await asked(wire)
    assert socket.written == [bytes.fromhex("0001 0000 0006 07 03 0064 0002")]
    wire.data_received(answer(socket.written[0], b"abcd"))
    found = await task
    assert found.payload == b"abcd"
    assert found.asked_at <= found.came_at


async def test_two_frames_in_one_piece_are_two():
    wire, socket = a_wire()
    task = await asked(wire)
    wire.data_received(answer(socket.written[0], b"abcd") * 2)
    assert (await task).payload == b"abcd"
    assert not socket.aborted


@pytest.mark.parametrize("behind", ["64", "0000", "0001 0001", "ffff 0000"])
async def test_an_answer_with_something_odd_behind_it_is_not_believed(behind):
    """As when a byte too many stands inside the frame and pushed the last one out."""
    wire, socket = a_wire()
    task = await asked(wire)
    wire.data_received(answer(socket.written[0], b"\x04abc") + bytes.fromhex(behind))
    with pytest.raises(NotConnected, match="more than its answer"):
        await task
    assert socket.aborted


async def test_transaction_ids_go_round_past_those_still_open():
    wire, socket = a_wire()
    with pytest.raises(Silence):
        await wire.ask(7, Table.holding, 0, 1, 0.001)
    wire._tid = 0xFFFF
    task = await asked(wire)
    assert socket.written[-1][:2] == b"\x00\x02", "0001 may still be answered"
    wire.data_received(answer(socket.written[-1], b"abcd"))
    assert (await task).payload == b"abcd"


async def test_silence_a_million_times_keeps_memory_flat():
    wire, _ = a_wire()
    for _ in range(3000):
        wire._next_tid(1, Table.holding, 0, 1)
    assert len(wire._open) <= 1024


async def test_seeded_noise_never_becomes_a_wrong_answer_or_another_exception():
    """FAULTS 56, the short way: right answers with bytes changed, cut out, put in, in pieces. A changed value in a right frame
    is the one thing that cannot be seen, so data bytes are left alone and anything else accepted must be those bytes."""
    chance = random.Random(56)
    accepted = refused = 0
    for _ in range(4000):
        wire, socket = a_wire()
        task = await asked(wire)
        for piece in mutated(answer(socket.written[0], b"abcd"), chance):
            wire.data_received(piece)
        wire.connection_lost(None)
        try:
            assert (await task).payload == b"abcd"
            accepted += 1
        except (NotConnected, Exceptional, Unfit):
            refused += 1
    assert accepted > 50
    assert refused > 2000


def mutated(frame, chance):
    """The frame's head damaged in up to three places, noise before or behind it, in up to three pieces."""
    data = bytearray(frame)
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(9)
        kind = chance.randrange(3)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at]
        else:
            data.insert(at, chance.randrange(256))
    if chance.random() < 0.2:
        data += chance.randbytes(chance.randint(1, 300))
    if chance.random() < 0.2:
        data[:0] = chance.randbytes(chance.randint(1, 20))
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(0, 2)))
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
