"""The cache of schema ids: the same on every gateway, shared by processes, never fatal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stream.schema_ids import FIRST_FREE, OWN, SchemaIds, UnknownSchema, fingerprint, own_schema

OTHER = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "string"}]}


def test_our_own_ids_are_the_same_everywhere():
    ids = SchemaIds()
    assert {name: ids.id_of(name) for name in OWN} == {"reading": 1, "event": 2, "aggregate": 3, "dead_letter": 4}


@pytest.mark.parametrize("name", OWN)
def test_a_changed_schema_must_get_an_id_of_its_own(name):
    """If this fails: an .avsc was changed. Keep the old entry of OWN, add the new fingerprint with a new id."""
    assert fingerprint(own_schema(name)) in OWN[name]


def test_prose_changes_nothing():
    schema = own_schema("event")
    assert fingerprint({**schema, "doc": "other words"}) == fingerprint(schema)


def test_an_id_once_given_stays(tmp_path):
    path = tmp_path / "schemas.json"
    first = SchemaIds(path).register("other", OTHER)
    assert first == FIRST_FREE
    assert SchemaIds(path).register("other", OTHER) == first
    assert SchemaIds(path).find(first).schema == OTHER


def test_every_written_schema_is_kept_with_its_text(tmp_path):
    path = tmp_path / "schemas.json"
    SchemaIds(path).id_of("reading")
    stored = {entry["id"]: entry for entry in json.loads(path.read_text())["schemas"]}
    assert stored[1] == {"id": 1, "subject": "reading", "schema": own_schema("reading")}


def test_what_another_process_adds_is_found(tmp_path):
    path = tmp_path / "schemas.json"
    mine, other = SchemaIds(path), SchemaIds(path)
    mine.id_of("reading")
    given = other.register("other", OTHER)
    assert mine.find(given).subject == "other"
    with pytest.raises(UnknownSchema, match="77"):
        mine.find(77)


def test_processes_that_start_together_agree(tmp_path):
    code = (
        "import sys; from pathlib import Path; from stream.schema_ids import SchemaIds\n"
        "ids = SchemaIds(Path(sys.argv[1]))\n"
        "for i in range(10):\n"
        "    ids.register(f's{(i + int(sys.argv[2])) % 10}', {'type': 'record', 'name': 'R', 'fields': []})\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "schemas.json")]
    both = [subprocess.Popen([*command, str(start)], cwd=Path(__file__).parents[2]) for start in (0, 5)]
    assert [process.wait(30) for process in both] == [0, 0]
    entries = json.loads((tmp_path / "schemas.json").read_text())["schemas"]
    given = sorted(e["id"] for e in entries if e["id"] >= FIRST_FREE)
    assert given == list(range(FIRST_FREE, FIRST_FREE + 10))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schemas": [{}]}', '{"schemas": [{"id": 1, "subject": "x", "schema": {}}]}']
)
def test_a_corrupt_cache_is_set_aside(tmp_path, text):
    path = tmp_path / "schemas.json"
    path.write_text(text)
    ids = SchemaIds(path)
    assert ids.id_of("event") == 2
    assert ids.set_aside is not None
    assert ids.set_aside.read_text() == text
    assert SchemaIds(path).find(2).subject == "event"
