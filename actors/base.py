"""Thespian, made fit for a supervision tree; the only file that knows it. Importing this file before anything else of Thespian is what
makes the work-arounds hold (they are listed, with what happens without them, where they are made).

`Actor` is the base of supervisors and workers, `System` the daemon's handle. Neither knows what a supervisor does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import logging
import os
import pickle
import re
import secrets
import socket
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess, current_process
from typing import Any

# Read by Thespian when it is imported. One child that does not read would block its parent after 20 messages, for 5 minutes.
os.environ["THESPIAN_BASE_IPADDR"] = "127.0.0.1"
os.environ["THESPIAN_MAX_PENDING_TRANSMITS"] = "5000"
os.environ["THESPIAN_TRANSMIT_TIMEOUT_PERIOD"] = "00:10"
os.environ["THESPLOG_FILE_MAXSIZE"] = "0"

import thespian.actors as thespian
from thespian.system import multiprocCommon
from thespian.system.transport import IPBase, TCPTransport, streamBuffer

from actors import guard, logs
from actors.messages import Crashed
from schemas.faults import CannotWork, Fault

Address = Any
"""An actor's address as Thespian gives it: to be kept and sent, never looked into."""

TRACE_LINES = 15
WAKE_MOST_S = 86_400.0
"""Thespian hands the time until the next wake-up to epoll, which takes 24 days at most; with more its actor ends without a word."""
_ROOT_LOGGER, _LOGGERS = logging.root, logging.Logger.manager


class Sealed:
    """The one place of the gateway with pickle, which is code for whoever may write it. Thespian's transport speaks nothing else: its own
    envelopes travel in it, and it reads whatever a local process writes to its ports.

    Three things bound it. Each message carries a code made with a key of 32 random bytes, which only the processes forked from this daemon
    have and no disk; without it a message is refused before anything of it is read. So no foreign actor system is ever joined either. The
    ports are on loopback. And what we send is a dataclass of actors/messages.py with plain values in it: readings go through the stream
    and never this way. On disk and in the stream there is no pickle.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def dumps(self, message: object) -> bytes:
        body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        return self._code(body) + body

    def loads(self, data: bytes) -> Any:
        code, body = data[:16], data[16:]
        if not hmac.compare_digest(code, self._code(body)):
            raise ValueError("a message that does not come from this gateway")
        return pickle.loads(body)  # noqa: S301 - the code above proves who wrote it

    def _code(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=16, key=self._key).digest()


class _Manager(multiprocCommon.MultiProcManager):  # type: ignore[misc]
    """The process around one actor."""

    def run(self) -> None:
        guard.die_with(current_process()._parent_pid)  # type: ignore[attr-defined]
        guard.default_signals()
        _own_logging()
        guard.name_process("actor")
        code = guard.EXIT_CRASH
        try:
            super().run()
            code = getattr(self.actorInst, "exit_code", guard.EXIT_CRASH)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else guard.EXIT_CRASH
        finally:
            # Not the interpreter's own way out: it would wait for the threads of libraries.
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(code)

    def childDied(self) -> bool:  # noqa: N802 - Thespian's name
        """On SIGCHLD. Thespian's own notices come once, twice, or not at all for a child that never connected."""
        super().childDied()
        if self.actorInst is not None:
            self.actorInst.guarded(self.actorInst.child_died)
        return True


class _Admin(multiprocCommon.MultiProcAdmin):  # type: ignore[misc]
    """Thespian's administrator: it starts the root and nothing else. `logDefs` is missing in Thespian, so that with its logger
    process it ended itself."""

    logDefs: Any = {}  # noqa: N815, RUF012 - Thespian's name; never changed
    report_to: int = -1
    daemon: int = -1

    def run(self) -> None:
        guard.die_with_reaper(self.daemon)
        guard.default_signals()
        guard.name_process("admin")
        _own_logging()
        os.write(self.report_to, b"%d" % os.getpid())
        os.close(self.report_to)
        super().run()
        os._exit(0)

    def h_LoggerConnected(self, envelope: Any) -> Any:  # noqa: N802 - Thespian's name
        result = super().h_LoggerConnected(envelope)
        _own_logging()
        return result


_start_logger = multiprocCommon.startupASLogger


def _guarded_logger(*arguments: Any) -> None:
    """Thespian's logger process, which its administrator cannot do without. Nothing is logged through it."""
    guard.die_with(current_process()._parent_pid)  # type: ignore[attr-defined]
    guard.default_signals()
    guard.name_process("logger")
    _start_logger(*arguments)


def _own_logging() -> None:
    """Thespian puts a forwarder in place of the root logger; put back what the daemon configured."""
    logging.root = logging.Logger.root = _ROOT_LOGGER
    logging.Logger.manager = _LOGGERS


def _work_around() -> None:
    # Listeners on loopback only: Thespian binds to every address, whatever THESPIAN_BASE_IPADDR says.
    IPBase.IPActorAddress.bindArgs = property(lambda address: (("127.0.0.1", address.bindname[1]),))
    sealed = Sealed()
    TCPTransport.serializer = sealed
    TCPTransport.ackMsg = streamBuffer.toSendBuffer(streamBuffer.ackPacket, sealed.dumps)
    TCPTransport.ackDataErrMsg = streamBuffer.toSendBuffer(streamBuffer.ackDataErrPacket, sealed.dumps)
    multiprocCommon.MultiProcManager = _Manager
    multiprocCommon.MultiProcAdmin = _Admin
    multiprocCommon.startupASLogger = _guarded_logger


_work_around()


class Actor(thespian.Actor):  # type: ignore[misc]
    """One mailbox in one process. A message of class `WatchTree` goes to the method `on_watch_tree(message, sender)`.

    An error in a handler is reported to the parent in words and ends the process. Thespian would give the message a second try and then
    go on as if nothing had happened.
    """

    parent: Address = None
    name = "?"
    incarnation = 0
    exit_code = 0
    watched: list[int]
    """File descriptors that wake the mailbox when readable (`on_watch_message`)."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = []

    def receiveMessage(self, message: Any, sender: Address) -> Any:  # noqa: N802 - Thespian's name
        handler: Callable[[Any, Address], None] | None = getattr(self, _handler_of(type(message).__name__), None)
        if handler is not None:
            self.guarded(lambda: handler(message, sender))
        # The watch lasts for one return only, and must be there after every message.
        return thespian.ThespianWatch(self.watched) if self.watched else None

    def guarded(self, handler: Callable[[], None]) -> None:
        """Call it, unless this actor is on its way out; its error is this actor's crash."""
        if self.exit_code:
            return
        try:
            handler()
        except Exception as error:
            self.crash(traceback.format_exc(), error)

    def child_died(self) -> None:
        """A process forked from here has ended; which, its handle tells."""

    def crash(self, trace: str, error: BaseException | None = None) -> None:
        """Tell the parent why, and end with EXIT_CRASH once it has read it."""
        self.exit_code = guard.EXIT_CRASH
        hopeless, next_step = isinstance(error, CannotWork), error.next_step if isinstance(error, Fault) else None
        if hopeless:
            logs.get().error("cannot work", reason=str(error), next_step=next_step)
        else:
            logs.get().error("crashed", trace=trace)
        if self.parent is not None:
            words = str(error) if hopeless else "\n".join(trace.strip().splitlines()[-TRACE_LINES:])
            self.send(self.parent, Crashed(self.name, self.incarnation, words, hopeless, next_step))
        self.end()

    def end(self) -> None:
        """Leave once everything sent has arrived. Children are not asked: who ends has stopped them or they die with it."""
        self.send(self.myAddress, thespian.ActorExitRequest(recursive=False))

    def wake(self, after_s: float, payload: object = None) -> None:
        """`on_wakeup_message` after so long, or after WAKE_MOST_S: look at the clock then; `message.payload` tells which."""
        self.wakeupAfter(timedelta(seconds=min(max(0.0, after_s), WAKE_MOST_S)), payload)

    def fork(self, actor: type[Actor]) -> tuple[Address, BaseProcess]:
        """Start a child in a process of its own. Its handle tells pid, life and exit code."""
        guard.forget_lookups()
        address = self.createActor(actor)
        return address, self._myRef._child_procs[-1].childProc


@functools.cache
def _handler_of(message: str) -> str:
    return "on" + re.sub(r"(?=[A-Z])", "_", message).lower()


class NoAnswer(Exception):
    """The actor asked did not answer in time, or cannot be reached."""


class SystemFailed(Exception):
    """Thespian could not do what was asked; the text is its own."""


class System:
    """The actor system of one daemon, on a free loopback port of its own. At most one in a process. Raises SystemFailed."""

    def __init__(self, tries: int = 3) -> None:
        guard.adopt_orphans()
        reading, _Admin.report_to = os.pipe()
        _Admin.daemon = os.getpid()
        for left in reversed(range(tries)):
            try:
                self._system = thespian.ActorSystem(
                    "multiprocTCPBase", {"Admin Port": _free_port(), "Convention Address.IPv4": ""}
                )
                break
            except thespian.ActorSystemException as error:
                # Somebody took the port between the look and the use.
                if not left:
                    raise SystemFailed(f"the actor system does not start: {error}") from error
        _own_logging()
        self.admin_pid = int(os.read(reading, 32))
        os.close(reading)
        os.close(_Admin.report_to)

    def start(self, actor: type[Actor]) -> Address:
        """Raises SystemFailed."""
        try:
            return self._system.createActor(actor)
        except thespian.ActorSystemException as error:
            raise SystemFailed(f"{actor.__name__} could not be started: {error}") from error

    def tell(self, address: Address, message: object) -> None:
        """Returns when the message has arrived. Raises SystemFailed, after 10 s at most."""
        try:
            self._system.tell(address, message)
        except thespian.ActorSystemException as error:
            raise SystemFailed(f"{type(message).__name__} did not arrive: {error}") from error

    def ask(self, address: Address, question: Any, timeout_s: float) -> Any:
        """The answer with the question's `request`; late answers to earlier questions are dropped. Raises NoAnswer."""
        deadline = time.monotonic() + timeout_s
        try:
            answer = self._system.ask(address, question, timeout_s)
            while getattr(answer, "request", None) != question.request:
                left = deadline - time.monotonic()
                if answer is None or left <= 0:
                    raise NoAnswer(f"no answer within {timeout_s:g} s")
                answer = self._system.listen(timedelta(seconds=left))
        except thespian.ActorSystemException as error:
            raise NoAnswer(str(error)) from error
        return answer

    def shutdown(self) -> None:
        """Ends the administrator and what is still under it; gives up after 10 s if something there does not react."""
        self._system.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
