"""The daemon with real processes: whatever is killed, nothing lives on; it stops in order; it tells systemd the truth."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisors.spec import Strategy, supervisor
from tests.kit.supervised import Supervised, press, still_alive, supervised

LINE = supervisor("line", Strategy.ONE, press("a"), press("b"), heartbeat_s=5.0, backoff_first_s=0.02)


def test_sigterm_stops_right_to_left_and_leaves_nothing() -> None:
    with supervised(LINE, press("c", config={"stop_takes": 0.2})) as gateway:
        gateway.running()
        everything = gateway.processes()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        assert gateway.words("stopped") == ["c", "b", "a"]
        assert still_alive(everything) == []


def test_a_stopped_child_cannot_hold_up_the_end() -> None:
    with supervised(press("a", stop_within_s=0.5), press("b", stop_within_s=0.5)) as gateway:
        gateway.running()
        everything = gateway.processes()
        os.kill(gateway.node("b")["pid"], signal.SIGSTOP)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        assert gateway.words("stopped") == ["a"]
        assert still_alive(everything) == []


def test_what_a_worker_leaves_behind_ends_with_the_daemon() -> None:
    with supervised(press("a", "litter")) as gateway:
        gateway.running()
        os.kill(gateway.node("a")["pid"], signal.SIGKILL)
        gateway.until("a", lambda n: n["restarts_total"] == 1 and n["state"] == "running")
        everything = gateway.processes()
        assert [gateway.comm(each) for each in everything].count("sleep") == 2
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        assert still_alive(everything) == []


@pytest.mark.parametrize("victim", ["daemon", "admin", "root"])
def test_nothing_survives_the_death_of_what_is_above_it(victim: str) -> None:
    with supervised(LINE) as gateway:
        gateway.running()
        everything = gateway.processes()
        gateway.named(victim).kill()
        code = gateway.process.wait(30)
        assert code == (-signal.SIGKILL if victim == "daemon" else 1)
        gateway.wait_for(lambda: not still_alive(everything))


def test_the_death_of_thespians_logger_changes_nothing() -> None:
    with supervised(LINE) as gateway:
        gateway.running()
        a, logger = gateway.node("line/a")["pid"], gateway.named("logger")
        logger.kill()
        gateway.wait_for(
            lambda: any(gateway.comm(each) == "sf:logger" for each in gateway.processes() if each.pid != logger.pid)
        )
        assert gateway.order("restart", "b")["ok"]
        assert gateway.node("line/a")["pid"] == a
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0


def test_a_root_that_does_not_answer_is_given_up() -> None:
    with supervised(LINE, heartbeat_s=2.0) as gateway:
        gateway.running()
        everything = gateway.processes()
        gateway.named("root").suspend()
        assert gateway.process.wait(30) == 1
        assert still_alive(everything) == []
        assert "the root supervisor has not answered for" in gateway.log_end()


def test_a_second_daemon_is_refused_and_the_first_unharmed() -> None:
    with supervised(press("a")) as gateway:
        gateway.running()
        second = gateway.run()
        assert second.wait(30) == 6
        assert f"process {gateway.process.pid} runs StreamForge on it" in gateway.log_end()
        assert gateway.order("restart", "a")["ok"]


def test_a_new_daemon_starts_at_once_after_a_kill() -> None:
    with supervised(press("a")) as gateway:
        gateway.running()
        gateway.process.kill()
        gateway.process.wait()
        gateway.process = gateway.run()
        gateway.wait_for(lambda: len(gateway.words("ready")) == 2)
        assert gateway.process.poll() is None
        assert gateway.order("restart", "a")["ok"], "it serves as the first one did"


def test_nothing_listens_off_loopback() -> None:
    with supervised(LINE) as gateway:
        gateway.running()
        listening = [
            c for each in gateway.processes() for c in each.net_connections("inet") if c.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 6
        assert {c.laddr.ip for c in listening} == {"127.0.0.1"}


def test_a_stranger_on_a_port_is_not_listened_to() -> None:
    """Thespian's own serialisation would run code that a local process sends."""
    with supervised(press("a")) as gateway:
        gateway.running()
        node = gateway.node("a")
        open_ports = psutil.Process(node["pid"]).net_connections("inet")
        port = next(each.laddr.port for each in open_ports if each.status == psutil.CONN_LISTEN)
        mark = gateway.dir / "mark"
        body = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(mark)
        with socket.create_connection(("127.0.0.1", port)) as plug:
            plug.sendall(b"%d>" % len(body) + body)
            plug.settimeout(30)
            plug.recv(100)
        assert gateway.order("restart", "a")["ok"]
        assert not mark.exists()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        listener.settimeout(30)
        yield listener


def _hear(listener: socket.socket, wanted: str) -> list[str]:
    """What was said up to the wanted word."""
    said: list[str] = []
    deadline = time.monotonic() + 30
    while wanted not in said:
        assert time.monotonic() < deadline, said
        said += listener.recv(4096).decode().splitlines()
    return said


def _env(listener: socket.socket) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(listener.getsockname()), "WATCHDOG_USEC": "400000"}


def test_systemd_hears_ready_only_when_everything_has_started(systemd: socket.socket) -> None:
    slow = press("a", "never_ready", start_within_s=0.5, restarts_max=0)
    with supervised(slow, press("b"), env=_env(systemd)) as gateway:
        said = _hear(systemd, "READY=1")
        assert "STATUS=starting" in said
        assert "WATCHDOG=1" in said
        assert gateway.words("ready") == ["b"]
        assert "STATUS=DEGRADED: 2 of 3 components healthy; a: ended 1 times" in " ".join(_hear_more(systemd, said))
        gateway.process.send_signal(signal.SIGTERM)
        _hear(systemd, "STOPPING=1")


def _hear_more(listener: socket.socket, said: list[str]) -> list[str]:
    return said + _hear(listener, "WATCHDOG=1") + _hear(listener, "WATCHDOG=1")


def test_the_watchdog_is_fed_only_while_the_root_answers(systemd: socket.socket) -> None:
    with supervised(press("a"), env=_env(systemd)) as gateway:
        _hear(systemd, "READY=1")
        gateway.named("root").suspend()
        systemd.settimeout(1.0)
        deadline = time.monotonic() + 30
        with pytest.raises(TimeoutError):
            while time.monotonic() < deadline:
                systemd.recv(4096)


def _rollup(gateway: Supervised, key: str) -> int:
    values = [(Path(f"/proc/{each.pid}/smaps_rollup").read_text(), each) for each in gateway.processes()]
    return sum(int(line.split()[1]) for text, _ in values for line in text.splitlines() if line.startswith(key))


def test_twelve_workers_start_fast_and_share_their_memory() -> None:
    with supervised(supervisor("line", Strategy.ONE, *(press(f"p{n}") for n in range(12)))) as gateway:
        gateway.running()
        pss_kb = _rollup(gateway, "Pss:") / len(gateway.processes())
        times = [at for at, _, _, word in gateway.journal() if word == "ready"]
        assert max(times) - min(times) < 6.0, "half a second each: every one has imported for itself"
        assert pss_kb < 15_000
