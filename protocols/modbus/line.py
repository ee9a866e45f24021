"""The line to one device: the TCP connection of the moment (wire.py), and another one where that is no loss.

Two times a new connection is made without a word. The device ended the old one between two answers, as many do after each answer or a
minute's pause: then the next question goes over a new one. And an answer that is still due would fit the next question too, so nothing that
came on this connection could be told apart: the line waits for it once more as long as for any answer, then hangs up, for a late answer
dies with its connection. A device with one socket only cannot take the new one before it listens again: it refuses, or ends it at once,
and gets as long as for an answer. One that does not answer over a new connection by then is NotConnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from protocols.contract import NotConnected
from protocols.modbus.addresses import Table
from protocols.modbus.wire import Answer, Heard, Wire

V = TypeVar("V")

PAUSE_S = 0.02
"""Before a device that did not take a new connection is dialled once more; doubles each time."""

Dial = Callable[[], Awaitable[Wire]]
"""Opens a connection; raises NotConnected."""


class Line:
    """Questions and answers, one at a time. Made by the adapter's `connect`, thrown away by its `close`."""

    def __init__(self, dial: Dial, heard: Heard, wire: Wire) -> None:
        self._dial, self._wire = dial, wire
        self.heard = heard
        self.reopened = 0
        self._ever_answered = False
        self._patience = 0.0
        """How long the device may need until it takes a new connection: as long as the last question was given."""

    async def ask(self, unit: int, table: Table, start: int, count: int, timeout: float) -> Answer:  # noqa: ASYNC109 - the wire's
        """As the wire's."""
        self._patience = timeout

        async def asked() -> Answer:
            return await self._wire.ask(unit, table, start, count, timeout)

        if not (self._wire.parted or self._idle_and_gone or await self._doubtful(unit, table, start, count, timeout)):
            try:
                return await asked()
            except NotConnected:
                if not self._wire.parted:
                    raise
        return await self._anew(asked)

    async def _doubtful(self, unit: int, table: Table, start: int, count: int, seconds: float) -> bool:
        """Whether an answer that is still due could be taken for this one's; it is waited for before that is said."""
        if self._wire.doubtful(unit, table, start, count):
            await self._wire.settle(seconds)
        return self._wire.doubtful(unit, table, start, count)

    async def rest(self, seconds: float) -> None:
        """Wait. Raises NotConnected as soon as the device is seen to be gone, so that a long interval hides no loss."""
        until = _now() + seconds
        while True:
            left = until - _now()
            try:
                if self._idle_and_gone:
                    await asyncio.sleep(left)
                else:
                    await self._wire.rest(left)
                return
            except NotConnected:
                if self._wire.parted:
                    await self._anew(_nothing)
                elif not self._idle_and_gone:
                    raise

    @property
    def _idle_and_gone(self) -> bool:
        """A connection that was opened again has ended unused: the device is there, and waits no longer for the next question."""
        return self._ever_answered and self._wire.ended and not self._wire.asked

    async def _anew(self, act: Callable[[], Awaitable[V]]) -> V:
        """Do it over a new connection, or over another one after that, within the device's time."""
        pause, until = PAUSE_S, _now() + self._patience
        while True:
            taken = False
            try:
                await self._open_again()
                taken = True
                return await act()
            except NotConnected:
                if (taken and not self._wire.turned_away) or _now() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    async def _open_again(self) -> None:
        self._ever_answered = self._ever_answered or self._wire.answers > 0
        await self._wire.close()
        self._wire = await self._dial()
        self.reopened += 1

    async def close(self) -> None:
        await self._wire.close()


async def _nothing() -> None:
    """A new connection is all that is wanted."""


def _now() -> float:
    return asyncio.get_running_loop().time()
