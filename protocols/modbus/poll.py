"""One poll of one group: asks for its reads, repeats what is worth repeating, takes refused reads apart, gives up silent units.

What is learned of addresses is kept in the groups (schedule.py) and changes only when a poll is complete, so that one that was
cancelled leaves nothing half learned. Says what happened as `Answered` and `Failed`; makes no readings.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from protocols.contract import NotConnected
from protocols.modbus.addresses import Table
from protocols.modbus.config import ModbusTcpConfig
from protocols.modbus.messages import BUSY, ILLEGAL_FUNCTION, REFUSED, UNIT_AWAY, Why, exception_words
from protocols.modbus.plan import Cut, Limits, Read, Signal, border, halves, plan, read_of
from protocols.modbus.report import Answered, Failed
from protocols.modbus.schedule import Group, Manners, Parked, Patience, Unit, sign_of_life, silence
from protocols.modbus.wire import Answer, Exceptional, Heard, Silence, Unfit

_SLOW_FACTOR = 4.0
"""A slow unit gets at most so many response timeouts."""
_BUSY_PAUSE_S = 0.1
_PART_S = 1.0
"""A poll that takes longer is handed over in parts of about so long."""


class Asks(Protocol):
    """The part of the line that is needed here."""

    heard: Heard

    async def ask(self, unit: int, table: Table, start: int, count: int, timeout: float) -> Answer: ...  # noqa: ASYNC109


@dataclass(slots=True)
class Poll:
    """One poll of a group: what is still to be asked, what came so far, and what it will have taught."""

    group: Group
    todo: list[Read]
    brought: list[Answered | Failed] = field(default_factory=list)
    parked: dict[Signal, Why] = field(default_factory=dict)
    borders: list[Cut] = field(default_factory=list)
    silent: list[Read] = field(default_factory=list)
    answered: list[Read] = field(default_factory=list)
    freed: list[Signal] = field(default_factory=list)


class Poller:
    """Polls the groups of one connection."""

    def __init__(self, config: ModbusTcpConfig, units: dict[int, Unit], groups: list[Group]) -> None:
        self._config = config
        self._units = units
        self._groups = groups
        self._limits = Limits(config.registers_max, config.bits_max, config.gap)
        self._manners = Manners(config.dead_after, config.dead_pause, config.dead_pause_most)
        self._rested_from = 0.0
        self.slow: dict[int, float] = {}
        """Unit → seconds of its last answer that came too late."""
        self.line: Asks | None = None

    def begin(self, group: Group) -> Poll:
        """A poll of everything the group wants by now."""
        self.look_for_late()
        self._forget(group)
        return Poll(group, self._due_reads(group))

    async def go_on(self, poll: Poll) -> tuple[list[Answered | Failed], bool]:
        """What was brought since last time, and whether the poll is complete. Raises NotConnected.

        A long poll is handed over in parts, so that readings do not grow old here. After a cancellation nothing that came is
        lost, and the interrupted read is asked again.
        """
        until = _loop_time() + _PART_S
        while poll.todo and _loop_time() < until:
            await self._bring(poll, poll.todo[0])
            poll.todo.pop(0)
            if poll.group.unit.patience.given_up:
                self._give_up(poll)
        if not poll.todo:
            self._learn(poll)
        brought, poll.brought = poll.brought, []
        return brought, not poll.todo

    def _give_up(self, poll: Poll) -> None:
        unit = poll.group.unit
        signals = tuple(signal for group in self._groups if group.unit is unit for signal in group.signals)
        words = f"unit {unit.id} did not answer {unit.patience.silent} requests in a row"
        poll.brought.append(Failed(signals, words, _now_us()))
        poll.todo.clear()

    def _due_reads(self, group: Group) -> list[Read]:
        """The group's reads and at most one refused point to be tried again.

        A silent unit is tried with one point first, another each time: it may be that only one place of it never answers.
        """
        now, parked, tries = _loop_time(), group.known.parked, group.unit.patience.tries
        again = [read_of([signal]) for signal, why in parked.items() if why.again_at <= now]
        first = [read_of([group.signals[tries % len(group.signals)]])] if tries else []
        return [*first, *group.reads, *again[:1]]

    async def _bring(self, done: Poll, read: Read) -> bool:
        """Bring one read, in pieces if it must be. True when whatever was refused has its explanation."""
        unit = done.group.unit
        try:
            answer = await self._asked(unit, read)
        except Silence:
            done.silent.append(read)
            done.brought.append(Failed(read.signals, f"no answer to {read} within {self._wait(unit):g} s", _now_us()))
        except Unfit as unfit:
            return await self._refused(done, read, f"{unfit}; the device does not keep to the protocol")
        except Exceptional as refused:
            cause = exception_words(refused.code)
            if refused.code in REFUSED:
                return await self._refused(done, read, cause)
            if refused.code == ILLEGAL_FUNCTION:
                done.parked.update(dict.fromkeys(read.signals, Why(f"{read}: {cause}", cause)))
            done.brought.append(Failed(read.signals, f"{read}: {cause}", _now_us(), told=True, cause=cause))
        else:
            done.answered.append(read)
            done.freed += [signal for signal in read.signals if signal in done.group.known.parked]
            done.brought.append(Answered(read, answer.payload, answer.asked_at, answer.came_at))
            return False
        return True

    async def _refused(self, done: Poll, read: Read, cause: str) -> bool:
        """Find out by halves which point is to blame; when none is, it is the border between the halves."""
        if len(read.signals) == 1:
            words = f"{read}: {cause}"
            done.parked[read.signals[0]] = Why(words, cause)
            done.brought.append(Failed(read.signals, words, _now_us(), told=True, cause=cause))
            return True
        left, right = halves(read)
        left_explains = await self._bring(done, left)
        right_explains = False if done.group.unit.patience.given_up else await self._bring(done, right)
        if not left_explains and not right_explains:
            done.borders.append(border(right))
        return True

    async def _asked(self, unit: Unit, read: Read) -> Answer:
        """The answer to one read, asked again within the configured retries. A unit known to be silent gets one try."""
        for left in range(0 if unit.patience.silent else self._config.retries, -1, -1):
            try:
                return await self._ask(unit, read)
            except Silence:
                if not left or unit.patience.given_up:
                    raise
            except Exceptional as refused:
                if not left or refused.code not in BUSY:
                    raise
                await asyncio.sleep(_BUSY_PAUSE_S)
        raise Silence

    async def _ask(self, unit: Unit, read: Read) -> Answer:
        """One request; keeps the pause between requests and what is known of the unit."""
        if self.line is None:
            raise NotConnected(f"{self._config.host}: not connected")
        if self._config.delay:
            await asyncio.sleep(self._rested_from + self._config.delay - _loop_time())
        try:
            answer = await self.line.ask(unit.id, read.table, read.start, read.count, self._wait(unit))
        except Silence:
            self._missed(unit)
            raise
        except Exceptional as refused:
            if refused.code in UNIT_AWAY:
                self._missed(unit)
            else:
                unit.patience = Patience()
            raise
        except Unfit:
            unit.patience = Patience()
            raise
        finally:
            self._rested_from = _loop_time()
            self.look_for_late()
        unit.patience = Patience()
        if self.slow and answer.came_at - answer.asked_at < 0.7e6 * self._config.response_timeout:
            self.slow.pop(unit.id, None)
        return answer

    def _missed(self, unit: Unit) -> None:
        unit.patience = silence(unit.patience, self._manners, _loop_time())
        line, most = self.line, self._config.response_timeout * _SLOW_FACTOR
        if line is None or line.heard.silent_in_a_row < self._config.dead_after or _loop_time() - line.heard.at < most:
            return
        if all(unit.patience.silent for unit in self._units.values()):
            raise NotConnected(
                f"{self._config.host}:{self._config.port} did not answer the last {line.heard.silent_in_a_row} requests;"
                " is the unit id right, does the device run, is something between blocking?"
            )

    def _wait(self, unit: Unit) -> float:
        """How long to wait for a unit: longer, within bounds, when it was seen to answer late."""
        timeout = self._config.response_timeout
        return min(max(timeout, 1.5 * self.slow.get(unit.id, 0.0)), _SLOW_FACTOR * timeout)

    def look_for_late(self) -> None:
        """Answers after their time are never used, but show that their unit is slow and not dead."""
        if self.line is None or not self.line.heard.late:
            return
        timeout = self._config.response_timeout
        for unit_id, took in self.line.heard.late:
            if took < timeout:
                continue  # Nobody waited any more because the read was cancelled.
            self.slow[unit_id] = took
            unit = self._units[unit_id]
            unit.patience = sign_of_life(unit.patience, _loop_time(), took < timeout * _SLOW_FACTOR)
        self.line.heard.late.clear()

    # What is learned from a complete poll.

    def _learn(self, done: Poll) -> None:
        group, known, now = done.group, done.group.known, _loop_time()
        for signal, why in done.parked.items():
            known.parked[signal] = Parked(why, now + self._config.refused_pause)
        for signal in done.freed:
            known.parked.pop(signal, None)
        self._strike(done)
        if done.borders:
            known.borders += done.borders
            known.forget_at = now + self._config.refused_pause
        if done.parked or done.freed or done.borders:
            self._replan(group)

    def _strike(self, done: Poll) -> None:
        """A read that stays silent again and again while its unit answers others is halved, in the end its point parked."""
        known = done.group.known
        for read in done.answered:
            known.strikes.pop(_key(read), None)
        if not done.answered:
            return
        for read in done.silent:
            strikes = known.strikes.get(_key(read), 0) + 1
            known.strikes[_key(read)] = strikes
            if strikes < self._config.dead_after:
                continue
            del known.strikes[_key(read)]
            if len(read.signals) > 1:
                done.borders.append(border(halves(read)[1]))
            else:
                cause = "no answer, though the unit answers others"
                why = Why(f"no answer to {read}, though the unit answers others", cause)
                done.parked[read.signals[0]] = why
                known.parked[read.signals[0]] = Parked(why, _loop_time() + self._config.refused_pause)

    def _forget(self, group: Group) -> None:
        """Borders are tried again now and then: what refused may have been a passing mood."""
        known = group.known
        if known.borders and _loop_time() >= known.forget_at:
            known.borders.clear()
            self._replan(group)

    def _replan(self, group: Group) -> None:
        wanted = [signal for signal in group.signals if signal not in group.known.parked]
        group.reads = plan(wanted, self._limits, group.known.cuts())


def _key(read: Read) -> tuple[int, int, int]:
    return int(read.table), read.start, read.count


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _now_us() -> int:
    return time.time_ns() // 1000
