"""The three verbs of a sink around a session: a thread for the blocking calls, a deadline for each, our errors for PostgreSQL's.

When a deadline passes or the caller is cancelled the socket is shut, which ends the call in the thread. Whether its transaction
was committed is then not known here, and need not be: the offsets stored with the data say so at the next connect.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a small name

from sinks.contract import Batch, NeedsPerson, NotConnected, Offsets, Origin, RefusedRecord, Sink
from sinks.postgres.config import PostgresConfig
from sinks.postgres.dial import dial, within_s
from sinks.postgres.errors import SILENT, SLOW, Meaning, meaning, next_step, sentence
from sinks.postgres.pace import Pace
from sinks.postgres.session import Session
from sinks.postgres.waits import Hindrance, hindrance

T = TypeVar("T")

CLOSE_WITHIN = 2.0
ASK_EVERY_S = 15.0
FIND_WITHIN_S = 2.5
"""For finding out what the sink waited for; with `CLOSE_WITHIN` less than what the caller grants above the deadline."""
CONNECTING = "connecting"
WAITED = ("55P03", "57014")
"""Codes with which the database gave up waiting: lock_timeout, statement_timeout."""


class PostgresSink(Sink):
    def __init__(self, config: PostgresConfig, origin: Origin) -> None:
        self._config, self._origin = config, origin
        self._pace = Pace()
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._call: asyncio.Future[object] | None = None
        self._asked_at = 0.0

    async def connect(self) -> Offsets:
        await self.close()
        self._connection = await self._within(
            within_s(self._config), CONNECTING, lambda: dial(self._config, self._origin)
        )
        session = Session(self._connection, self._config, self._origin, self._pace)
        offsets = await self._within(self._config.connect_timeout, "preparing the tables", session.start)
        self._session = session
        return offsets

    async def write(self, batch: Batch, offsets: Offsets) -> list[RefusedRecord]:
        session = self._connected()
        return await self._within(self._config.write_timeout, "writing", lambda: session.write(batch, offsets))

    async def idle(self) -> None:
        """A server that ends a connection says so on it, which costs nothing to see; one that hangs is found by asking."""
        session, now = self._connected(), time.monotonic()
        if session.has_news() or now - self._asked_at > ASK_EVERY_S:
            await self._within(self._config.connect_timeout, "answering a question while idle", session.ask)
            self._asked_at = now

    async def unsent(self) -> list[RefusedRecord]:
        return await self._within(self._config.write_timeout, "reading refused records", self._connected().unsent)

    async def sent(self, refused: list[RefusedRecord]) -> None:
        session = self._connected()
        await self._within(self._config.write_timeout, "removing sent dead letters", lambda: session.forget(refused))

    async def close(self) -> None:
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None and self._call is not None and self._busy():
            self._shut(connection)
            await asyncio.wait([self._call], timeout=CLOSE_WITHIN)
        if self._busy():
            return
        if connection is not None:
            connection.close()
        if self._thread is not None:
            self._thread.shutdown(wait=False)
        self._thread = self._call = None

    def _connected(self) -> Session:
        if self._session is None:
            raise NotConnected(f"database {self._config.place()}: not connected")
        return self._session

    async def _within(self, seconds: float, what: str, work: Callable[[], T]) -> T:
        """Do blocking work in the thread. On any error the session is over, and the error is one of ours."""
        place = self._config.place()
        if self._busy():
            raise NotConnected(
                f"database {place}: an earlier attempt still hangs, perhaps in looking up the host's name"
            )
        self._thread = self._thread or ThreadPoolExecutor(1, "postgres")
        call = asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._call = call  # type: ignore[assignment]  # only asked whether it is done
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(call)
        except TimeoutError:
            await self._give_up()
            told = f"database {place}: {what} took longer than {seconds:g} s"
            raise await self._because(told, SILENT if what == CONNECTING else SLOW, what != CONNECTING) from None
        except psycopg2.Error as error:
            await self._give_up()
            if meaning(error) is Meaning.WAIT:
                raise await self._because(sentence(place, error), next_step(error), error.pgcode in WAITED) from error
            raise NeedsPerson(
                sentence(place, error)
            ) from error  # Nor can a refused row be the reason, where no row is written.
        except BaseException:
            await self._give_up()
            raise

    async def _because(self, told: str, next_step: str | None, look: bool) -> NotConnected:
        """The error with what was waited for, where the database can be asked for it."""
        found: Hindrance | None = None
        if look:
            with suppress(TimeoutError, psycopg2.Error):
                async with asyncio.timeout(FIND_WITHIN_S):
                    found = await asyncio.to_thread(hindrance, self._config, self._origin)
        return NotConnected(f"{told}: {found.words}", found.next_step) if found else NotConnected(told, next_step)

    async def _give_up(self) -> None:
        if self._call is not None and not self._call.done():
            self._call.add_done_callback(_swallow)
        await self.close()

    def _busy(self) -> bool:
        """Whether a call is still in the thread: one whose deadline passed, as long as it hangs."""
        return self._call is not None and not self._call.done()

    def _shut(self, connection: Connection) -> None:
        """End the socket under a call that may be waiting on it; closing the connection itself would wait for the call."""
        with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as under:
            under.shutdown(socket.SHUT_RDWR)


def _swallow(call: asyncio.Future[object]) -> None:
    """What an abandoned call ended with. A connection that came up too late is closed."""
    if not call.cancelled() and call.exception() is None and isinstance(late := call.result(), Connection):
        late.close()
