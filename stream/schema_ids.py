"""Which number stands for which Avro schema: the local cache of what a schema registry will later say.

The file `<data_dir>/schemas.json` keeps the text of every schema that was ever written, by id, so that old records stay readable.
Our own schemas have fixed ids in `OWN`, the same on every gateway; whoever changes an .avsc adds its new fingerprint there with a
new id. Not responsible for encoding or decoding (codec.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import schemas

Schema = dict[str, Any]

OWN: dict[str, dict[str, int]] = {
    "reading": {"403a7e3bab5ac58a": 1},
    "event": {"3e171dd50f52088e": 2},
    "aggregate": {"411aaae22ade372b": 3},
    "dead_letter": {"26690c336f5933bb": 4},
}
"""Name of the .avsc to fingerprint to id. An entry never changes once a gateway has written with it."""

FIRST_FREE = 1000
"""Ids from here on are given out by the cache, on this gateway only."""


class UnknownSchema(LookupError):
    """No schema of this id was ever seen here."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One schema as the cache holds it."""

    id: int
    subject: str
    fingerprint: str
    schema: Schema


@cache
def own_schema(name: str) -> Schema:
    """The current Avro schema `schemas/<name>.avsc`."""
    text = (Path(schemas.__file__).parent / f"{name}.avsc").read_text(encoding="utf-8")
    schema: Schema = json.loads(text)
    return schema


def fingerprint(schema: Any) -> str:
    """First 16 hex digits of the SHA-256 of the schema without its prose, keys sorted."""
    text = json.dumps(_without_doc(schema), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class SchemaIds:
    """Ids of schemas, from the file at `path`; without a path only our own fixed ids, and nothing is written.

    Every process of the gateway may use the same file: it is changed under a lock, atomically, and synced. A file that cannot be
    read is set aside as `schemas.json.corrupt-<time>` and started again from the fixed ids.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: os.stat_result | None = None
        self._by_id: dict[int, Stored] = {}
        self._by_print: dict[tuple[str, str], int] = {}
        self._own: dict[str, int] = {}
        self.set_aside: Path | None = None
        """Where a corrupt cache was put, for the health page."""
        self._add(_own_stored())

    def id_of(self, name: str) -> int:
        """The id to write records of our own schema `name` with: reading, event, aggregate or dead_letter."""
        if name not in self._own:
            self._own[name] = self.register(name, own_schema(name))
        return self._own[name]

    def register(self, subject: str, schema: Schema) -> int:
        """The id of a schema; given out and stored at first use."""
        key = (subject, fingerprint(schema))
        if key in self._by_print and (self._path is None or self._seen is not None):
            return self._by_print[key]
        with self._locked():
            self._load()
            if key not in self._by_print:
                free = max([FIRST_FREE - 1, *self._by_id]) + 1
                self._add([Stored(free, subject, key[1], schema)])
            self._save()
        return self._by_print[key]

    def find(self, schema_id: int) -> Stored:
        """The schema of an id; looks into the file again when another process may have added it. Raises UnknownSchema."""
        if schema_id not in self._by_id and self._changed():
            with self._locked():
                self._load()
        if schema_id not in self._by_id:
            raise UnknownSchema(f"schema id {schema_id} is not known on this gateway")
        return self._by_id[schema_id]

    def _add(self, stored: list[Stored]) -> None:
        for one in stored:
            self._by_id[one.id] = one
            self._by_print[one.subject, one.fingerprint] = one.id

    def _changed(self) -> bool:
        if self._path is None:
            return False
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        return self._seen is None or (now.st_mtime_ns, now.st_ino) != (self._seen.st_mtime_ns, self._seen.st_ino)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes. The lock is a file of its own, since the cache itself is replaced."""
        if self._path is None:
            yield
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> None:
        if self._path is None or not self._path.exists():
            return
        self._seen = self._path.stat()
        try:
            self._add(_parse(self._path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError):
            self.set_aside = self._path.with_name(f"{self._path.name}.corrupt-{time.time_ns()}")
            self._path.rename(self.set_aside)

    def _save(self) -> None:
        if self._path is None:
            return
        rows = [self._by_id[i] for i in sorted(self._by_id)]
        text = json.dumps(
            {"version": 1, "schemas": [{"id": s.id, "subject": s.subject, "schema": s.schema} for s in rows]}, indent=1
        )
        if not self._path.exists() or self._path.read_text(encoding="utf-8") != text:
            _write_synced(self._path, text)
        self._seen = self._path.stat()


def _own_stored() -> list[Stored]:
    """Our own current schemas under their fixed ids; one that was changed without an id in the table is left out."""
    current = [(name, fingerprint(own_schema(name)), own_schema(name)) for name in OWN]
    return [Stored(OWN[name][mark], name, mark, schema) for name, mark, schema in current if mark in OWN[name]]


def _parse(text: str) -> list[Stored]:
    entries = json.loads(text)["schemas"]
    stored = [Stored(int(e["id"]), str(e["subject"]), fingerprint(e["schema"]), e["schema"]) for e in entries]
    fixed = {i: (name, mark) for name, marks in OWN.items() for mark, i in marks.items()}
    if wrong := [s for s in stored if fixed.get(s.id, (s.subject, s.fingerprint)) != (s.subject, s.fingerprint)]:
        raise ValueError(f"id {wrong[0].id} belongs to another schema")
    return stored


def _write_synced(path: Path, text: str) -> None:
    """All or nothing, also over a power cut: a new file, synced, takes the name; then the folder is synced."""
    fresh = path.with_suffix(".new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _without_doc(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_doc(v) for k, v in node.items() if k != "doc"}
    return [_without_doc(v) for v in node] if isinstance(node, list) else node
