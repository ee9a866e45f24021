"""Devices with one socket: after an answer it is closed, and for a moment the next connection is refused, or ended at once."""

from __future__ import annotations

import pytest

from protocols.contract import NotConnected
from tests.kit.modbus_server import Liar
from tests.protocols.modbus_kit import caller

NOT_READY_S = 0.06
"""How long the device needs until it takes the next connection."""
TIME_FOR_AN_ANSWER = "3s"


def hangs_up(device, meanwhile=None):
    async def reply(request, writer):
        writer.write(request.answer())
        await writer.drain()
        writer.close()
        if meanwhile:
            await meanwhile(device, NOT_READY_S)

    return reply


@pytest.mark.parametrize("not_ready", [Liar.deaf, Liar.shunning])
async def test_a_device_that_needs_a_moment_for_the_next_connection_is_read_without_a_loss(not_ready):
    async with caller(response_timeout=TIME_FOR_AN_ANSWER) as (one, device):
        device.reply = hangs_up(device, not_ready)
        await one.until(lambda: len(device.requests) >= 10)
        assert (one.losses, one.reasons(), one.wrong()) == ([], set(), [])


async def test_a_device_that_does_not_listen_again_in_the_time_of_an_answer_is_lost():
    async with caller() as (one, device):
        device.reply = hangs_up(device)
        await one.until_good()
        device.listens.close()
        with pytest.raises(NotConnected, match="refused the connection"):
            while True:
                await one.adapter.read()
