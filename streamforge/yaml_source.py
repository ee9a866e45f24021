"""YAML with positions: data as Python has it, and the line of every value, so that an error can point at its place.

The YAML here is the 1.2 core: only `true` and `false` are booleans, `00017` and `12:30` stay text, a key given twice is an
error, and aliases may not blow a small file up. What YAML's own parser complains about is put into words by yaml_words.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from schemas.mistakes import Where
from streamforge.file_text import Unreadable
from streamforge.yaml_words import in_words

REPEATED_MAX = 100_000
"""Values that aliases may add to those that are written down."""
DEPTH_MAX = 50
MERGE = "<<"
MERGED = "merges what stands elsewhere, which is not taken here; right would be `defaults` of the adapter, or the lines themselves"


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where the wheel has it: ten times faster."""


class _Loader(_Base):  # type: ignore[misc]  # chosen at run time
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - yaml's own name and shape


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$|^0x[0-9a-fA-F]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.inf$|^\.nan$"),
    list("-+0123456789."),
)


@dataclass
class Source:
    """One parsed file."""

    name: str
    data: Any
    lines: dict[Where, int] = field(default_factory=dict)
    refused: list[tuple[Where, str]] = field(default_factory=list)
    """Keys given twice in one place (their line is that of the second) and merge keys, with what to say about each."""

    def line(self, where: Where) -> int | None:
        """The line of the value, or of the nearest thing around it."""
        while where not in self.lines and where:
            where = where[:-1]
        return self.lines.get(where)


def parse(name: str, text: str) -> Source:
    """Raises Unreadable with what was wrong and where."""
    source = Source(name, None)
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        raise Unreadable(*in_words(error, text)) from None
    try:
        _check_depth(text)
        node = loader.get_single_node()
        source.data = _build(loader, node, (), source, _Repeats()) if node is not None else None
    except yaml.YAMLError as error:
        raise Unreadable(*in_words(error, text)) from None
    except RecursionError:
        raise Unreadable("refers to itself; right would be the lines themselves instead of a reference") from None
    finally:
        loader.dispose()
    return source


def _check_depth(text: str) -> None:
    """Before anything recursive touches the file: libyaml recurses on the C stack, whose end is a segfault."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX and event.start_mark:
                raise Unreadable(
                    f"is nested more than {DEPTH_MAX} deep; right would be a few levels", event.start_mark.line + 1
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Repeats:
    """Counts the values that are there by an alias: a small file may not unfold to a huge one."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._count = 0

    def take(self, node: yaml.Node) -> None:
        """Raises Unreadable."""
        self._count += id(node) in self._seen
        self._seen.add(id(node))
        if self._count > REPEATED_MAX:
            raise Unreadable(
                f"unfolds by its references to {REPEATED_MAX} values more than are written; right would be the lines themselves",
                node.start_mark.line + 1,
            )


def _build(loader: _Loader, node: yaml.Node, where: Where, source: Source, repeats: _Repeats) -> Any:
    """The value of `node`; notes its line and those of all below it."""
    source.lines[where] = node.start_mark.line + 1
    repeats.take(node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*where, i), source, repeats) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(loader, node, where, source, repeats)
    try:
        return loader.construct_object(node)
    except ValueError:
        text = f"{node.value[:20]}... is too long for a number; right would be quotes around it, if it is a text"
        raise Unreadable(text, node.start_mark.line + 1) from None


def _build_mapping(
    loader: _Loader, node: yaml.MappingNode, where: Where, source: Source, repeats: _Repeats
) -> dict[str, Any]:
    built: dict[str, Any] = {}
    elsewhere: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise Unreadable("has a key that is not a plain word; right would be `key: value`", line)
        key = str(key_node.value)
        place = (*where, key)
        if key == MERGE:
            merged = _build(loader, value_node, place, source, repeats)
            source.lines[place] = line
            source.refused.append((place, MERGED))
            elsewhere |= merged if isinstance(merged, dict) else {}
            continue
        if key in built:
            source.refused.append((place, f"is given twice, first in line {source.lines[place]}; right would be once"))
        built[key] = _build(loader, value_node, place, source, repeats)
        source.lines[place] = line
    return {**elsewhere, **built}
