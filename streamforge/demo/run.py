"""`streamforge demo`: starts the plant, the database and the gateway, shows a line a second, and at the end compares the stream
with the database, record by record.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamforge.demo.historian import NoHistorian
from streamforge.demo.meter import Meter
from streamforge.demo.parts import DemoFailed, Parts

FIRST_READING_WITHIN_S = 90.0
SILENT_AT_MOST_S = 8.0
DRAIN_STUCK_S, DRAIN_MOST_S = 120.0, 900.0
"""Without any movement, and in any case: on a slow machine much may wait."""
CHAOS_EVERY_S = 5.0


def run_demo(
    data: Path,
    seconds: float | None,
    as_json: bool,
    chaos: bool,
    page: int,
    durability: str,
    command_line: Callable[[], None],
) -> int:
    """The exit code: 0 when nothing was missing or doubled."""
    _listen()
    begun = float(os.environ.get("STREAMFORGE_STARTED") or time.time())
    try:
        with _alone(data), Parts(data, page, durability, chaos, command_line) as parts:
            return Demo(parts, Show(as_json), begun, chaos).run(seconds)
    except (DemoFailed, NoHistorian) as failed:
        print(f"streamforge demo: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("streamforge demo: ended at once, without the comparison", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        raise
    except OSError as error:
        place = error.filename or data
        print(
            f"streamforge demo: {place}: {error.strerror or error}; name another directory with --data", file=sys.stderr
        )
        return 1


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the directory: a second demo in it would take the first one's database away. Raises DemoFailed."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "demo.lock").open("w")
    except OSError as error:
        raise DemoFailed(f"{data} cannot be used: {error.strerror}; name another directory with --data") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoFailed(f"another demo runs in {data}; end it, or name another directory with --data") from None
        yield


def _listen() -> None:
    """Ctrl-C and SIGTERM end the run and compare; a terminal that was closed ends it in order, as nobody would read the comparison."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell that starts it with `&` has it ignored
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _hang_up)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _hang_up(number: int, _frame: object) -> None:
    """From now on words go nowhere instead of failing. The kernel and the shell both hang up: once is enough."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    raise SystemExit(128 + number)


class Show:
    """Words for people go to the terminal, or to stderr when a program waits for the JSON on stdout."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._out = sys.stderr if as_json else sys.stdout

    def line(self, text: str) -> None:
        try:
            print(text, file=self._out, flush=True)
        except OSError as gone:
            if gone.errno != errno.EIO:
                raise
            _hang_up(signal.SIGHUP, None)  # the terminal was closed: the signal that says so comes behind

    def result(self, result: dict[str, Any]) -> None:
        if self.as_json:
            print(json.dumps(result), flush=True)
        else:
            width = max(map(len, result))
            self.line("\n".join(f"  {key:<{width}}  {value}" for key, value in result.items()))


class Demo:
    """One run, from the first reading to the comparison."""

    def __init__(self, parts: Parts, show: Show, begun: float, chaos: bool) -> None:
        self._parts, self._show, self._begun, self._chaos = parts, show, begun, chaos
        self._meter = Meter(parts, begun)
        self._kills = 0

    def run(self, seconds: float | None) -> int:
        first = self._wait_for_first_reading()
        started = time.monotonic()
        try:
            self._show.line(f"first reading stored {first:.1f} s after the command; page: {self._meter.page()}")
            self._show.line(
                "Ctrl-C ends the demo and compares the stream with the database; a second one ends it at once."
            )
            self._live(started, seconds)
        except KeyboardInterrupt:
            self._show.line("")  # after the terminal's ^C
        ran = time.monotonic() - started
        return self._compare(ran, first)

    def _wait_for_first_reading(self) -> float:
        """Seconds from the command to the first reading of this run in the database. Raises DemoFailed."""
        begun = time.monotonic()
        deadline, say_at = begun + FIRST_READING_WITHIN_S, begun + SILENT_AT_MOST_S
        while time.monotonic() < deadline:
            self._parts.check()
            if time.monotonic() > say_at:
                self._show.line(f"no reading is stored yet: {self._meter.line(time.monotonic() - begun).strip()}")
                say_at += SILENT_AT_MOST_S
            at = self._meter.first_stored_at()
            if at is not None:
                return at - self._begun
            time.sleep(0.02)
        raise DemoFailed(
            f"no reading was stored within {FIRST_READING_WITHIN_S:.0f} s; the gateway's last words:\n{self._parts.words('gateway')}"
        )

    def _live(self, started: float, seconds: float | None) -> None:
        next_kill = started + CHAOS_EVERY_S
        tick = started
        while seconds is None or time.monotonic() - started < seconds:
            tick += 1
            time.sleep(max(0.0, tick - time.monotonic()))
            self._parts.check()
            self._show.line(self._meter.line(time.monotonic() - started))
            if self._chaos and time.monotonic() >= next_kill:
                next_kill += CHAOS_EVERY_S
                self._kill_one()

    def _kill_one(self) -> None:
        victim = self._meter.random_victim()
        if victim is None:
            return
        path, pid = victim
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._kills += 1
        self._show.line(f"chaos: kill -9 {pid} ({path})")

    def _compare(self, ran: float, first: float) -> int:
        from streamforge.demo.compare import NotCompared, compare

        self._show.line(
            "ending: the plant falls silent, everything drains, then the stream is compared with the database"
        )
        self._parts.stop_plant()
        self._meter.wait_until_drained(DRAIN_STUCK_S, DRAIN_MOST_S)
        try:
            found = compare(
                self._meter.bootstrap(), self._parts.partitions(), self._parts.historian.dsn, int(self._begun * 1000)
            )
        except NotCompared as failed:
            raise DemoFailed(f"the comparison could not be made: {failed}") from None
        latency = self._meter.latency_ms()
        result = {
            "seconds": round(ran, 1),
            **found.counts(),
            "missing": found.missing,
            "doubled": found.doubled,
            "latency_ms": latency,
            "restarts": self._meter.restarts(),
            "first_reading_s": round(first, 2),
        }
        for sentence in found.sentences[:20]:
            self._show.line(sentence)
        self._show.result(result)
        return 0 if found.missing == 0 and found.doubled == 0 else 1
