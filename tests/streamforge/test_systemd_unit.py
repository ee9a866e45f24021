"""The unit for systemd: what the daemon needs of it stands there, and systemd itself finds nothing wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from actors.surroundings import COMMAND, HOME
from streamforge.config_file import load_text
from streamforge.daemon import ASK_EVERY_S, FILES_MAX, STOP_MARGIN_S
from streamforge.demo.gateway_file import Ports, gateway_file
from streamforge.plan import plan
from supervisors.spec import stop_time

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "streamforge.service"
TEXT = UNIT.read_text()
SECONDS = {"": 1, "s": 1, "min": 60}


def setting(name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(found)


def seconds(name: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\w*)", setting(name)).groups()  # type: ignore[union-attr]
    return float(number) * SECONDS[unit]


def test_systemd_waits_longer_than_the_tree_may_take_to_stop() -> None:
    (sample,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    ports = Ports(1502, 4840, 1883, 5432, 9092, 8080)
    for text in (sample, gateway_file(ports, "synced", chaos=False)):
        longest = stop_time(plan(load_text(text), HOME))
        assert seconds("TimeoutStopSec") >= longest + 20 >= longest + STOP_MARGIN_S


def test_the_watchdog_barks_long_after_the_daemon_would_have_fed_it() -> None:
    assert seconds("WatchdogSec") >= 20 * ASK_EVERY_S


def test_the_daemon_gets_the_files_and_the_kind_of_signal_it_expects() -> None:
    assert int(setting("LimitNOFILE")) >= FILES_MAX
    assert (setting("Type"), setting("KillMode"), setting("Restart")) == ("notify", "mixed", "always")
    assert setting("User") not in {"root", "nobody"}
    assert Path("/var/lib") / setting("StateDirectory") == HOME
    assert setting("ExecStart").endswith(f"--data {HOME}")
    assert f"{COMMAND}=sudo -u {setting('User')} " in setting("Environment")


@pytest.mark.parametrize(
    "line",
    ["NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "CapabilityBoundingSet=", "SystemCallFilter=@system-service"],
)  # fmt: skip
def test_it_is_fenced_in(line: str) -> None:
    assert line in TEXT.splitlines()
    assert not re.search(r"^(MemoryDenyWriteExecute|PrivateDevices)=(yes|true)", TEXT, re.MULTILINE), (
        "Java, serial lines"
    )


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not on this machine")
    return subprocess.run(["systemd-analyze", *words], check=False, capture_output=True, text=True, timeout=60)


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    here.write_text(TEXT.replace("/opt/streamforge/run", "/bin/true"))
    told = analyze("verify", str(here))
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_its_exposure_stays_low(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    shutil.copy(UNIT, here)
    told = analyze("security", "--offline=true", "--threshold=20", str(here))
    assert told.returncode == 0, told.stdout[-2000:]


def test_the_steps_by_hand_name_the_places_of_the_unit() -> None:
    steps = (ROOT / "systemd" / "README.md").read_text()
    for place in (
        "/opt/streamforge",
        "/etc/streamforge/gateway.yaml",
        str(HOME),
        f"--shell /usr/sbin/nologin {setting('User')}",
    ):
        assert place in steps
