"""fastavro as we use it: the reference for every record, and the way for all that does not fit a template.

Times are plain integers here (microseconds since 1970). Decoding is guarded (PITFALLS 6.10): size cap, position must equal the end,
a closed list of errors, no recursive schema, no array of empty items.
"""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError

from stream.schema_ids import Schema, SchemaIds, own_schema

FRAME = struct.Struct(">bI")
"""Confluent framing: magic byte 0, schema id."""

RECORD_MAX = 8 * 2**20
"""Bytes; a larger record is not decoded. The broker takes about 1 MB."""

_BROKEN = (
    EOFError,
    IndexError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    StopIteration,
    struct.error,
)


class Undecodable(ValueError):
    """These bytes are no record of that schema. The text says what is wrong."""


@cache
def parsed(name: str) -> Any:
    """Our own schema, ready for fastavro, times as integers."""
    return parse(own_schema(name))


def parse(schema: Schema) -> Any:
    """Any schema ready for fastavro. Raises Undecodable for one that could be used against us."""
    try:
        plain = _without_logical(schema)
        _refuse_recursion(plain, ())
        _refuse_empty_items(plain)
        return fastavro.parse_schema(plain, named_schemas={})
    except Undecodable:
        raise
    except Exception as wrong:
        raise Undecodable(f"the writer's schema is not usable: {wrong}") from None


def encode(name: str, schema_id: int, fields: dict[str, Any]) -> bytes:
    """A framed record of our own schema. Raises ValueError for fields that do not fit."""
    out = io.BytesIO()
    out.write(FRAME.pack(0, schema_id))
    try:
        fastavro.schemaless_writer(out, parsed(name), fields, strict_allow_default=True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error) as wrong:
        raise ValueError(f"does not fit the schema {name}: {wrong}") from None
    return out.getvalue()


def schema_id_of(wire: bytes) -> int:
    """The id in the framing. Raises Undecodable."""
    if len(wire) < FRAME.size or wire[0] != 0:
        raise Undecodable(f"no Confluent framing: starts with {wire[:5].hex() or 'nothing'}")
    schema_id: int = FRAME.unpack_from(wire)[1]
    return schema_id


def decode(wire: bytes, writer: Any, reader: Any) -> dict[str, Any]:
    """The record's fields as `reader` has them. Raises Undecodable."""
    if len(wire) > RECORD_MAX:
        raise Undecodable(f"{len(wire)} bytes; at most {RECORD_MAX} are decoded")
    source = io.BytesIO(wire)
    source.seek(FRAME.size)
    try:
        fields = fastavro.schemaless_reader(source, writer, None if reader is writer else reader)
    except SchemaResolutionError as wrong:
        raise Undecodable(f"cannot be read as our schema: {wrong}") from None
    except _BROKEN as wrong:
        raise Undecodable(f"not a record of its schema: {type(wrong).__name__} {wrong}".rstrip()) from None
    if source.tell() != len(wire):
        raise Undecodable(f"{len(wire) - source.tell()} bytes too many")
    if not isinstance(fields, dict):
        raise Undecodable("its schema is not a record")
    return fields


class Writers:
    """Parsed schemas of records by id, for decoding."""

    def __init__(self, ids: SchemaIds) -> None:
        self._ids = ids
        self._parsed: dict[int, tuple[str, Any]] = {}

    def find(self, schema_id: int) -> tuple[str, Any]:
        """(name of our schema, writer's schema). Raises Undecodable for an unknown id or an unusable schema."""
        if schema_id not in self._parsed:
            try:
                stored = self._ids.find(schema_id)
            except LookupError as unknown:
                raise Undecodable(str(unknown)) from None
            own = schema_id == self._ids.id_of(stored.subject) if stored.subject in OWN_NAMES else False
            self._parsed[schema_id] = (stored.subject, parsed(stored.subject) if own else parse(stored.schema))
        return self._parsed[schema_id]

    def decode(self, wire: bytes) -> tuple[str, dict[str, Any]]:
        """(name of our schema, fields) of any framed record. Raises Undecodable."""
        name, writer = self.find(schema_id_of(wire))
        if name not in OWN_NAMES:
            raise Undecodable(f"schema {name!r} is none of {', '.join(OWN_NAMES)}")
        return name, decode(wire, writer, parsed(name))


OWN_NAMES = ("reading", "event", "aggregate", "dead_letter")


def _without_logical(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_logical(v) for k, v in node.items() if k != "logicalType"}
    return [_without_logical(v) for v in node] if isinstance(node, list) else node


def _children(node: Any) -> list[Any]:
    if isinstance(node, list):
        return node
    if not isinstance(node, dict):
        return []
    inner = [f["type"] for f in node.get("fields", ())]
    if isinstance(node["type"], dict | list):
        inner.append(node["type"])
    return inner + [node[k] for k in ("items", "values") if k in node]


def _refuse_recursion(node: Any, inside: tuple[str, ...]) -> None:
    """A record that holds itself can nest until the C stack ends, which kills the process."""
    if len(inside) > 64:
        raise Undecodable("the writer's schema is nested more than 64 deep")
    if isinstance(node, str) and node.rpartition(".")[2] in inside:
        raise Undecodable(f"the writer's schema is recursive: {node} holds itself")
    name = str(node.get("name", "")) if isinstance(node, dict) else ""
    deeper = (*inside, name.rpartition(".")[2])
    for child in _children(node):
        _refuse_recursion(child, deeper)


def _refuse_empty_items(node: Any) -> None:
    """An array of items that take no bytes can announce 2**33 of them in six."""
    if isinstance(node, dict) and node.get("type") == "array" and not _takes_bytes(node["items"]):
        raise Undecodable("the writer's schema has an array of items that take no bytes")
    for child in _children(node):
        _refuse_empty_items(child)


def _takes_bytes(node: Any) -> bool:
    if isinstance(node, list):
        return True
    kind = node["type"] if isinstance(node, dict) else node
    if isinstance(kind, dict | list):
        return _takes_bytes(kind)
    if kind in {"record", "error"}:
        return any(_takes_bytes(f["type"]) for f in node["fields"])
    if kind == "fixed":
        return bool(node["size"] > 0)
    return kind in {"boolean", "int", "long", "float", "double", "bytes", "string", "enum", "array", "map"}
