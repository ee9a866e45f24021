"""`python -m bench`, as `./run bench` starts it: ended with Ctrl-C it says so in one sentence, and whatever ends it leaves nothing behind."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.kit.waiting import wait_until

ROOT = Path(__file__).parents[2]


def test_a_benchmark_ended_by_ctrl_c_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runpy, "run_module", interrupted)
    monkeypatch.setattr(sys, "argv", ["bench", "codec"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "bench" / "__main__.py"), run_name="__main__")
    assert ended.value.code == 130
    assert capsys.readouterr() == ("== codec\n", "interrupted; what was measured until then stands above\n")


def test_a_name_that_is_none_is_told_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "speed"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "'speed'" in done.stderr
    assert "end_to_end" in done.stderr


PLANT = """
import signal, sys
from pathlib import Path
from bench.plant import Plant
with Plant(Path(sys.argv[1])) as plant:
    print(plant.simulator_pid, *plant.historian.pids(), flush=True)
    signal.pause()
"""


def test_a_killed_benchmark_leaves_no_simulator_and_no_database(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PLANT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        pids = [int(word) for word in running.stdout.readline().split()]
        running.kill()
    assert len(pids) > 1
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30)
