"""YAML with positions: data as Python has it, and the line of every value, so that an error can point at its place.

The YAML here is the 1.2 core: only `true` and `false` are booleans, `00017` and `12:30` stay text, a key given twice is an
error, and aliases may not blow a small file up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Where = tuple[str | int, ...]
"""The way to a value: ("adapters", 0, "points", 3, "address")."""

SIZE_MAX = 16 * 2**20
NODES_MAX = 2_000_000
DEPTH_MAX = 50


class Unreadable(Exception):
    """The file is not there or is not YAML. `line` is 1-based, or None."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


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

    def line(self, where: Where) -> int | None:
        """The line of the value, or of the nearest thing around it."""
        while where not in self.lines and where:
            where = where[:-1]
        return self.lines.get(where)


def read(path: Path) -> Source:
    """Raises Unreadable with what was wrong and where."""
    try:
        if not path.is_file():
            raise Unreadable("is not there" if not path.exists() else "is not a file")
        if path.stat().st_size > SIZE_MAX:
            raise Unreadable(f"is {path.stat().st_size} bytes; right would be at most {SIZE_MAX}")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    return parse(str(path), text)


def parse(name: str, text: str) -> Source:
    source = Source(name, None)
    loader = _Loader(text)
    try:
        _check_depth(text)
        node = loader.get_single_node()
        source.data = _build(loader, node, (), source.lines, [NODES_MAX]) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(f"is not YAML: {error.problem or error.context}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"is not YAML: {error}") from None
    except RecursionError:
        raise Unreadable("refers to itself") from None
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
                raise Unreadable(f"is nested more than {DEPTH_MAX} deep", event.start_mark.line + 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _build(loader: _Loader, node: yaml.Node, where: Where, lines: dict[Where, int], left: list[int]) -> Any:
    """The value of `node`; notes its line and those of all below it."""
    lines[where] = node.start_mark.line + 1
    left[0] -= 1
    if left[0] < 0:
        raise Unreadable(f"unfolds to more than {NODES_MAX} values", node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*where, i), lines, left) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(loader, node, where, lines, left)
    try:
        return loader.construct_object(node)
    except ValueError as error:
        raise Unreadable(f"cannot be read: {error}", node.start_mark.line + 1) from None


def _build_mapping(
    loader: _Loader, node: yaml.MappingNode, where: Where, lines: dict[Where, int], left: list[int]
) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise Unreadable("has a key that is not a plain word", line)
        key = str(key_node.value)
        if key in built:
            raise Unreadable(f"gives '{key}' twice in one place", line)
        built[key] = _build(loader, value_node, (*where, key), lines, left)
        lines[*where, key] = line
    return built
