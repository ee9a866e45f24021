"""Both ways of writing an address, and that nothing between them is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.addresses import Table, locate, modicon


@pytest.mark.parametrize(
    ("address", "table", "place"),
    [
        (40101, None, (Table.holding, 100)),
        ("40101", None, (Table.holding, 100)),
        (400101, None, (Table.holding, 100)),
        (465536, None, (Table.holding, 65535)),
        (30005, None, (Table.input, 4)),
        (10017, None, (Table.discrete, 16)),
        ("00017", None, (Table.coil, 16)),
        ("065536", None, (Table.coil, 65535)),
        (49999, None, (Table.holding, 9998)),
        (0, "holding", (Table.holding, 0)),
        (100, "holding", (Table.holding, 100)),
        (65535, "input", (Table.input, 65535)),
        (30005, "holding", (Table.holding, 30005)),
        (16, "coil", (Table.coil, 16)),
    ],
)
def test_place(address, table, place):
    assert locate(address, Table[table] if table else None) == place


@pytest.mark.parametrize(
    ("address", "table", "both_ways"),
    [
        (40101, "holding", ["`address: 40101`", "`table: holding, address: 100`", "`address: 440102`"]),
        (400101, "holding", ["`address: 40101`", "`table: holding, address: 100`"]),
        (30005, "input", ["`address: 30005`", "`table: input, address: 4`", "`address: 330006`"]),
        ("00017", "coil", ["`table: coil, address: 17`", '`address: "00017"`']),
        (15, None, ["`table: holding, address: 15`", "40001", '"00001"', "octal"]),
        (101, None, ["`table: holding, address: 101`", "40001"]),
        (20001, None, ["3 (input register)", "4 (holding register)"]),
        (40000, None, ["40001 to 465536"]),
        (70000, "holding", ["0 to 65535"]),
        (-1, "holding", ["0 to 65535"]),
        ("4x101", None, ["40101"]),
        ("", None, ["40101"]),
        (4010101, None, ["40101"]),
    ],
)
def test_what_could_be_meant_otherwise_is_refused_with_what_is_right(address, table, both_ways):
    with pytest.raises(ValueError, match=r"right would be|go from") as refused:
        locate(address, Table[table] if table else None)
    for way in both_ways:
        assert way in str(refused.value)


@given(st.sampled_from(list(Table)), st.integers(0, 65535))
def test_how_people_write_it_leads_back(table, address):
    assert locate(modicon(table, address), None) == (table, address)
