"""What a good file still lacks on this machine is told before anything runs: as a warning where only one part would stand still."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamforge.cli import app
from streamforge.config_file import load_text
from streamforge.config_here import lacking

FILE = """\
gateway: {{id: g1}}
stream: {{{stream}}}
adapters:
  - id: hall
    protocol: mqtt
    host: broker
    user: u
    password: "${{secret:hall}}"
    tls: {tls}
    subscriptions: [{{topic: a/b, mapping: raw, asset: x, points: [{{parameter: p, type: number}}]}}]
  - id: oven
    protocol: opcua
    endpoint: opc.tcp://192.0.2.6:4840
    security: {security}
    points: [{{asset: oven, parameter: temp, node: ns=2;s=T}}]
sinks:
  - {{id: hist, type: postgres, dsn: "postgresql://u@db/p", password: "${{secret:hist}}", topics: [telemetry.clean]}}
"""


def text(stream: str = "", tls: str = "{}", security: str = "{}") -> str:
    return FILE.format(stream=stream, tls=tls, security=security)


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("hall", "hist"):
        (folder / name).write_text("s3cret\n")
    return folder


def test_nothing_lacks_where_everything_is_there(tmp_path: Path) -> None:
    assert lacking(load_text(text()), tmp_path) == []


def test_a_missing_secret_is_a_warning_with_the_command_that_sets_it(tmp_path: Path, secrets: Path) -> None:
    (secrets / "hist").unlink()
    (found,) = lacking(load_text(text(), "f.yaml"), tmp_path)
    assert str(found).startswith("f.yaml:17: warning: sinks[0].password: secret 'hist' is nowhere")
    assert f"install -D -m 600 /dev/stdin {secrets}/hist" in str(found)


@pytest.mark.parametrize(
    ("changes", "severity", "path", "words"),
    [
        ({"tls": "{ca: /no/such.pem}"}, "warning", "adapters[0].tls.ca", "there is no file /no/such.pem"),
        ({"security": "{policy: Basic256Sha256}"}, "warning", "adapters[1].security", "no server is trusted yet"),
        (
            {"security": "{policy: Basic256Sha256, server_certificate: a.der}"},
            "warning",
            "adapters[1].security.server_certificate",
            "trusted/a.der",
        ),
        ({"stream": "disk_budget: 900 TiB"}, "warning", "stream.disk_budget", "more than the whole disk"),
        ({"stream": "java: /no/such/java"}, "error", "stream.java", "does not run"),
        ({"stream": "java: /bin/true"}, "error", "stream.java", "is no Java"),
    ],
)
def test_what_lacks_is_told_where_the_file_asks_for_it(
    changes: dict[str, str], severity: str, path: str, words: str, tmp_path: Path
) -> None:
    (found,) = lacking(load_text(text(**changes)), tmp_path)
    assert (found.severity, found.path) == (severity, path)
    assert words in found.message


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        ("    tls: {}\n", "", "adapters[0].password", "travels in clear text to broker:1883"),
        (
            "    security: {}\n",
            '    user: u\n    password: "${secret:hall}"\n',
            "adapters[1].password",
            "unless the server itself asks",
        ),
    ],
)
def test_a_password_that_anyone_on_the_wire_can_read_is_told_and_the_file_still_runs(
    old: str, new: str, path: str, words: str, tmp_path: Path
) -> None:
    there = text().replace(old, new)
    (found,) = lacking(load_text(there), tmp_path)
    assert (found.severity, found.path) == ("warning", path)
    assert words in found.message
    here = there.replace("host: broker", "host: 127.0.0.1").replace("192.0.2.6", "localhost")
    assert lacking(load_text(here), tmp_path) == []


def test_check_warns_with_exit_code_0_and_refuses_with_3(tmp_path: Path, secrets: Path) -> None:
    (secrets / "hall").unlink()
    file = tmp_path / "gateway.yaml"
    file.write_text(text())
    told = CliRunner().invoke(app, ["check", str(file), "--data", str(tmp_path)])
    assert told.exit_code == 0
    assert "warning: adapters[0].password: secret 'hall' is nowhere" in told.output
    assert "good (version" in told.output
    told = CliRunner().invoke(app, ["check", str(file), "--data", str(tmp_path), "--json"])
    (problem,) = json.loads(told.stdout)["problems"]
    assert (told.exit_code, problem["severity"], problem["line"]) == (0, "warning", 8)
    assert problem["next_step"].startswith("as the gateway's user: install -D")
    file.write_text(text(stream="java: /no/such/java"))
    for command in ("check", "run"):
        told = CliRunner().invoke(app, [command, str(file), "--data", str(tmp_path)])
        assert told.exit_code == 3
        assert "stream.java: the configured `stream.java`, /no/such/java, does not run" in told.output


def test_a_missing_secret_is_told_beside_the_mistakes_of_the_file(tmp_path: Path, secrets: Path) -> None:
    (secrets / "hist").unlink()
    file = tmp_path / "f.yaml"
    file.write_text(text().replace("host: broker", "hst: broker"))
    done = CliRunner().invoke(app, ["check", str(file), "--data", str(tmp_path), "--json"])
    told = [(p["severity"], p["path"]) for p in json.loads(done.stdout)["problems"]]
    assert told == [("error", "adapters[0].hst"), ("warning", "sinks[0].password")]
