"""Reads a Modbus/TCP device, or the units behind a gateway: the three verbs around planning, polling and reporting.

The parts: config.py and addresses.py say what is wanted, plan.py which requests bring it, schedule.py when, line.py and wire.py ask,
poll.py deals with what devices answer, decode.py gives words a meaning, report.py decides what the stream is told.
"""

from __future__ import annotations

import asyncio
import socket
import time
from itertools import groupby

from protocols.advice import step
from protocols.contract import Adapter, Batch, Health, NotConnected, Point
from protocols.modbus.config import ModbusTcpConfig
from protocols.modbus.health import health
from protocols.modbus.line import Line
from protocols.modbus.plan import Limits, plan, signals
from protocols.modbus.poll import Poll, Poller
from protocols.modbus.report import Answered, Failed, Report
from protocols.modbus.schedule import Group, Unit, after_poll, next_due
from protocols.modbus.steps import STEPS
from protocols.modbus.wire import Heard, Tally, Wire

LOOK_S = 1.0
"""In a long rest, how often it is looked whether a unit that was given up has answered after all."""


class ModbusTcpAdapter(Adapter):
    """One connection with one request in flight."""

    version = "1.0.0"

    def __init__(self, config: ModbusTcpConfig) -> None:
        self._config = config
        self._signals = signals(config)
        self._units = {unit: Unit(unit) for unit in sorted({s.unit for s in self._signals})}
        self._groups = self._make_groups()
        self._poller = Poller(config, self._units, self._groups)
        self._report = Report(self._signals, with_time=config.time == "poll")
        self._tally = Tally()
        self._missed_polls = self._reopened = 0
        self._poll: Poll | None = None
        self._line: Line | None = None

    def _make_groups(self) -> list[Group]:
        limits = Limits(self._config.registers_max, self._config.bits_max, self._config.gap)
        together = sorted(self._signals, key=lambda s: (s.unit, s.every))
        groups = []
        for (unit, every), members in groupby(together, key=lambda s: (s.unit, s.every)):
            wanted = list(members)
            groups.append(Group(self._units[unit], every, 0.0, wanted, plan(wanted, limits)))
        return groups

    async def connect(self) -> None:
        await self.close()
        loop = asyncio.get_running_loop()
        heard = Heard(at=loop.time())
        try:
            wire = await self._dial(heard)
        except NotConnected as gone:
            raise self._lost(str(gone)) from gone
        self._line = self._poller.line = Line(lambda: self._dial(heard), heard, wire)
        self._start_over(loop.time())

    async def _dial(self, heard: Heard) -> Wire:
        """One TCP connection. Raises NotConnected."""
        config, peer = self._config, f"{self._config.host}:{self._config.port}"
        checks = config.transaction == "checked"
        try:
            async with asyncio.timeout(config.connect_timeout):
                transport, wire = await asyncio.get_running_loop().create_connection(
                    lambda: Wire(peer, self._tally, heard, checks_transaction=checks), config.host, config.port
                )
        except (OSError, TimeoutError) as error:
            raise NotConnected(_no_connection(peer, error)) from error
        _keep_alive(transport.get_extra_info("socket"))
        return wire

    def _start_over(self, now: float) -> None:
        """A new connection: every group is due, every unit and every refused point deserves a try."""
        self._poll = None
        for group in self._groups:
            group.due = now
            group.known.retry(now)
        for unit in self._units.values():
            unit.patience = unit.patience.hopeful()

    async def read(self) -> Batch:
        """The next poll of one group; its readings may be none, when nothing changed or a silent unit stayed silent."""
        if self._line is None:
            raise NotConnected(f"{self._config.host}:{self._config.port}: not connected")
        try:
            brought = await self._next_part(self._line)
        except NotConnected as gone:
            raise self._lost(str(gone)) from gone
        # From here on nothing waits: a read that was cancelled has told nobody anything.
        return Batch(self._report.readings(brought, asyncio.get_running_loop().time()), time.time_ns() // 1000)

    async def _next_part(self, line: Line) -> list[Answered | Failed]:
        """What the poll that is due brings, or its next part."""
        loop = asyncio.get_running_loop()
        if self._poll is None:
            group, wait = next_due(self._groups, loop.time())
            while wait > LOOK_S:
                await line.rest(LOOK_S)
                self._poller.look_for_late()
                group, wait = next_due(self._groups, loop.time())
            await line.rest(wait)
            self._poll = self._poller.begin(group)
        poll = self._poll
        brought, complete = await self._poller.go_on(poll)
        if complete:
            poll.group.due, missed = after_poll(poll.group.due, poll.group.every, loop.time())
            self._missed_polls += missed
            self._poll = None
        return brought

    def _lost(self, reason: str) -> NotConnected:
        self._report.lost(reason)
        return NotConnected(reason, step(STEPS, reason, self._named))

    @property
    def _named(self) -> dict[str, object]:
        """What steps may name."""
        return {"host": self._config.host, "port": self._config.port}

    async def close(self) -> None:
        line, self._line, self._poller.line = self._line, None, None
        if line is not None:
            self._reopened += line.reopened
            await line.close()

    def points(self) -> list[Point]:
        return [signal.point for signal in self._signals]

    def health(self) -> Health:
        reopened = self._reopened + (self._line.reopened if self._line else 0)
        counters = {
            "missed_polls_total": self._missed_polls,
            "suppressed_total": self._report.suppressed,
            "reopened_total": reopened,
        }
        return health(self._groups, self._poller.slow, self._report.trouble, self._tally, counters, self._named)


def _keep_alive(connection: socket.socket) -> None:
    """Let the kernel notice, within half a minute, a peer that vanished between two polls."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)


def _no_connection(peer: str, error: OSError | TimeoutError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"{peer} refused the connection: is the device on, and is the port right (Modbus is 502)?"
    if isinstance(error, socket.gaierror):
        return f"{peer}: the name is not known ({error.strerror}); right would be an address, or a name this machine can look up"
    if isinstance(error, TimeoutError):
        return f"{peer} did not take the connection in time: is the address right, is the device on, is a firewall between?"
    return f"{peer}: no connection ({error.strerror or error})"
