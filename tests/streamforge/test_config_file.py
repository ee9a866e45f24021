"""A gateway file is checked whole: every mistake at once, each where it stands and with what would be right."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from streamforge.cli import app
from streamforge.config_file import load, load_text
from streamforge.config_problems import Invalid
from streamforge.file_text import SIZE_MAX

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
  - {id: historian, type: postgres, dsn: "postgresql://db/plant", password: "${secret:historian}", topics: [telemetry.clean, events.clean, telemetry.1min]}
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
        ("site:", "sit:", 1, ["gateway.sit", "unknown key `sit`; did you mean `site`?"]),
        ("durability: synced", "durability: sync", 2, ["stream.durability", '"sync"', "one of synced, lazy"]),
        ("20 GiB", "20 GiBi", 2, ["stream.disk_budget", "20 GiBi", "64 MiB or 20 GiB"]),
        ("modbus_tcp", "modbus_tpc", 5, ["adapters[0].protocol", "did you mean `modbus_tcp`?"]),
        ("    protocol: modbus_tcp\n", "", 4, ["adapters[0].protocol", "is missing", "opcua"]),
        ("every: 1s", "every: 1", 8, ["adapters[0].every", "has no unit", "1s or 1ms"]),
        ("type: float32", "type: float33", 11, ["adapters[0].points[0].type", "float33"]),
        ("[-20, 120]", "[120, -20]", 11, ["adapters[0].points[0]", "range", "[lowest, highest]"]),
        (
            "byte_order: big",
            "byte_order: bog",
            9,
            ["adapters[0].defaults.byte_order", "bog", "one of big, little", "given to 2 points"],
        ),
        (
            "max_per_second: 5",
            "max_per_second: -5",
            14,
            ["rules[0].rate_of_change.max_per_second", "-5", "more than 0"],
        ),
        ("rate_of_change", "rate_of_chnge", 14, ["rules[0].rate_of_chnge", "did you mean `rate_of_change`?"]),
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
        ("# nothing\n", 1, "is empty"),
        ("hello\n", 1, 'is one value ("hello") and not a mapping'),
        ("gateway: {id: x}\ngateway: {id: y}\n", 2, "is given twice, first in line 1"),
        ("gateway:\n\t- x\n", 2, "is indented with a tab; right would be blanks"),
        ("gateway: {id: x}\nrules: [{match: {parameter: *_temp}}]\n", 2, "right would be quotes around the text"),
        ("gateway: {id: x, site: ${secret:a}}\n", 1, 'quotes around the reference: "${secret:name}"'),
        ("gateway: {id: !secret a}\n", 1, "uses the tag !secret"),
        ("gateway: {id: %a}\n", 1, "quotes around the text"),
        ("gateway: {id: x\nadapters: []\n", 2, "lacks a comma or a closing bracket"),
        ('gateway: {id: "x}\n', 2, "opens a quote that is never closed"),
        ("gateway:\n  id: x\n site: y\n", 3, "is indented otherwise"),
        ("gateway: {id: x}\nadapters:\n  - id: a: b\n", 3, "has a colon where none can be"),
        ("gateway: {id: x}\n---\ngateway: {id: y}\n", 2, "second document"),
        ("gateway: {id: x}\nsite: \0\n", 2, "holds a character that no text has"),
        ("gateway: {id: x}\n[a, b]: c\n", 2, "has a key that is not a plain word"),
        ("gateway: {id: x}\n", None, "adapters"),
        ("- 1\n", 1, "is a list and not a mapping"),
        ("gateway: {id: x}\nadapters: [{id: a, protocol: [b]}]\n", 2, "is not known; right would be one of modbus_tcp"),
        ("gateway: {id: " + "9" * 5000 + "}\n", 1, "99... is too long for a number"),
        ("gateway: &a [*a]\n", None, "refers to itself"),
        ("[" * 100_000 + "]" * 100_000, 1, "nested more than 50 deep"),
    ],
    ids=lambda given: given[:30] if isinstance(given, str) else None,
)
def test_files_that_are_no_configuration(text, line, words):
    found = mistakes(text)
    assert words in "\n".join(found)
    if line:
        assert any(one.startswith(f"f.yaml:{line}:") and words in one for one in found)


def test_an_alias_bomb_is_refused():
    layers = "a: &l0 [x]\n" + "".join(f"b{i}: &l{i + 1} [{', '.join([f'*l{i}'] * 10)}]\n" for i in range(9))
    assert "unfolds by its references" in "\n".join(mistakes(layers))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path):
    with pytest.raises(Invalid, match="is not there"):
        load(tmp_path / "none.yaml")
    with pytest.raises(Invalid, match="is a directory; right would be a YAML file"):
        load(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"gateway:\n  id: \xff\xfe")
    with pytest.raises(Invalid, match=r"bytes.yaml:2: is not UTF-8 text \(byte 0xff\)"):
        load(tmp_path / "bytes.yaml")
    (tmp_path / "wide.yaml").write_text(GOOD, encoding="utf-16")
    with pytest.raises(Invalid, match="is UTF-16 text; right would be UTF-8"):
        load(tmp_path / "wide.yaml")
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(SIZE_MAX + 1)
    with pytest.raises(Invalid, match="is longer than any gateway file; right would be at most 16 MiB"):
        load(tmp_path / "huge.yaml")
    (tmp_path / "marked.yaml").write_text(GOOD, encoding="utf-8-sig")
    assert load(tmp_path / "marked.yaml").version == load_text(GOOD).version


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path):
    (tmp_path / "locked.yaml").write_text(GOOD)
    (tmp_path / "locked.yaml").chmod(0)
    with pytest.raises(Invalid, match="cannot be read: Permission denied; right would be"):
        load(tmp_path / "locked.yaml")


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
        (
            "rules: [{range: {min: 5, max: 1}}]",
            "rules[0].range.min: 5 is not below max 1; right would be less than that",
        ),
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


def test_each_thing_that_is_no_gateway_file_is_told_what_would_be_right(tmp_path: Path):
    (tmp_path / "gateway.yaml").write_text(GOOD)
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "program.yaml").write_bytes(b"\x7fELF\x02\x01\x01\0\0\0")
    (tmp_path / "table.xlsx").write_bytes(b"PK\x03\x04\x14\0")
    (tmp_path / "packed.yaml").write_bytes(b"\x1f\x8b\x08\0")
    (tmp_path / "link.yaml").symlink_to("nothing.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "plant.yml").write_text(GOOD)
    for name, words in {
        "gatewy.yaml": "is not there; right would be the path of a gateway file, as /etc/streamforge/gateway.yaml; did you mean",
        "far/gateway.yaml": "far is no directory; right would be",
        "one": "is a directory; right would be a YAML file; did you mean .*/one/plant.yml",
        "empty.yaml": "is empty; right would be at least `gateway:",
        "program.yaml": "is a binary file and no text; right would be",
        "table.xlsx": "is an archive or an office document; right would be",
        "packed.yaml": "is compressed with gzip; right would be",
        "link.yaml": "is a link to nothing.yaml, which is not there; right would be",
        "pipe.yaml": "is a device or a pipe and not a file; right would be",
    }.items():
        with pytest.raises(Invalid, match=words):
            load(tmp_path / name)


def test_a_merge_key_is_one_mistake_and_what_it_merges_goes_on():
    text = GOOD.replace("    host: 192.0.2.14\n", "    <<: {host: 192.0.2.14, port: 503}\n    port: 502\n")
    (found,) = mistakes(text)
    assert found.startswith(
        "f.yaml:6: adapters[0].<<: merges what stands elsewhere, which is not taken here; right would be"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n\tb: 2\n",
        "gateway: *x\n",
        "<<<<\n>>>>: {[\n",
        "a: [1, 2\n",
        "a: 'x\n",
        "[s]\nid = 3\n",
        "a: @x\n",
        "a: ]\n",
    ],
)
def test_what_is_no_yaml_is_told_what_would_be_right(text):
    (found,) = mistakes(text)
    assert "; right would be " in found


@pytest.mark.parametrize(
    ("command", "end"), [("check", "1 mistake to correct"), ("run", "1 mistake; the gateway was not started")]
)
def test_check_speaks_of_the_file_and_run_of_the_gateway(tmp_path: Path, command: str, end: str):
    result = CliRunner().invoke(app, [command, str(tmp_path / "none.yaml"), "--data", str(tmp_path)])
    assert (result.exit_code, result.output.strip().endswith(end)) == (3, True)
