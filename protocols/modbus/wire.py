"""Modbus/TCP on the wire: asks one request at a time and lets only its own, whole answer through.

Why not pymodbus here: its answer costs twice the CPU of this file's, it accepts fewer registers than asked and another
function's answer, and it hides a late answer, by which a slow device is told from a dead one. The tests let this file
talk to pymodbus' server. Knows nothing of points, units' states or retries, and is used for one TCP connection (line.py opens the next).

    NotConnected          the connection cannot be trusted any more: gone, or an answer nobody asked for
    Silence               no answer in time; the connection stands
    Exceptional(code)     the device refused, with its exception code
    Unfit                 an answer to this request that does not hold what was asked
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeVar, cast

from protocols.contract import NotConnected
from protocols.modbus.addresses import Table

V = TypeVar("V")

_REQUEST = Struct(">HHHBBHH")
_HEADER = Struct(">HHHB")
_PREFIX = Struct(">HH")
_LENGTH_MAX = 254
"""Unit id, function code and at most 252 bytes of data."""
_OPEN_MAX, _DONE_MAX = 1024, 256
"""How many unanswered and answered transactions are known, to tell a late or doubled answer from one that was never asked for."""


class Silence(Exception):
    """No answer in time."""


class Exceptional(Exception):
    """The device answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Unfit(Exception):
    """The answer is to this request but is not what was asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The data bytes of one answer, and when it was asked for and came, in microseconds since 1970."""

    payload: bytes
    asked_at: int
    came_at: int


@dataclass(slots=True)
class Tally:
    """What the wire saw since it was made; only ever grows."""

    requests: int = 0
    timeouts: int = 0
    late: int = 0
    doubled: int = 0
    unfit: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    """Exception code to count."""


@dataclass(slots=True)
class Heard:
    """What the device let us hear, over all its connections."""

    silent_in_a_row: int = 0
    """Requests without an answer since the last frame of any kind."""
    at: float = 0.0
    """Loop time of the last frame of any kind, or of the start."""
    late: list[tuple[int, float]] = field(default_factory=list)
    """(unit, seconds it took) of answers that came after their time; the reader empties it."""


@dataclass(frozen=True, slots=True)
class _Question:
    unit: int
    table: Table
    start: int
    count: int
    sent_at: float

    def looks_like(self, unit: int, table: Table, start: int, count: int) -> bool:
        """Whether an answer to this one would fit that question too, though it is another one."""
        same_kind = self.unit == unit and self.table is table and size_of(table, self.count) == size_of(table, count)
        return same_kind and (self.start, self.count) != (start, count)


def payload_of(pdu: bytes, function: int, size: int) -> bytes:
    """The data of an answer that shall hold `size` bytes. Raises Exceptional or Unfit. `pdu` begins with the function code."""
    if not pdu:
        raise Unfit("an answer without a function code came")
    if pdu[0] == function | 0x80 and len(pdu) == 2:
        raise Exceptional(pdu[1])
    if pdu[0] != function:
        raise Unfit(f"asked with function {function}, the answer is of function {pdu[0]}")
    if len(pdu) < 2 or pdu[1] != size or len(pdu) != size + 2:
        told = f"says {pdu[1]} and " if len(pdu) > 1 else ""
        raise Unfit(f"asked for {size} bytes, the answer {told}holds {max(len(pdu) - 2, 0)}")
    return pdu[2:]


def size_of(table: Table, count: int) -> int:
    """Data bytes of a right answer."""
    return (count + 7) // 8 if table.holds_bits else 2 * count


def _bounded(known: dict[int, V], most: int) -> dict[int, V]:
    """The same dict, with room for one more: the oldest entry goes."""
    if len(known) >= most:
        del known[next(iter(known))]
    return known


class Wire(asyncio.Protocol):
    """One connection. Calls to `ask` never overlap; a call that is cancelled leaves the connection usable."""

    def __init__(self, peer: str, tally: Tally, heard: Heard | None = None, *, checks_transaction: bool = True) -> None:
        self._peer = peer
        self._tally = tally
        self._heard = heard or Heard()
        self._checks_transaction = checks_transaction
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._tid = 0
        self._open: dict[int, _Question] = {}
        """Transaction without an answer so far → what was asked."""
        self._done: dict[int, int] = {}
        """Transaction that was answered → unit."""
        self._waiting: asyncio.Future[bytes] | None = None
        self._arrived: bytes | None = None
        self._broken: str | None = None
        self._closed = self._loop.create_future()
        self._settled: asyncio.Future[None] | None = None
        self.asked = self.answers = 0
        """Questions, and answers that came in time, on this connection."""
        self.parted = False
        """The device ended the connection between two answers, after it had given one: many do, after each answer or a pause."""
        self.turned_away = False
        """The device ended the connection without a word: it has no room for it, or not yet."""

    @property
    def ended(self) -> bool:
        return self._broken is not None

    def doubtful(self, unit: int, table: Table, start: int, count: int) -> bool:
        """Whether an answer that is still to come could be taken for the one to this question.

        A right device repeats the number of the request; but some put the newest on whatever they send, and some none at all.
        """
        if not self._checks_transaction:
            return bool(self._open)
        return any(question.looks_like(unit, table, start, count) for question in self._open.values())

    async def settle(self, seconds: float) -> None:
        """Wait until every question has its answer, but not longer than that."""
        if self._open and self._broken is None:
            self._settled = self._loop.create_future()
            await asyncio.wait((self._settled,), timeout=seconds)

    async def ask(self, unit: int, table: Table, start: int, count: int, timeout: float) -> Answer:  # noqa: ASYNC109 - a call_later is a third of asyncio.timeout's cost
        """Read `count` addresses from `start`. Raises as listed above."""
        if self._broken is not None or self._transport is None:
            raise NotConnected(self._broken or f"{self._peer}: not connected")
        tid = self._next_tid(unit, table, start, count)
        asked_at = time.time_ns() // 1000
        answer = self._waiting = self._loop.create_future()
        self._transport.write(_REQUEST.pack(tid, 0, 6, unit, table, start, count))
        self._tally.requests += 1
        self.asked += 1
        timer = self._loop.call_later(timeout, self._too_late, answer)
        try:
            pdu = await answer
        finally:
            timer.cancel()
            self._waiting = None
        came_at = time.time_ns() // 1000
        return Answer(self._checked(pdu, table, count), asked_at, max(came_at, asked_at))

    def _checked(self, pdu: bytes, table: Table, count: int) -> bytes:
        try:
            return payload_of(pdu, int(table), size_of(table, count))
        except Exceptional as refused:
            self._tally.refused[refused.code] = self._tally.refused.get(refused.code, 0) + 1
            raise
        except Unfit:
            self._tally.unfit += 1
            raise

    def _next_tid(self, unit: int, table: Table, start: int, count: int) -> int:
        self._tid = self._tid % 0xFFFF + 1
        while self._tid in self._open:
            self._tid = self._tid % 0xFFFF + 1
        self._done.pop(self._tid, None)
        _bounded(self._open, _OPEN_MAX)[self._tid] = _Question(unit, table, start, count, self._loop.time())
        return self._tid

    def _too_late(self, answer: asyncio.Future[bytes]) -> None:
        if not answer.done():
            self._tally.timeouts += 1
            self._heard.silent_in_a_row += 1
            answer.set_exception(Silence())

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type, only by what it can do

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while len(buffer) >= _HEADER.size and self._broken is None:
            tid, protocol, length, unit = _HEADER.unpack_from(buffer)
            if protocol != 0 or not 2 <= length <= _LENGTH_MAX:
                self._break(
                    f"{self._peer} sent bytes that are not Modbus/TCP ({buffer[:8].hex(' ')}); is something else on this port?"
                )
                break
            if len(buffer) < 6 + length:
                break
            self._frame(tid, unit, buffer[7 : 6 + length])
            buffer = buffer[6 + length :]
        self._buffer = buffer
        if self._arrived is not None:
            self._hand_over(self._arrived)

    def connection_lost(self, exc: Exception | None) -> None:
        self.parted = self._broken is None and self.answers > 0 and not self._buffer and len(self._open) <= self._asking
        self.turned_away = self._broken is None and not self.answers and not self._buffer
        early = "" if self.answers else " before it answered anything; many devices take 1 to 4 connections only"
        self._break(f"{self._peer} closed the connection{early}{f': {exc}' if exc else ''}")
        if not self._closed.done():
            self._closed.set_result(None)

    @property
    def _asking(self) -> bool:
        return self._waiting is not None and not self._waiting.done()

    def _frame(self, tid: int, unit: int, pdu: bytes) -> None:
        self._heard.silent_in_a_row, self._heard.at = 0, self._loop.time()
        if not self._checks_transaction:
            if not self._open:
                self._break(f"{self._peer} sent more than its answer: another one, though nothing was asked")
                return
            tid = next(iter(self._open))  # Nothing is asked while an answer is due, so there is only this one.
        question = self._open.get(tid)
        asked_unit = question.unit if question else self._done.get(tid)
        if asked_unit is None:
            self._break(
                f"{self._peer} answered transaction {tid}, which was not asked (the last was {self._tid});"
                " right for a device that does not repeat the number would be transaction: ignored"
            )
        elif asked_unit != unit:
            self._break(
                f"{self._peer} answered for unit {unit}, asked was unit {asked_unit}; right for a device that is"
                f" alone on its address would be unit: {unit}"
            )
        elif question is None:
            self._tally.doubled += 1
        else:
            self._answered(tid, question, pdu)

    def _answered(self, tid: int, question: _Question, pdu: bytes) -> None:
        del self._open[tid]
        _bounded(self._done, _DONE_MAX)[tid] = question.unit
        if tid == self._tid and self._asking:
            self._arrived = pdu
            self.answers += 1
        else:
            self._tally.late += 1
            self._heard.late.append((question.unit, self._heard.at - question.sent_at))
            del self._heard.late[:-16]
        if not self._open and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _hand_over(self, pdu: bytes) -> None:
        """Bytes behind the answer that cannot begin another one make the answer itself doubtful: it may have been shifted."""
        self._arrived = None
        if self._buffer and not self._may_begin_a_frame(self._buffer[:4]):
            self._break(f"{self._peer} sent more than its answer ({self._buffer[:8].hex(' ')} behind it)")
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(pdu)

    def _may_begin_a_frame(self, start: bytes) -> bool:
        return any(start == _PREFIX.pack(tid, 0)[: len(start)] for tid in (*self._open, *self._done))

    def _break(self, why: str) -> None:
        """Nothing more comes through here; whoever waits is told."""
        if self._broken is None:
            self._broken = why
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(NotConnected(why))
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        if self._transport is not None:
            self._transport.abort()

    async def rest(self, seconds: float) -> None:
        """Wait; raises NotConnected as soon as the connection breaks, so that a long interval hides no loss."""
        if self._broken is None and seconds > 0:
            await asyncio.wait((self._closed,), timeout=seconds)
        if self._broken is not None:
            raise NotConnected(self._broken)

    async def close(self) -> None:
        """Returns when the socket is closed."""
        self._break(f"{self._peer}: closed")
        if self._transport is not None:
            await self._closed
