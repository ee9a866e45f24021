"""Processes that follow their parent, logs that name their component, and messages only from our own processes."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest

from actors import guard
from actors.base import NoAnswer, Sealed, System, _handler_of
from actors.messages import Answer, Question
from tests.kit.waiting import wait_until


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "finished"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-63, "killed by signal 63"),
    ],
)
def test_an_exit_in_words(code: int, words: str) -> None:
    assert guard.in_words(code) == words


def test_a_process_ends_with_its_parent() -> None:
    script = (
        "import os, time\n"
        "from actors import guard\n"
        "parent = os.getpid()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    guard.die_with(parent)\n"
        "    os.write(1, b'guarded\\n')\n"
        "    time.sleep(60)\n"
        "os.write(1, b'%d\\n' % child)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = next(
            int(line) for line in sorted([parent.stdout.readline(), parent.stdout.readline()]) if line != "guarded\n"
        )
        assert guard.alive(child)
        parent.kill()
        parent.wait()
        wait_until(lambda: not guard.alive(child))


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    script = "import os; from actors import guard; guard.die_with(os.getppid() + 1); print('lives')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (guard.EXIT_ORPHAN, "")


def test_a_zombie_is_not_alive() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    deadline = time.monotonic() + 30
    while guard.alive(child):
        assert time.monotonic() < deadline
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    assert not guard.alive(child)


def test_a_sealed_message_is_read_and_a_foreign_or_changed_one_is_not() -> None:
    sealed = Sealed()
    data = sealed.dumps({"a": 1})
    assert sealed.loads(data) == {"a": 1}
    for wrong in (pickle.dumps({"a": 1}), Sealed().dumps({"a": 1}), data[:-1] + b"x", b""):
        with pytest.raises(ValueError, match="does not come from this gateway"):
            sealed.loads(wrong)


def test_a_message_goes_to_the_method_of_its_name() -> None:
    assert [_handler_of(name) for name in ("Stop", "WatchTree", "ChildActorExited")] == [
        "on_stop", "on_watch_tree", "on_child_actor_exited"]  # fmt: skip


class _Late:
    """Thespian as it is: the answer to an earlier question comes first."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def ask(self, _address: Any, _question: Any, _timeout: float) -> Any:
        return self._answers.pop(0)

    def listen(self, _timeout: timedelta) -> Any:
        return self._answers.pop(0)


def _system(*answers: Any) -> System:
    system = object.__new__(System)
    system._system = _Late(*answers)
    return system


def test_an_answer_to_an_earlier_question_is_dropped() -> None:
    wanted = Answer("2", {})
    assert _system(Answer("1", {}), "noise", wanted).ask(None, Question("2"), 1.0) is wanted


def test_no_answer_is_said() -> None:
    with pytest.raises(NoAnswer, match="no answer within 1 s"):
        _system(Answer("1", {}), None).ask(None, Question("2"), 1.0)


def test_a_log_line_is_json_and_names_its_component() -> None:
    script = (
        "import logging\n"
        "from actors import logs\n"
        "logs.configure()\n"
        "logs.identify('data_path/adapters/press_4', 'shop-1')\n"
        "logs.get().warning('source lost', host='192.0.2.14')\n"
        "logging.getLogger('pymodbus').error('no answer after %d tries', 3)\n"
        "try:\n"
        "    1 / 0\n"
        "except ZeroDivisionError:\n"
        "    logs.get().exception('odd')\n"
    )
    lines = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stderr.splitlines()
    own, library, odd = (json.loads(line) for line in lines)
    del own["timestamp"]
    assert own == {"level": "warning", "component": "data_path/adapters/press_4", "gateway_id": "shop-1", "message": "source lost",
                   "host": "192.0.2.14"}  # fmt: skip
    assert (library["logger"], library["message"], library["component"]) == (
        "pymodbus", "no answer after 3 tries", "data_path/adapters/press_4")  # fmt: skip
    assert "ZeroDivisionError" in odd["exception"]
