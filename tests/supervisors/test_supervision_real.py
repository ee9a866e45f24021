"""Supervision with real processes: every kind of death and of silence, and what the neighbours notice of it: nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from control import view
from supervisors.spec import Strategy, WhenExhausted, supervisor, worker
from tests.kit.supervised import Supervised, press, still_alive, supervised

BACK_WITHIN_S = 4.0
"""Less than the heartbeat of these workers: the death itself is what is noticed."""


def _next_pid(gateway: Supervised, path: str, before: int) -> int:
    node = gateway.until(path, lambda n: n["state"] == "running" and n["pid"] != before)
    return int(node["pid"])


def test_a_killed_worker_is_back_at_once_and_its_neighbour_does_not_notice() -> None:
    with supervised(press("a"), press("b")) as gateway:
        gateway.running()
        a, b = gateway.node("a")["pid"], gateway.node("b")["pid"]
        killed_at = time.monotonic()
        os.kill(a, signal.SIGKILL)
        again = _next_pid(gateway, "a", a)
        ready_at = next(at for at, _, pid, word in gateway.journal() if pid == again and word == "ready")
        node = gateway.node("a")
        assert ready_at - killed_at < BACK_WITHIN_S
        assert (node["restarts"], node["restarts_total"], node["last_exit"]) == (1, 1, "killed by SIGKILL")
        assert gateway.node("b")["pid"] == b


def test_a_stopped_worker_is_found_hung_and_killed_while_the_tree_goes_on_answering() -> None:
    with supervised(press("a", heartbeat_s=0.6), press("b")) as gateway:
        gateway.running()
        a = gateway.node("a")["pid"]
        os.kill(a, signal.SIGSTOP)
        answers = 0
        while gateway.node("a")["pid"] == a:
            gateway.order("restart", "nobody")
            answers += 1
        assert answers > 3
        _next_pid(gateway, "a", a)
        assert gateway.node("a")["last_exit"] == "hung: no answer for 0.6 s, killed by SIGKILL"


def test_a_loop_that_is_stuck_counts_as_hung() -> None:
    with supervised(press("a", "wedge", restarts_max=0, heartbeat_s=0.6)) as gateway:
        node = gateway.until("a", lambda n: n["state"] == "failed")
        assert "hung" in node["reason"]


def test_a_segmentation_fault_ends_the_process_and_is_named() -> None:
    with supervised(press("a", "segfault", restarts_max=1)) as gateway:
        node = gateway.until("a", lambda n: n["state"] == "failed")
        assert node["last_exit"] == "killed by SIGSEGV"
        assert len({pid for _, _, pid, _ in gateway.journal()}) == 2


def test_a_hopeless_worker_is_parked_alone_and_released_by_a_person() -> None:
    with supervised(supervisor("adapters", Strategy.ONE, press("a", "raise", restarts_max=2), press("b"))) as gateway:
        gateway.running()
        node = gateway.until("adapters/a", lambda n: n["state"] == "failed")
        assert node["status"] == "FAILED"
        assert node["reason"] == "ended 3 times within 300 s, the last time: RuntimeError: the press is on fire"
        assert "the press is on fire" in node["last_exit"].splitlines()[-1]
        assert len(gateway.words("ready")) == 1
        assert gateway.node("adapters")["status"] == "DEGRADED"
        answer = gateway.order("restart", "a")
        assert not answer["ok"]
        assert answer["error"] == "adapters/a was started but is backoff: RuntimeError: the press is on fire"
        gateway.until("adapters/a", lambda n: n["state"] == "failed" and n["restarts_total"] == 5)
        assert len(gateway.words("ready")) == 1


def test_a_worker_that_cannot_work_is_parked_at_once_with_its_own_next_step() -> None:
    with supervised(press("a", "cannot", restarts_max=5), press("b")) as gateway:
        gateway.running()
        node = gateway.until("a", lambda n: n["state"] == "failed")
        assert (node["restarts_total"], node["reason"]) == (0, "the press has no key")
        assert view.problem(node)["next_step"] == "turn the key, then: streamforge restart a"
        assert gateway.words("run").count("a") == 1


def test_a_changed_secret_is_used_after_a_restart_and_after_a_crash(tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "press-key"
    secret.parent.mkdir()
    secret.write_text("1")
    with supervised(press("a", config={"key": "${secret:press-key}", "data_dir": str(tmp_path)})) as gateway:
        node = gateway.until("a", lambda node: node["facts"].get("key_length") == 1)
        assert node["facts"]["secrets"] == {"press-key": str(secret)}, "where it was read, not what it is"
        secret.write_text("22")
        gateway.order("restart", "a")
        gateway.until("a", lambda node: node["facts"].get("key_length") == 2)
        secret.write_text("333")
        gateway.order("kill", "a")
        gateway.until("a", lambda node: node["facts"].get("key_length") == 3)


def test_a_worker_whose_secret_is_missing_is_parked_at_once_and_runs_once_it_is_set(tmp_path: Path) -> None:
    with supervised(
        press("a", config={"key": "${secret:press-key}", "data_dir": str(tmp_path)}), press("b")
    ) as gateway:
        gateway.running()
        node = gateway.until("a", lambda n: n["state"] == "failed")
        assert node["restarts_total"] == 0
        assert "secret 'press-key' is nowhere" in node["reason"]
        assert f"/dev/stdin {tmp_path}/secrets/press-key" in view.problem(node)["next_step"]
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "press-key").write_text("1234\n")
        assert gateway.order("restart", "a")["ok"]


def test_what_a_running_worker_advises_is_the_next_step() -> None:
    with supervised(press("a", "degraded")) as gateway:
        node = gateway.until("a", lambda n: n["status"] == "DEGRADED")
        assert view.problem(node)["next_step"] == "oil the node"


@pytest.mark.parametrize(
    ("does", "last_exit"),
    [
        ("exit", "exit code 3"),
        ("abort", "killed by SIGABRT"),
        ("illegal", "killed by SIGILL"),
        ("finish", "finished"),
    ],
)
def test_every_way_to_end_is_one_end_with_its_name(does: str, last_exit: str) -> None:
    with supervised(press("a", does, restarts_max=1)) as gateway:
        node = gateway.until("a", lambda n: n["state"] == "failed")
        assert (node["last_exit"], node["restarts_total"]) == (last_exit, 1)
        assert len(gateway.words("run")) == 2


def test_sigterm_from_outside_ends_a_worker_once() -> None:
    with supervised(press("a")) as gateway:
        gateway.running()
        os.kill(gateway.node("a")["pid"], signal.SIGTERM)
        node = gateway.until("a", lambda n: n["state"] == "running" and n["restarts_total"])
        assert (node["restarts_total"], node["last_exit"]) == (1, "killed by SIGTERM")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("tests.kit.workers:Broken", "exit code 70"),
        ("tests.kit.workers:Nobody", "has no attribute 'Nobody'"),
        ("tests.kit.no_such_room:Press", "No module named 'tests.kit.no_such_room'"),
    ],
)
def test_what_cannot_even_be_made_fails_alone(run: str, reason: str) -> None:
    broken = worker("a", run, restarts_max=1, backoff_first_s=0.01)
    with supervised(supervisor("line", Strategy.ONE, broken, press("b"))) as gateway:
        gateway.running()
        assert reason in gateway.until("line/a", lambda n: n["state"] == "failed")["last_exit"]
        assert gateway.words("ready") == ["b"]


def test_one_that_is_stuck_before_its_first_message_is_killed_and_holds_up_no_stop() -> None:
    stuck = worker("a", "tests.kit.workers:Stuck", start_within_s=0.5, stop_within_s=0.5, restarts_max=1)
    with supervised(supervisor("line", Strategy.ONE, stuck)) as gateway:
        gateway.until("line/a", lambda n: n["restarts_total"] == 1)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0


def test_a_worker_without_free_file_descriptors_ends_with_that_reason() -> None:
    with supervised(press("a", "no_files", restarts_max=0), press("b")) as gateway:
        assert "Too many open files" in gateway.until("a", lambda n: n["state"] == "failed")["last_exit"]


def test_a_watcher_that_comes_back_is_told_again() -> None:
    with supervised(press("a")) as gateway:
        gateway.running()
        os.kill(gateway.named("console").pid, signal.SIGKILL)
        assert gateway.until("console", lambda n: n["restarts_total"] == 1)["last_exit"] == "killed by SIGKILL"


def test_a_crash_is_told_with_the_end_of_its_traceback() -> None:
    with supervised(press("a", "raise", restarts_max=0)) as gateway:
        crash = gateway.until("a", lambda n: n["state"] == "failed")["last_exit"]
        assert crash.startswith("Traceback")
        assert crash.endswith("RuntimeError: the press is on fire")


def test_rest_for_one_stops_those_behind_in_reverse_and_starts_them_in_order() -> None:
    line = supervisor("line", Strategy.REST, *(press(name) for name in "abcd"))
    with supervised(line) as gateway:
        gateway.running()
        before = {name: gateway.node(f"line/{name}")["pid"] for name in "abcd"}
        os.kill(before["b"], signal.SIGKILL)
        _next_pid(gateway, "line/d", before["d"])
        assert gateway.words("stopped") == ["d", "c"]
        assert gateway.words("ready") == ["a", "b", "c", "d", "b", "c", "d"]
        assert gateway.node("line/a")["pid"] == before["a"]


def test_a_killed_supervisor_takes_its_workers_along_and_comes_back_without_doubles() -> None:
    with supervised(
        supervisor("line", Strategy.ONE, press("a"), press("b"), heartbeat_s=5.0, backoff_first_s=0.02)
    ) as gateway:
        gateway.running()
        old = [psutil.Process(gateway.node(path)["pid"]) for path in ("line", "line/a", "line/b")]
        os.kill(old[0].pid, signal.SIGKILL)
        gateway.until("line", lambda n: n["state"] == "running" and n["pid"] not in {old[0].pid, None})
        gateway.wait_for(lambda: still_alive(old) == [])
        alive = {each.pid for each in gateway.processes() if gateway.comm(each) in {"sf:a", "sf:b"}}
        assert alive == {gateway.node(path)["pid"] for path in ("line/a", "line/b")}


def test_a_critical_child_without_hope_ends_the_daemon_with_its_reason() -> None:
    escalates = WhenExhausted.ESCALATE
    branch = supervisor("stream", Strategy.REST, press("broker", "raise", when_exhausted=escalates), restarts_max=1)
    with supervised(branch, restarts_max=0) as gateway:
        assert gateway.process.wait(30) == 1
        assert "the press is on fire" in gateway.log_end()
        assert len(gateway.words("run")) == 2


def test_a_branch_that_gives_up_is_started_again_and_its_reason_is_kept() -> None:
    broker = press("broker", "raise", when_exhausted=WhenExhausted.ESCALATE)
    branch = supervisor("stream", Strategy.REST, broker, restarts_max=0, backoff_first_s=0.02, backoff_most_s=0.02)
    with supervised(branch, restarts_max=1) as gateway:
        assert gateway.process.wait(30) == 1
        assert gateway.words("run") == ["broker", "broker"], "once in each life of its branch"
        told = gateway.log.read_text()
        assert "gave up: broker: RuntimeError: the press is on fire; that is one more than 0 restarts" in told
        assert "stream: gave up: broker:" in told, "the root says whose end was one too many"


def test_restart_and_kill_by_command_do_not_count() -> None:
    with supervised(supervisor("line", Strategy.ONE, press("a", restarts_max=0), press("b"))) as gateway:
        gateway.running()
        a = gateway.node("line/a")["pid"]
        done = gateway.order("restart", "a")
        assert done["ok"]
        assert done["pid"] not in {a, None}
        assert gateway.words("stopped") == ["a"]
        assert gateway.order("kill", "line/a")["ok"]
        node = gateway.until("line/a", lambda n: n["restarts_total"] == 2 and n["state"] == "running")
        assert node["restarts"] == 0
        assert node["last_exit"] == "killed by command, killed by SIGKILL"


def test_a_branch_can_be_restarted_as_a_whole() -> None:
    with supervised(supervisor("line", Strategy.ONE, press("a"), press("b"))) as gateway:
        gateway.running()
        assert gateway.order("restart", "line")["ok"]
        assert gateway.words("stopped") == ["b", "a"]
        assert gateway.words("ready") == ["a", "b", "a", "b"]


def test_a_worker_that_does_not_stop_is_cancelled_and_then_killed() -> None:
    with supervised(press("a", "stubborn", stop_within_s=0.4)) as gateway:
        gateway.running()
        assert gateway.order("restart", "a")["ok"]
        assert gateway.words("cancelled") == ["a"]
        node = gateway.until("a", lambda n: n["last_exit"])
        assert node["last_exit"] == "did not stop within 0.4 s, killed by SIGKILL"


def test_a_start_that_may_take_a_year_does_not_end_its_supervisor() -> None:
    """Thespian's wait for the next wake-up takes 24 days at most."""
    slow = press("a", "never_ready", start_within_s=365 * 86_400.0, heartbeat_s=1.5)
    with supervised(supervisor("line", Strategy.ONE, slow)) as gateway:
        gateway.until("line/a", lambda n: n["heartbeat_age_s"] is not None)
        assert gateway.node("line")["restarts_total"] == 0


def test_a_worker_that_never_gets_ready_is_killed() -> None:
    with supervised(press("a", "never_ready", start_within_s=0.3, restarts_max=0)) as gateway:
        node = gateway.until("a", lambda n: n["state"] == "failed")
        assert "did not get ready within 0.3 s" in node["reason"]


def test_what_a_worker_says_of_itself_is_in_the_tree() -> None:
    with supervised(press("a", "degraded")) as gateway:
        node = gateway.until("a", lambda n: n["status"] == "DEGRADED")
        assert (node["reason"], node["counters"], node["facts"]) == (
            "one bad node",
            {"runs_total": 1},
            {"does": "degraded"},
        )
        assert gateway.until("root", lambda n: n["status"] == "DEGRADED")["reason"] == "a: one bad node"


def test_orders_for_nobody_are_refused_with_what_there_is() -> None:
    with supervised(press("a")) as gateway:
        gateway.running()
        assert "there are console, a" in gateway.order("restart", "z")["error"]
        assert "there are restart, kill" in gateway.order("explode", "a")["error"]
