"""What every process of the gateway does first, so that it dies when it must and says why. Linux only; no Thespian in here.

Thespian catches every signal in Python, which turns a segmentation fault into an endless loop, and leaves children behind when
their parent is killed. Here faults end the process with a stack on stderr, and a child follows its parent at once.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

EXIT_CRASH = 70
"""EX_SOFTWARE of sysexits.h: an error in our own code, reported before the end."""
EXIT_ORPHAN = 71

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_MADV_DONTNEED = 4
_LIBC = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int | bytes) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Get this signal as soon as the process `parent` ends; if it has ended already, end now."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHAN)


def die_with_reaper(reaper: int, within_s: float = 5.0) -> None:
    """As `die_with`, for a process that forked itself away from `reaper` and is handed back to it: wait for that first."""
    deadline = time.monotonic() + within_s
    while os.getppid() != reaper and time.monotonic() < deadline:
        time.sleep(0.001)
    die_with(reaper)


def adopt_orphans() -> None:
    """Let every descendant that loses its parent become this process's child, so that none can get away unseen."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def give_memory_back() -> None:
    """After work that needed much and does not come again, as importing: what is free in glibc's heap, and the code of libraries.

    Most of a library's code runs when it is imported and never again; what is needed after all is mapped again from the page cache.
    """
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
    for begin, end in _unwritten_files():
        _LIBC.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


def forget_lookups() -> None:
    """Before forks: empty the cache in which CPython keeps where an attribute was found.

    A child's new entries would each write to the name they push out, a string somewhere in the memory that all share: 0.7 MB a process.
    From 3.12 on, uses of a name are not counted, and nothing is written.
    """
    if sys.version_info < (3, 12):
        sys._clear_type_cache()


def _unwritten_files() -> list[tuple[int, int]]:
    """Mappings that hold nothing but what stands in their files: read-only and without a page of our own (proc(5), smaps)."""
    found, place = [], None
    for line in Path("/proc/self/smaps").read_text(errors="replace").splitlines():
        words = line.split()
        if line.startswith("Anonymous:") and place is not None and words[1] == "0":
            found.append(place)
        elif not words[0].endswith(":"):
            begin, end = (int(address, 16) for address in words[0].split("-"))
            is_file = len(words) > 5 and words[5].startswith("/")
            place = (begin, end) if is_file and words[1] in {"r--p", "r-xp"} else None
    return found


def name_process(name: str) -> None:
    """Show `sf:NAME` in ps and top; the kernel keeps 15 characters."""
    _prctl(_PR_SET_NAME, f"sf:{name}".encode()[:15])


def default_signals() -> None:
    """Faults and SIGTERM end the process at once; SIGUSR1 writes the stacks of all threads; the rest of the usual ones are ignored.

    Orders to stop come as messages. Nothing is set to SIG_IGN, because that would be passed on to a JVM started from here.
    """
    for number in (
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGTERM,
        signal.SIGQUIT,
    ):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, _ignore)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _ignore(_number: int, _frame: object) -> None:
    return None


def in_words(exitcode: int) -> str:
    """How a process ended, from multiprocessing's exit code (negative: the signal)."""
    if exitcode == 0:
        return "finished"
    if exitcode > 0:
        return f"exit code {exitcode}"
    try:
        return f"killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"killed by signal {-exitcode}"


def alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits for its parent to take notice does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
