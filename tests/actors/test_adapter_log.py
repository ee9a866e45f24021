"""The log tells each trouble of an adapter, and its end, and is not flooded by one that comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.adapter import run
from actors.adapter_log import QUIET_S, TroubleLog
from tests.kit.mqtt_worker import worker_config
from tests.kit.ports import free_port
from tests.kit.waiting import until
from tests.kit.working import working

GONE = "temp: illegal data address"


def test_a_trouble_and_its_end_are_told_once() -> None:
    log = TroubleLog()
    assert not log.due(100, [])
    assert log.due(101, [GONE])
    assert not any(log.due(101 + s, [GONE]) for s in range(1000))
    assert log.due(2000, [])
    assert not log.due(2001, [])


def test_a_number_that_grows_is_no_news() -> None:
    log = TroubleLog()
    assert log.due(100, ["did not answer the last 3 requests"])
    assert not log.due(100 + 2 * QUIET_S, ["did not answer the last 40 requests"])


def test_what_joins_a_trouble_is_told_a_while_later() -> None:
    log = TroubleLog()
    assert log.due(100, [GONE])
    assert not log.due(101, [GONE, "pressure: illegal data address"])
    assert log.due(100 + QUIET_S, [GONE, "pressure: illegal data address"])


def test_one_that_comes_and_goes_is_told_once_a_minute() -> None:
    log = TroubleLog()
    assert sum(log.due(100 + s, [GONE] if s % 2 else []) for s in range(600)) <= 600 / QUIET_S + 1


async def test_a_source_that_is_away_is_told_once_also_where_no_point_is_known_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MQTT names its points after what comes: a login that is refused from the start must not be silent."""
    adapter = {
        "id": "hall", "protocol": "mqtt", "host": "127.0.0.1", "port": free_port(), "retry": {"first": "10ms", "most": "20ms"},
        "subscriptions": [{"topic": "a/+", "mapping": "raw", "asset": "{topic[1]}", "points": [{"parameter": "x", "type": "number"}]}],
    }  # fmt: skip
    config = worker_config("127.0.0.1:9", tmp_path, adapter)
    async with working(run, "data_path/adapters/hall", config, stop_within_s=15) as context:
        await until(lambda: context.counters.get("errors_total", 0) >= 3)
    assert capsys.readouterr().out.count("nobody listens there") == 1
