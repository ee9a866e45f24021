"""What a message names fits how the gateway was started: the command, the place of the log, the way to start the whole anew."""

import subprocess
import sys

import pytest

from actors import surroundings


def test_alone_the_command_is_short(monkeypatch):
    monkeypatch.delenv(surroundings.COMMAND, raising=False)
    monkeypatch.delenv(surroundings.DATA, raising=False)
    assert surroundings.command("restart press_4") == "streamforge restart press_4"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("/var/lib/streamforge", "/opt/sf/run -- streamforge status"),
        ("/srv/a plant", "/opt/sf/run -- streamforge status --data '/srv/a plant'"),
    ],
)
def test_it_is_called_as_it_was_started_and_finds_the_data(monkeypatch, data, words):
    monkeypatch.setenv(surroundings.COMMAND, "/opt/sf/run -- streamforge")
    monkeypatch.setenv(surroundings.DATA, data)
    assert surroundings.command("status") == words


@pytest.fixture
def talker():
    """A process whose standard error goes somewhere."""
    started = []

    def start(stderr):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=stderr)
        started.append(child)
        return child.pid

    yield start
    for child in started:
        child.communicate(b"\n")


def test_the_log_is_where_the_process_really_writes(talker, tmp_path, monkeypatch):
    with (tmp_path / "gateway.log").open("w") as log:
        assert surroundings.log_place(talker(log)) == str(tmp_path / "gateway.log")
        rotated = talker(log)
    (tmp_path / "gateway.log").unlink()
    assert surroundings.log_place(rotated) == "a file that was deleted meanwhile"
    assert surroundings.log_place(talker(subprocess.DEVNULL)).startswith("nowhere")
    assert surroundings.log_place(talker(subprocess.PIPE)) == "the terminal it was started in"
    assert surroundings.log_place(2**22 + 1) == "where it was started"


@pytest.mark.parametrize(
    ("group", "unit"),
    [
        ("0::/system.slice/gateway-7.service\n", "gateway-7"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", None),
        ("1:name=systemd:/system.slice/streamforge.service\n0::/\n", "streamforge"),
    ],
)
def test_only_in_the_journal_it_is_called_the_journal(monkeypatch, group, unit):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_a, **_k: group)
    monkeypatch.setattr("pathlib.Path.readlink", lambda *_: "socket:[4711]")
    assert surroundings.unit_of(1) == unit
    assert surroundings.log_place(1) == (f"journalctl -u {unit}" if unit else "the terminal it was started in")


def test_the_whole_is_restarted_by_who_started_it(monkeypatch):
    monkeypatch.delenv(surroundings.UNIT, raising=False)
    assert surroundings.restart_whole().startswith("end it with Ctrl-C")
    monkeypatch.setenv(surroundings.UNIT, "streamforge")
    assert surroundings.restart_whole() == "systemctl restart streamforge"
