"""From what the polls brought to what the stream is told: readings, one BAD for a point that fails, nothing that did not change.

No I/O and no clock. A caller that was told NotConnected has marked every point BAD itself: `lost` notes that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

from protocols.contract import Reading
from protocols.modbus.decode import BitDecoder, RegisterDecoder
from protocols.modbus.messages import Why
from protocols.modbus.plan import Read, Signal
from schemas.records import Classification, Quality, Value

_VIEWS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Answered:
    """A read that brought its data. Times in microseconds since 1970."""

    read: Read
    payload: bytes
    asked_at: int
    came_at: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Signals that could not be read."""

    signals: tuple[Signal, ...]
    reason: str
    at: int
    """Microseconds since 1970."""
    told: bool = False
    """The device itself gave the reason. Such a reason is reported even where another one was before."""
    cause: str | None = None
    """The reason without the read it stands for, where it names one."""


@dataclass(frozen=True, slots=True)
class _Sent:
    value: Value
    status: Quality
    at: float


class _View:
    """What is needed again and again to turn one read's answer into readings."""

    def __init__(self, read: Read) -> None:
        places = [(signal.config, signal.start - read.start) for signal in read.signals]
        bits = read.table.holds_bits
        self.decode = BitDecoder([place for _, place in places]) if bits else RegisterDecoder(places)
        self.points = [signal.point for signal in read.signals]
        self.quiet = [(i, signal) for i, signal in enumerate(read.signals) if _only_changes(signal)]


def _only_changes(signal: Signal) -> bool:
    return signal.config.deadband is not None or signal.point.classification is not Classification.TELEMETRY


class Report:
    """Remembers what was said of each signal, so that nothing is said twice."""

    def __init__(self, signals: Iterable[Signal], with_time: bool) -> None:
        self._signals = list(signals)
        self._with_time = with_time
        self._views: dict[Read, _View] = {}
        self._bad: dict[Signal, str] = {}
        self._sent: dict[Signal, _Sent] = {}
        self.trouble: dict[Signal, Why] = {}
        """What the device itself says instead of a usable value, now, of each signal."""
        self.suppressed = 0
        """Readings not sent because they did not change."""

    def lost(self, reason: str) -> None:
        """The connection is gone and the caller marks every point BAD."""
        self._bad = dict.fromkeys(self._signals, reason)
        self._sent.clear()
        self.trouble.clear()

    def readings(self, brought: Iterable[Answered | Failed], now: float) -> list[Reading]:
        """What is to be sent of one poll. `now`: monotonic seconds."""
        found: list[Reading] = []
        for one in brought:
            found += self._good(one, now) if isinstance(one, Answered) else self._failed(one)
        return found

    def _good(self, answered: Answered, now: float) -> list[Reading]:
        view = self._view(answered.read)
        decoded = view.decode(answered.payload)
        # Modbus carries no time; the device took the value somewhere between question and answer.
        middle = (answered.asked_at + answered.came_at) // 2 if self._with_time else None
        good = repeat(Quality.GOOD)
        found = list(map(Reading, view.points, decoded.values, repeat(middle), good, repeat(None), decoded.raws))
        if self._bad or self.trouble:
            for signal in answered.read.signals:
                self._bad.pop(signal, None)
                self.trouble.pop(signal, None)
        for i, problem in decoded.problems.items():
            found[i].status, found[i].reason = Quality.BAD, problem
            self.trouble[answered.read.signals[i]] = Why(problem, problem)
        return self._changed(view, found, now) if view.quiet else found

    def _changed(self, view: _View, found: list[Reading], now: float) -> list[Reading]:
        unchanged = {i for i, signal in view.quiet if not self._worth_sending(signal, found[i], now)}
        self.suppressed += len(unchanged)
        return [reading for i, reading in enumerate(found) if i not in unchanged] if unchanged else found

    def _worth_sending(self, signal: Signal, reading: Reading, now: float) -> bool:
        last, config = self._sent.get(signal), signal.config
        overdue = last is not None and config.at_least_every is not None and now - last.at >= config.at_least_every
        if last is None or overdue or _differs(last, reading, config.deadband_width or 0.0):
            self._sent[signal] = _Sent(reading.value, reading.status, now)
            return True
        return False

    def _failed(self, failed: Failed) -> list[Reading]:
        found = []
        for signal in failed.signals:
            if failed.told:
                self.trouble[signal] = Why(failed.reason, failed.cause or failed.reason)
            said = self._bad.get(signal)
            if said is None or (failed.told and said != failed.reason):
                time = failed.at if self._with_time else None
                found.append(Reading(signal.point, None, time, Quality.BAD, failed.reason))
                self._bad[signal] = failed.reason
                self._sent.pop(signal, None)
        return found

    def _view(self, read: Read) -> _View:
        view = self._views.get(read)
        if view is None:
            if len(self._views) >= _VIEWS_MAX:
                self._views.clear()
            view = self._views[read] = _View(read)
        return view


def _differs(last: _Sent, reading: Reading, width: float) -> bool:
    """Whether a reading says something new: another status, or a value further than `width` from the last one sent."""
    if last.status is not reading.status:
        return True
    if reading.status is Quality.BAD:
        return False
    if (
        isinstance(reading.value, bool | str)
        or isinstance(last.value, bool | str)
        or reading.value is None
        or last.value is None
    ):
        return reading.value != last.value
    return abs(reading.value - last.value) > width
