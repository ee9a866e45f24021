"""The whole gateway over the demo's plant: what a person types and gets, and what is left after the worst."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest

from control import view
from streamforge.cli import main
from streamforge.demo.compare import compare
from streamforge.demo.meter import Meter
from streamforge.demo.parts import Parts
from tests.kit.waiting import wait_until

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("whole"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def parts():
    with tempfile.TemporaryDirectory(prefix="sf-whole-") as directory:
        Path(directory).chmod(0o755)  # as root, the database's own user can reach its data where they are
        running = Parts(Path(directory) / "demo", 0, "synced", chaos=True, command_line=main)
        running.begun = time.time()
        try:
            running.start()
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def meter(parts):
    found = Meter(parts, parts.begun)
    wait_until(lambda: found.first_stored_at() is not None, 90, lambda: parts.words("gateway"))
    return found


def streamforge(parts, *words, timeout=60):
    command = [sys.executable, "-m", "streamforge", *words, "--data", str(parts.gateway_data)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def pid_of(meter, path):
    tree = meter.tree()
    return next((n["pid"] for n in view.walk(tree) if n["id"] == path), None) if tree else None


def test_status_shows_every_hop(parts, meter):
    told = streamforge(parts, "status")
    assert told.returncode == 0, told.stderr
    for name in ("demo-plant", "presses", "ovens", "pumps", "validator-0", "aggregator-0", "historian"):
        assert name in told.stdout
    data = json.loads(streamforge(parts, "status", "--json").stdout)
    assert {a["name"] for a in data["flow"]["adapters"]} == {"presses", "ovens", "pumps"}


def test_tree_shows_who_runs(parts, meter):
    assert "└─" in streamforge(parts, "tree").stdout
    tree = json.loads(streamforge(parts, "tree", "--json").stdout)
    assert [c["id"] for c in tree["children"]] == ["control_path", "stream", "data_path"]


def test_windows_give_way_to_the_readings_under_way(parts, meter):
    def niceness(name):
        return psutil.Process(pid_of(meter, f"data_path/processing/{name}") or 0).nice()

    def gives_way():
        with suppress(psutil.NoSuchProcess):  # killed by the chaos just now
            return niceness("aggregator-0") > niceness("validator-0")

    wait_until(gives_way, 30)


def test_tail_shows_readings_as_the_specification_does(parts, meter):
    told = streamforge(parts, "tail", "telemetry.clean", "--last", "1", "--no-follow", "--json")
    record = json.loads(told.stdout.splitlines()[0])
    assert record["quality"] == "GOOD"
    assert record["timestamps"]["gateway_time"].endswith("Z")
    assert record["metadata"]["gateway_id"] == "demo-plant"
    wrong = streamforge(parts, "tail", "telemetry.cleen", "--no-follow")
    assert (wrong.returncode, "telemetry.clean" in wrong.stderr) == (6, True)


def test_metrics_page_and_api_answer_on_loopback(parts, meter):
    page = meter.page()
    assert page.startswith("http://127.0.0.1:")
    presses = 'streamforge_readings_total{component="data_path/adapters/presses"}'
    # The first stored reading may be another adapter's.
    wait_until(lambda: presses in httpx.get(f"{page}metrics", timeout=30).text)
    assert httpx.get(page, timeout=30).text.startswith("<!doctype html>")
    with httpx.stream("GET", f"{page}api/v1/values", timeout=30) as answer:
        seen = next(json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: [{"))
    assert {"asset", "parameter", "value", "quality", "time"} <= seen[0].keys()


def test_nothing_listens_off_loopback(parts, meter):
    own = {p.pid for p in psutil.Process(parts._gateway.pid).children(recursive=True)} | {parts._gateway.pid}
    open_to = {c.laddr.ip for c in psutil.net_connections("inet") if c.pid in own and c.status == psutil.CONN_LISTEN}
    assert open_to
    assert open_to <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_restart_by_a_person_gives_a_new_process(parts, meter):
    before = pid_of(meter, "data_path/adapters/presses")
    told = streamforge(parts, "restart", "presses")
    assert told.returncode == 0, told.stderr
    wait_until(lambda: pid_of(meter, "data_path/adapters/presses") not in (None, before))
    unknown = streamforge(parts, "restart", "press")
    assert unknown.returncode == 6
    assert "presses" in unknown.stderr


def test_a_second_gateway_on_the_same_data_is_refused(parts, meter):
    second = streamforge(parts, "run", str(parts.file))
    assert second.returncode != 0
    assert str(parts._gateway.pid) in second.stderr + second.stdout


@pytest.mark.parametrize(
    "victim",
    [
        "data_path/processing/validator-0",
        "data_path/sinks/historian",
        "data_path/adapters/presses",
        "data_path",
        "broker",
    ],
)
def test_after_any_kill_readings_are_stored_again(parts, meter, victim):
    pid = process_of(meter, victim)
    os.kill(pid, signal.SIGKILL)
    killed = time.time()
    wait_until(lambda: newest(parts) > killed + 0.5, 90, lambda: parts.words("gateway"))
    assert wait_until(lambda: process_of(meter, victim) not in (None, pid), 30), "another process has its place"


def process_of(meter, victim):
    if victim != "broker":
        return pid_of(meter, victim)
    tree = meter.tree()
    nodes = {n["id"]: n for n in view.walk(tree)} if tree else {}
    return nodes["stream/broker"]["facts"].get("pid") if nodes else None


def newest(parts):
    with psycopg2.connect(parts.historian.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM max(gateway_time)) FROM readings")
        return float(cursor.fetchone()[0] or 0)


def test_in_the_end_nothing_is_missing_and_nothing_doubled(parts, meter):
    """Last: the plant falls silent, all drains, and the stream is compared with the database, record by record."""
    parts.stop_plant()
    meter.wait_until_drained(90, 90)
    found = compare(meter.bootstrap(), parts.partitions(), parts.historian.dsn, int(parts.begun * 1000))
    assert (found.missing, found.doubled) == (0, 0), found.sentences
    assert found.produced > 500
    assert found.aggregated > 100


def test_the_gateway_stops_in_order_and_leaves_nobody(parts, meter):
    own = psutil.Process(parts._gateway.pid).children(recursive=True)
    parts._gateway.send_signal(signal.SIGTERM)
    assert parts._gateway.wait(60) == 0
    assert [p for p in own if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
