"""The command line as people and scripts use it: narrow terminals, pipes that end, wrong words, a gateway that does not answer."""

import asyncio
import errno
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from actors.surroundings import COMMAND, DATA, log_place
from control.branches import told
from control.http_protocol import PatientProtocol
from control.local_socket import listen, socket_path
from control.problems import Kind
from streamforge import lock
from streamforge.cli import INTERRUPTED, INVALID, app, cannot_be_data
from streamforge.tables import show_status, show_tree
from tests.kit.pages import PageServer, branch, worker

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "cli.md").read_text()
REASON = (
    "protocols.contract.NotConnected: opc.tcp://192.0.2.14:4840 refused the certificate of this gateway: "
    + "it is not trusted; " * 12
)
PARKED = worker("data_path/adapters/opcua1", "FAILED", state="failed", reason=REASON, restarts=5)
TREE = branch(
    "streamforge",
    branch("control_path", worker("control_path/api")),
    branch(
        "data_path",
        branch("data_path/adapters", PARKED, worker("data_path/adapters/b"), worker("data_path/adapters/c")) | {"status": "DEGRADED"},
    ) | {"status": "DEGRADED"},
)  # fmt: skip


@pytest.fixture
def gateway(tmp_path):
    """A gateway's real API on its socket, over the tree above; the folder is its data directory."""
    with PageServer(may_act=True, protocol=PatientProtocol, listener=listen(socket_path(tmp_path))) as server:
        server.state.take(TREE)
        server.data = tmp_path
        yield server


def streamforge(*arguments, **more):
    environment = {**os.environ, **more.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "streamforge", *map(str, arguments)], check=False, capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT, **more
    )  # fmt: skip


def shown(width, show, *what):
    out = io.StringIO()
    show(Console(file=out, width=width, force_terminal=width is not None, no_color=True, highlight=False), *what)
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()).splitlines()


def test_a_branch_names_its_children_and_only_the_leaf_has_the_reason():
    lines = shown(200, show_tree, told(TREE))
    text = "\n".join(lines)
    assert text.count("refused the certificate") == 1
    assert "1 of 3 children parked: opcua1" in text
    assert "1 of 1 child degraded: adapters" in text
    assert "NotConnected" not in text


@pytest.mark.parametrize("width", [30, 40, 80, 120])
def test_nothing_is_cut_and_nothing_overflows(width):
    lines = shown(width, show_tree, told(TREE))
    words = re.sub(r"[│├└─\s]+", " ", " ".join(line if width < 80 else line[40:] for line in lines))
    assert "it is not trusted;" in words
    assert words.count("trusted;") == 12
    assert max(map(len, lines)) <= width


def test_at_80_columns_a_reason_is_folded_under_its_own_column():
    lines = shown(80, show_tree, told(TREE))
    at = lines[0].index("reason or last end")
    first = next(n for n, line in enumerate(lines) if "opcua1" in line and "FAILED" in line)
    assert lines[first][at:].startswith("opc.tcp")
    assert lines[first + 1][:at].strip(" │") == ""
    assert lines[first + 1][at] != " "


HEALTH = {"gateway": {"id": "g"}, "status": "DEGRADED", "reason": "x", "problems": [
    {"component": "data_path/adapters/opcua1", "status": "FAILED", "reason": "refused " * 30, "next_step": "trust it, then: streamforge restart opcua1"}]}  # fmt: skip
FLOW = {"adapters": [{"name": "opcua1", "status": "FAILED", "rate": 0.0, "rejected": 2}], "stages": [], "sinks": []}


@pytest.mark.parametrize("width", [40, 80])
def test_status_fits_any_terminal_and_says_each_problem_once(width):
    lines = shown(width, show_status, HEALTH, FLOW, 4711)
    assert lines[0].split() == ["g", "DEGRADED", "pid", "4711"]
    assert max(map(len, lines)) <= width
    assert "\n".join(lines).split().count("refused") == 30
    assert "trust it," in "\n".join(lines)


def test_into_a_pipe_each_component_is_one_line_without_colours(gateway):
    done = streamforge("tree", "--data", gateway.data, env={"FORCE_COLOR": ""})
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 9
    assert all(line == line.rstrip() for line in done.stdout.splitlines())


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_a_plain_locale_gets_a_plain_tree(gateway, locale):
    done = streamforge("tree", "--data", gateway.data, env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "|- control_path" in done.stdout


@pytest.mark.parametrize("command", ["tree", "status", "tree --json", "version"])
def test_a_pipe_that_ends_early_is_no_error(gateway, command):
    script = (
        f"{sys.executable} -m streamforge {command} {'--data ' + str(gateway.data) if command != 'version' else ''}"
    )
    done = subprocess.run(
        ["bash", "-c", f"{script} | true; echo ${{PIPESTATUS[0]}}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "0"


def test_tail_into_head_ends_in_order(gateway, monkeypatch):
    async def endless(*_):
        while True:
            yield {"topic": "events.clean", "partition": 0, "offset": 1, "words": "x" * 5000}
            await asyncio.sleep(0)

    monkeypatch.setattr("control.routes.read_topic", endless)
    script = f"{sys.executable} -m streamforge tail events.clean --json --data {gateway.data} | head -2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("streamforge", 6, "restarts from outside (end it with Ctrl-C or SIGTERM, and start it as before)"),
        ("opcua", 6, "did you mean opcua1"),
        ("data_path/adapters/opcuaI", 6, "did you mean opcua1"),
        ("nothing-like-it", 6, "`streamforge tree` shows all"),
    ],
)
def test_what_cannot_be_restarted_is_told_with_what_can(gateway, name, code, words):
    done = streamforge("restart", name, "--data", gateway.data)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_that_is_told_works_when_it_is_copied(gateway, monkeypatch, tmp_path):
    """From another folder, in a gateway started from nobody's path: what `status` says to type is typed into a shell."""
    orders = []

    async def obey(verb, target):
        orders.append((verb, target))
        return {"ok": True, "id": target, "state": "running", "pid": 7}

    gateway.context.on_command = obey
    monkeypatch.setenv(COMMAND, f"PYTHONPATH={shlex.quote(str(ROOT))} {sys.executable} -m streamforge")
    monkeypatch.setenv(DATA, str(gateway.data))
    told = streamforge("status", "--data", gateway.data, "--json", env={COMMAND: "", DATA: ""})
    (problem,) = json.loads(told.stdout)["problems"]
    typed = problem["next_step"].partition("then: ")[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFORGE_")}
    done = subprocess.run(["sh", "-c", typed], check=False, capture_output=True, text=True, timeout=60, cwd="/", env=environment)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "data_path/adapters/opcua1 is restarted\n")
    assert orders == [("restart", "data_path/adapters/opcua1")]


def test_the_socket_acts_and_the_api_answers_before_it_restarts_itself(gateway):
    orders = []

    async def obey(verb, target):
        orders.append((verb, target))
        return {"ok": True, "id": target, "state": "running", "pid": 7}

    gateway.context.on_command = obey
    assert json.loads(streamforge("restart", "b", "--data", gateway.data, "--json").stdout)["pid"] == 7
    assert "is being restarted" in streamforge("restart", "control_path", "--data", gateway.data).stdout
    assert orders == [("restart", "data_path/adapters/b"), ("restart", "control_path")]


def test_a_gateway_that_runs_and_does_not_answer_is_told_from_none(tmp_path):
    none = streamforge("status", "--data", tmp_path)
    assert (none.returncode, "no gateway runs in" in none.stderr) == (4, True)
    held = lock.take(tmp_path)
    silent = streamforge("status", "--data", tmp_path)
    os.close(held)
    assert silent.returncode == 4
    assert f"runs (pid {os.getpid()}) but its API does not answer" in silent.stderr
    assert f"its log says more ({log_place()})" in silent.stderr
    assert "no gateway runs in" in streamforge("status", "--data", tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--page", "99999"], "less than or equal to 65535"),
        (["demo", "--page", "-1"], "greater than or equal to 0"),
        (["demo", "--seconds", "-5"], "right would be 1 or more"),
        (["demo", "--seconds", "nan"], "right would be 1 or more"),
        (["demo", "--seconds", "inf"], "right would be 1 or more"),
        (["demo", "--seconds", "soon"], "valid number"),
        (["tail", "events.clean", "--last", "-1"], "greater than or equal to 0"),
        (["tail"], "Missing argument"),
        (["strat"], "strat"),
    ],
)
def test_what_cannot_be_meant_so_is_a_usage_error(arguments, words):
    told = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert told.exit_code == 2
    assert words in told.output


def test_a_page_port_that_is_taken_is_said_before_anything_starts():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = streamforge("demo", "--page", port)
    assert done.returncode == 6
    assert f"port {port} for the page is in use" in done.stderr
    assert "--page 0" in done.stderr


def test_the_documented_commands_and_exit_codes_are_those_there_are():
    commands = re.findall(r"^\| `(\w+)[^`]*` \| .* \| `streamforge", DOC, re.MULTILINE)
    assert commands == [c.callback.__name__ for c in app.registered_commands]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", DOC, re.MULTILINE)}
    assert codes == {0, INVALID, INTERRUPTED} | {kind.exit_code for kind in Kind}


def test_the_documented_keys_are_printed(gateway):
    def keys(command):
        row = re.search(rf"^\| `{command}` \| (.*) \|$", DOC.partition("## JSON")[2], re.MULTILINE)[1]
        return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row.partition(";")[0])))

    for command in ("status", "tree", "version"):
        where = [] if command == "version" else ["--data", gateway.data]
        printed = json.loads(streamforge(command, "--json", *where).stdout)
        assert keys(command) <= set(printed), command
    assert shutil.which("bash")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "its disk is full; free some space there"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; let this user write there (as root: chown -R "),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system; name another with --data"),
        (FileExistsError(errno.EEXIST, "File exists"), "there is a file of that name; name another"),
    ],
)  # fmt: skip
def test_a_data_directory_that_cannot_be_one_is_said_in_words(error, words):
    assert words in cannot_be_data(Path("/data"), error)


def test_a_gateway_is_not_started_on_a_file(tmp_path):
    """In a sentence and with no traceback, also for what cannot even be locked."""
    (tmp_path / "file").touch()
    (tmp_path / "g.yaml").write_text("gateway: {id: g}\nadapters: [{id: a, protocol: modbus_tcp, host: h, enabled: false, points: [{asset: a, parameter: p, address: 40001, type: int16}]}]\n")  # fmt: skip
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        done = streamforge("run", tmp_path / "g.yaml", "--data", data)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"streamforge: {data} cannot be the data directory: ")
