"""`python -m bench`, as `./run bench` starts it: ended with Ctrl-C it says so in one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_benchmark_ended_by_ctrl_c_shows_no_traceback() -> None:
    command = [sys.executable, "-m", "bench", "codec"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "== codec\n"
        os.kill(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert said == "interrupted; what was measured until then stands above\n"
    assert running.returncode == 130


def test_a_name_that_is_none_is_told_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "speed"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "'speed'" in done.stderr
    assert "end_to_end" in done.stderr
