"""The line to one device: the TCP connection of the moment (wire.py), and another one where that is no loss.

Two times a new connection is made without a word. The device ended the old one between two answers, as many do after each answer or a
minute's pause: then the next question goes over a new one. And an answer that is still due would fit the next question too, so nothing that
came on this connection could be told apart: the line waits for it once more as long as for any answer, then hangs up, for a late answer
dies with its connection. A device that does not take the new connection, or ends it without an answer, is NotConnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from protocols.contract import NotConnected
from protocols.modbus.addresses import Table
from protocols.modbus.wire import Answer, Heard, Wire

Dial = Callable[[], Awaitable[Wire]]
"""Opens a connection; raises NotConnected."""


class Line:
    """Questions and answers, one at a time. Made by the adapter's `connect`, thrown away by its `close`."""

    def __init__(self, dial: Dial, heard: Heard, wire: Wire) -> None:
        self._dial, self._wire = dial, wire
        self.heard = heard
        self.reopened = 0
        self._ever_answered = False

    async def ask(self, unit: int, table: Table, start: int, count: int, timeout: float) -> Answer:  # noqa: ASYNC109 - the wire's
        """As the wire's."""
        if self._wire.parted or self._idle_and_gone:
            await self._open_again()
        elif self._wire.doubtful(unit, table, start, count):
            await self._wire.settle(timeout)
            if self._wire.doubtful(unit, table, start, count):
                await self._open_again()
        try:
            return await self._wire.ask(unit, table, start, count, timeout)
        except NotConnected:
            if not self._wire.parted:
                raise
        await self._open_again()
        return await self._wire.ask(unit, table, start, count, timeout)

    async def rest(self, seconds: float) -> None:
        """Wait. Raises NotConnected as soon as the device is seen to be gone, so that a long interval hides no loss."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            left = until - asyncio.get_running_loop().time()
            try:
                if self._idle_and_gone:
                    await asyncio.sleep(left)
                else:
                    await self._wire.rest(left)
                return
            except NotConnected:
                if self._wire.parted:
                    await self._open_again()
                elif not self._idle_and_gone:
                    raise

    @property
    def _idle_and_gone(self) -> bool:
        """A connection that was opened again has ended unused: the device is there, and waits no longer for the next question."""
        return self._ever_answered and self._wire.ended and not self._wire.asked

    async def _open_again(self) -> None:
        self._ever_answered = self._ever_answered or self._wire.answers > 0
        await self._wire.close()
        self._wire = await self._dial()
        self.reopened += 1

    async def close(self) -> None:
        await self._wire.close()
