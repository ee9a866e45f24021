"""One broker over one place: format if new, safe start unless the last stop was orderly, start, watch until it answers, stop.

Used by the broker actor, by the training of the AOT cache and by the tests. Not responsible for claiming the data (claim.py), for
watching it afterwards, or for reporting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.broker import metadata_log as broker_metadata_log
from stream.broker import process as broker_process
from stream.broker import settings as broker_settings
from stream.broker.claim import refuse_taken_port
from stream.broker.data import Data, DataError
from stream.broker.fencing import fenced
from stream.broker.java import Java, options
from stream.broker.process import ChildProcess
from stream.broker.reasons import explain
from stream.broker.repair import METADATA, Repair
from stream.broker.settings import Place
from stream.broker.wire import answers
from stream.parts import Jars

FORMAT_WITHIN_S = 60
SAFE_START_WITHIN_S = 30
START_WITHIN_S = 300
"""Long: one that recovers a large log after a power cut is slow, not hung, and a kill would have it begin again."""
ASK_EVERY_S = 0.02


class BrokerDied(Exception):
    """The broker ended, or did not come up; the message says why and what helps."""


@dataclass(frozen=True)
class Started:
    """How a start went."""

    seconds: float
    safe_start_s: float | None
    """How long the safe start took; None when the broker was fenced already, as after an orderly stop."""
    repaired: tuple[str, ...]
    """Files that were damaged and made again, a sentence for each."""


def _no_line(_: str) -> None:
    return None


class Broker:
    """`start` once, then either `exited` ends or `stop` is called. `on_line` sees the console: warnings, errors and the lines named in broker_settings."""

    def __init__(
        self,
        place: Place,
        java: Java,
        jars: Jars,
        java_options: Sequence[str] = (),
        *,
        durability: str = "synced",
        heap: int = 384 * 2**20,
        stop_within_s: float = 20,
        inherit: Sequence[int] = (),
        on_line: Callable[[str], None] = _no_line,
        on_pid: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.place = place
        self.data = Data(place)
        self._java, self._jars, self._java_options = java, jars, list(java_options)
        self._durability, self._heap, self._stop_within_s = durability, heap, stop_within_s
        self._inherit, self._on_line, self._on_pid = inherit, on_line, on_pid
        self.child: ChildProcess | None = None

    @property
    def console(self) -> Sequence[str]:
        return self.child.tail if self.child else ()

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child and self.child.running else None

    async def start(self) -> Started:
        """Up to the first answer. DataError, Claimed or BrokerDied say why not; then nothing is left running."""
        began = time.monotonic()
        try:
            verdict = self.data.examine()
            refuse_taken_port(self.place.port)
            refuse_taken_port(self.place.controller_port, " (the one after `stream.port`, for Kafka's controller)")
            self._write_files()
            repaired = await asyncio.to_thread(self._heal, verdict) if verdict != "format" else ()
            if verdict == "format":
                await self._format()
            safe_start_s = await self._safe_start() if not fenced(self._metadata) else None
            self.child = await self._run("kafka.Kafka", str(self._file("server.properties")), extra=self._java_options)
            await self._until_answering(self.child)
        except BaseException:
            await self.kill()
            raise
        self.data.remember()
        self.data.mark_used()
        return Started(time.monotonic() - began, safe_start_s, repaired)

    async def stop(self) -> bool:
        """SIGTERM, wait, SIGKILL; was it orderly?"""
        if not self.child:
            return True
        code = await self.child.stop(self._stop_within_s)
        return code in (0, 143) and (self.place.data / ".kafka_cleanshutdown").exists() and fenced(self._metadata)

    async def kill(self) -> None:
        if self.child:
            self.child.kill()
            await asyncio.wait({self.child.exited})

    def death(self) -> BrokerDied:
        """Why it is gone; only when `exited` is done."""
        assert self.child
        return BrokerDied(explain(self.child.exited.result(), list(self.child.tail)))

    def _file(self, name: str) -> Path:
        return self.place.root / name

    def _write_files(self) -> None:
        if "," in str(self.place.data):
            raise DataError(
                f"{self.place.data} has a ',' in its name, which Kafka takes for the end of the name; choose another data directory"
            )
        self._file("server.properties").write_text(broker_settings.broker_properties(self.place, self._durability))
        self._file("controller.properties").write_text(broker_settings.controller_properties(self.place))
        self._file("log4j2.properties").write_text(broker_settings.log_properties(self.place.logs))

    async def _run(self, main: str, *arguments: str, extra: Sequence[str] = ()) -> ChildProcess:
        java_options = options(self._java, self._heap, self.place.logs, self._file("log4j2.properties"))
        child = await broker_process.start(
            [self._java.path, *java_options, *extra, "-cp", self._jars.class_path, main, *arguments],
            self._on_line,
            cwd=self.place.root,
            keep=self._inherit,
        )
        self._on_pid(child.pid)
        return child

    @property
    def _metadata(self) -> Path:
        return self.place.data / METADATA

    @property
    def _repair(self) -> Repair:
        return Repair(self.place.data, self._file("damaged"), self._file("formatted"))

    def _heal(self, verdict: str) -> tuple[str, ...]:
        """Make small damaged files again; DataError for what cannot be, before Kafka makes it worse."""
        done = self._repair.run()
        if verdict == "repair":
            self.data.repair()
            done.append("meta.properties was damaged and written anew")
        broker_metadata_log.check(self._metadata, used=self.data.used())
        return tuple(done)

    async def _format(self) -> None:
        self.data.discard_half_format()
        identity = self.data.claim_identity()
        settings = str(self._file("server.properties"))
        child = await self._run(
            "kafka.tools.StorageTool", "format", "--standalone", "-t", identity.cluster, "-c", settings
        )
        self.child = child
        done, _ = await asyncio.wait({child.exited}, timeout=FORMAT_WITHIN_S)
        if not done:
            raise BrokerDied(f"Formatting {self.place.data} did not end within {FORMAT_WITHIN_S} s")
        if child.exited.result() != 0:
            raise DataError(
                f"{self.place.data} could not be formatted. {explain(child.exited.result(), list(child.tail))}"
            )
        self.data.remember()
        self._repair.keep_copies()

    async def _safe_start(self) -> float:
        """The controller alone until its log has the dead broker fenced: then the broker leads nothing before its port is open (DESIGN 6)."""
        began = time.monotonic()
        java_options = [option for option in self._java_options if "AOTCacheOutput" not in option]
        self.child = child = await self._run(
            "kafka.Kafka", str(self._file("controller.properties")), extra=java_options
        )
        while not await asyncio.to_thread(fenced, self._metadata):
            if child.exited.done():
                raise self.death()
            if time.monotonic() - began > SAFE_START_WITHIN_S:
                raise BrokerDied(
                    f"The controller of the safe start did not fence the broker within {SAFE_START_WITHIN_S} s; see {self.place.logs}/kafka.log"
                )
            await asyncio.wait({child.exited}, timeout=ASK_EVERY_S)
        await child.stop(self._stop_within_s)
        return time.monotonic() - began

    async def _until_answering(self, child: ChildProcess) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        problem: str | None = "not asked"
        while problem:
            if child.exited.done():
                raise self.death()
            if time.monotonic() > deadline:
                raise BrokerDied(
                    f"The broker did not answer on port {self.place.port} within {START_WITHIN_S} s ({problem}); see {self.place.logs}/kafka.log"
                )
            await asyncio.wait({child.exited}, timeout=ASK_EVERY_S)
            problem = await answers("127.0.0.1", self.place.port, 5)
