"""A gateway file is checked whole: every mistake at once, each where it stands and with what would be right."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamforge.config_file import Invalid, load, load_text

GOOD = """\
gateway: {id: press-shop-1, site: Esslingen}
stream: {durability: synced, disk_budget: 20 GiB}
adapters:
  - id: press_4
    protocol: modbus_tcp
    host: 192.0.2.14
    unit: 1
    every: 1s
    defaults: {asset: press_4, byte_order: big, word_order: big}
    points:
      - {parameter: oil_temperature, address: 40101, type: float32, unit: celsius, range: [-20, 120]}
      - {parameter: door_open, address: 10017, type: bool, classification: EVENT}
rules:
  - {match: {parameter: "*_temperature"}, rate_of_change: {max_per_second: 5, quality: SUSPECT}}
aggregates: [1s, 10s, 1min, 1hour]
sinks:
  - {id: historian, type: postgres, dsn: "postgresql://db/plant", password: "${secret:historian}", topics: [telemetry.clean, telemetry.1min]}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load_text(text, "f.yaml")
    return [str(p) for p in caught.value.problems]


def test_the_example_of_the_design_is_good():
    checked = load_text(GOOD)
    assert checked.gateway.gateway.id == "press-shop-1"
    assert [a.id for a in checked.adapters] == ["press_4"]
    assert checked.gateway.stream.disk_budget == 20 * 2**30


def test_the_same_content_has_the_same_version_however_it_is_written():
    assert load_text(GOOD).version == load_text(GOOD.replace("unit: 1\n", "unit:   1   # the press\n")).version
    assert load_text(GOOD).version != load_text(GOOD.replace("unit: 1\n", "unit: 2\n")).version


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("site:", "sit:", 1, ["gateway.sit", "did you mean site?"]),
        ("durability: synced", "durability: sync", 2, ["stream.durability", '"sync"', "'synced' or 'lazy'"]),
        ("20 GiB", "20 GiBi", 2, ["stream.disk_budget", "20 GiBi", "64 MiB or 20 GiB"]),
        ("modbus_tcp", "modbus_tpc", 5, ["adapters[0].protocol", "did you mean modbus_tcp?"]),
        ("    protocol: modbus_tcp\n", "", 4, ["adapters[0].protocol", "is missing", "opcua"]),
        ("every: 1s", "every: 1", 8, ["adapters[0].every", "has no unit", "1s or 1ms"]),
        ("type: float32", "type: float33", 11, ["adapters[0].points[0].type", "float33"]),
        ("[-20, 120]", "[120, -20]", 11, ["adapters[0].points[0]", "range", "[lowest, highest]"]),
        ("byte_order: big", "byte_order: bog", 9, ["adapters[0].points[0].byte_order", "bog"]),
        (
            "max_per_second: 5",
            "max_per_second: -5",
            14,
            ["rules[0].rate_of_change.max_per_second", "-5", "greater than 0"],
        ),
        ("rate_of_change", "rate_of_chnge", 14, ["rules[0].rate_of_chnge", "did you mean rate_of_change?"]),
        ("id: historian", "id: press_4", 17, ["sinks[0].id", "also the id in line 4"]),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(old, new, line, words):
    assert old in GOOD
    found = "\n".join(mistakes(GOOD.replace(old, new)))
    assert f"f.yaml:{line}: " in found
    for word in words:
        assert word in found


def test_all_mistakes_are_reported_at_once():
    bad = (
        GOOD.replace("durability: synced", "durability: sync")
        .replace("type: float32", "type: f")
        .replace("site:", "sit:")
    )
    assert len(mistakes(bad)) >= 3


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "is empty"),
        ("gateway: {id: x}\ngateway: {id: y}\n", 2, "twice"),
        ("gateway:\n\t- x\n", 2, "not YAML"),
        ("gateway: {id: x}\n", None, "adapters"),
        ("- 1\n", 1, "is empty"),
        ("gateway: {id: x}\nadapters: [{id: a, protocol: [b]}]\n", 2, "is not known; right would be one of modbus_tcp"),
        ("gateway: {id: " + "9" * 5000 + "}\n", 1, "cannot be read"),
        ("gateway: &a [*a]\n", None, "refers to itself"),
        ("[" * 100_000 + "]" * 100_000, 1, "nested more than 50 deep"),
    ],
)
def test_files_that_are_no_configuration(text, line, words):
    found = mistakes(text)
    assert words in "\n".join(found)
    if line:
        assert found[0].startswith(f"f.yaml:{line}:")


def test_an_alias_bomb_is_refused():
    layers = "a: &l0 [x]\n" + "".join(f"b{i}: &l{i + 1} [{', '.join([f'*l{i}'] * 10)}]\n" for i in range(9))
    assert "unfolds to more than" in "\n".join(mistakes(layers))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path):
    with pytest.raises(Invalid, match="is not there"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"gateway: \xff\xfe")
    with pytest.raises(Invalid, match="not UTF-8"):
        load(tmp_path / "bytes.yaml")


def test_yaml_is_read_without_its_old_surprises():
    """`no` and `0o17`-like numbers stay what was written."""
    checked = load_text(GOOD.replace("site: Esslingen", "site: no"))
    assert checked.gateway.gateway.site == "no"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_the_text_ends_in_anything_but_invalid(data):
    at = data.draw(st.integers(0, len(GOOD)))
    cut = data.draw(st.integers(0, 30))
    junk = data.draw(st.text(max_size=12))
    try:
        load_text(GOOD[:at] + junk + GOOD[at + cut :])
    except Invalid as invalid:
        problems = invalid.problems
    else:
        return
    assert problems


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("api: {host: plantpc}", 'api.host: "plantpc" is not an IP address'),
        ("api: {port: 19092}", "is one of the local stream's ports"),
        ("stream: {bootstrap: nonsense}", "stream.bootstrap"),
        ("rules: [{range: {min: 5, max: 1}}]", "min 5 is not below max 1"),
        ("rules: [{range: {}}]", "neither min nor max"),
    ],
)
def test_what_could_only_fail_later_is_refused_now(extra, words):
    text = (
        GOOD.replace("stream: {durability: synced, disk_budget: 20 GiB}\n", "") if extra.startswith("stream") else GOOD
    )
    text = (
        text.replace(GOOD[GOOD.index("rules:") : GOOD.index("aggregates:")], "") if extra.startswith("rules") else text
    )
    assert words in "\n".join(mistakes(text + extra + "\n"))
