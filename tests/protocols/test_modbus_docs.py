"""The README cannot fall behind: every setting of a point, every counter, and every spelling of its address table is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import protocols.modbus
from protocols.load import make, validated
from protocols.modbus.addresses import locate
from protocols.modbus.config import ModbusPoint, ModbusTcpConfig
from protocols.modbus.health import health
from protocols.modbus.plan import Table
from protocols.modbus.wire import Tally

README = (Path(protocols.modbus.__file__).parent / "README.md").read_text()
SPELLINGS = re.findall(r"^\| `(.*?address: .*?)` \|.*?\| function (\d), address (\d+) \|$", README, re.MULTILINE)


def test_every_setting_of_a_point_is_named():
    assert not [name for name in ModbusPoint.model_fields if f"`{name}`" not in README]


def test_every_setting_of_the_connection_is_named():
    assert not [name for name in ModbusTcpConfig.model_fields if f"`{name}`" not in README]


def test_every_counter_is_named():
    settings = {"id": "a", "protocol": "modbus_tcp", "host": "h", "defaults": {"asset": "x"}}
    adapter = make(validated({**settings, "points": [{"parameter": "p", "address": 40001, "type": "int16"}]}))
    counters = {**adapter.health().counters, **health([], {}, {}, Tally(refused={2: 1}), {}, {}).counters}
    assert not [name for name in counters if f"`{name}`" not in README]


def test_the_table_of_addresses_was_found():
    assert len(SPELLINGS) == 9


@pytest.mark.parametrize(("written", "function", "address"), SPELLINGS)
def test_each_address_means_what_the_table_says(written, function, address):
    given = yaml.safe_load(f"{{{written}}}")
    table = Table[given["table"]] if "table" in given else None
    assert locate(given["address"], table) == (int(function), int(address))
