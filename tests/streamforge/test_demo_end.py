"""How a demo ends: by Ctrl-C in a real terminal, by a closed terminal, by kill -9; nobody is left, and the next one goes on in its data."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from streamforge.demo import run
from tests.kit.waiting import ASK_EVERY_S

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo"), pytest.mark.timeout(300)]
LIVE = r"\n +3 s .*restarts"
CTRL_C = b"\x03"


class Terminal:
    """A demo as the foreground job of a terminal of its own."""

    def __init__(self, data):
        self.said = ""
        self._keys, job = pty.openpty()
        command = [sys.executable, "-m", "streamforge", "demo", "--page", "0", "--data", str(data)]
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=job, stdout=job, stderr=job, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "STREAMFORGE_STARTED": str(time.time())},
        )  # fmt: skip
        os.close(job)
        self.pid = self._process.pid

    def until(self, pattern, seconds=100):
        """Read until it is said."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            assert time.monotonic() < deadline, self.said
            assert self._read(1.0), f"ended without {pattern!r}: {self.said}"

    def _read(self, seconds):
        if not select.select([self._keys], [], [], seconds)[0]:
            return True
        try:
            text = os.read(self._keys, 4096)
        except OSError:
            return False
        self.said += text.decode().replace("\r", "")
        return bool(text)

    def family(self):
        return psutil.Process(self.pid).children(recursive=True)

    def type(self, keys):
        os.write(self._keys, keys)

    def close(self):
        os.close(self._keys)

    def kill(self):
        """What a test that failed has left: the next one needs its data."""
        if self._process.poll() is None:
            family = self.family()
            self._process.kill()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()

    def ended(self, seconds):
        """The exit code, as a shell would show it."""
        deadline = time.monotonic() + seconds
        while True:
            code = self._process.poll()
            if code is not None:
                return code if code >= 0 else 128 - code
            assert time.monotonic() < deadline, self.said
            try:
                self._read(0.1)
            except OSError:
                time.sleep(ASK_EVERY_S)  # the terminal is closed, the process not gone yet


@pytest.fixture(scope="module")
def data():
    with tempfile.TemporaryDirectory(prefix="sf-end-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "demo"


@pytest.fixture
def start(data):
    """Starts demos over the same data, one after the other."""
    started = []

    def one():
        started.append(Terminal(data))
        return started[-1]

    yield one
    for demo in started:
        demo.kill()


def none_left(family, seconds):
    _, left = psutil.wait_procs(family, timeout=seconds)
    assert [p for p in left if p.status() != psutil.STATUS_ZOMBIE] == []


def test_kill_minus_nine_leaves_nobody_and_ctrl_c_of_the_next_finds_nothing_missing(start):
    killed = start()
    killed.until(LIVE)
    family = killed.family()
    assert len(family) > 10
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.ended(30) == 137
    none_left(family, 30)
    killed.close()

    demo = start()
    demo.until(LIVE)
    family = demo.family()
    demo.type(CTRL_C)
    assert demo.ended(100) == 0
    assert re.search(r"missing +0\n +doubled +0\n", demo.said), demo.said
    assert demo.said.count("Traceback") == 0
    none_left(family, 10)
    demo.close()


def test_a_second_ctrl_c_ends_it_without_the_comparison(start):
    demo = start()
    demo.until("first reading stored")
    family = demo.family()
    demo.type(CTRL_C)
    demo.until("ending")
    demo.type(CTRL_C)
    assert demo.ended(60) == 130
    assert "ended at once, without the comparison" in demo.said
    assert "Traceback" not in demo.said
    none_left(family, 10)
    demo.close()


def test_a_closed_terminal_ends_it_in_order(start, data):
    demo = start()
    demo.until("first reading stored")
    family = demo.family()
    demo.close()
    assert demo.ended(60) == 129
    none_left(family, 10)
    assert "stopped in order" in (data / "gateway.log").read_text()
    assert not (data / "postgres" / "postmaster.pid").exists()


def test_words_to_a_terminal_that_is_closed_already_end_it_as_its_signal_does(monkeypatch):
    """The kernel refuses them before Python has heard the signal."""
    keys, job = pty.openpty()
    show = run.Show(as_json=False)
    show._out = os.fdopen(job, "w")
    os.close(keys)
    monkeypatch.setattr(run.os, "dup2", lambda *_: None)  # pytest's own output goes on
    heard = signal.getsignal(signal.SIGHUP)
    try:
        with pytest.raises(SystemExit) as ended:
            show.line("a line")
        assert ended.value.code == 129
    finally:
        signal.signal(signal.SIGHUP, heard)
        with contextlib.suppress(OSError):
            show._out.close()
