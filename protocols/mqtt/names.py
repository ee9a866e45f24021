"""Names made from a topic and a payload: `{topic[1]}`, `{topic}`, `{$.device.name}`, `{key}` inside a text. Pure.

Levels count from 0, from the end with -1. What a name may look like is decided here too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from protocols.mqtt import paths
from protocols.mqtt.filters import Levels, least_levels
from protocols.mqtt.paths import Indices, Path

LONGEST: Final = 256
_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_LEVEL: Final = re.compile(r"topic\[(-?\d{1,3})\]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
RIGHT: Final = "right would be such as {topic[1]}, {topic[-1]}, {topic}, {$.device} or, with `parameters: all`, {key}"


class Unnamed(Exception):
    """No usable name comes out; the text says why."""


@dataclass(frozen=True, slots=True)
class Level:
    index: int


class _Whole:
    """The whole topic."""


class _Key:
    """The member's own name, for `parameters: all`."""


WHOLE: Final = _Whole()
KEY: Final = _Key()
Part = str | Level | Path | _Whole | _Key


@dataclass(frozen=True, slots=True)
class Template:
    text: str
    parts: tuple[Part, ...]

    @property
    def fixed(self) -> bool:
        """Always the same name, whatever arrives."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def of_topic(self) -> bool:
        """The topic alone decides the name."""
        return not any(isinstance(part, Path | _Key) for part in self.parts)

    def paths(self) -> list[Path]:
        return [part for part in self.parts if isinstance(part, Path)]

    def check(self, wanted: Levels) -> None:
        """Raises ValueError for a level that topics of this filter may not have."""
        for part in self.parts:
            if isinstance(part, Level) and not -least_levels(wanted) <= part.index < least_levels(wanted):
                sure = f"levels 0 to {least_levels(wanted) - 1}"
                raise ValueError(
                    f"{self.text!r} takes a level that topics of {'/'.join(wanted)} need not have; right would be {sure}"
                )

    def render(self, topic: str, levels: list[str], document: Any = None, indices: Indices = (), key: str = "") -> str:
        """The name. Raises Unnamed."""
        return checked("".join(_text(part, topic, levels, document, indices, key) for part in self.parts))


def parse(text: str) -> Template:
    """Raises ValueError in words."""
    parts: list[Part] = []
    end = 0
    for found in _HOLE.finditer(text):
        parts += [_literal(text[end : found.start()], text), _hole(found[1], text)]
        end = found.end()
    parts.append(_literal(text[end:], text))
    return Template(text, tuple(part for part in parts if part != ""))


def checked(name: str) -> str:
    """A name that can be a key, a label and a column. Raises Unnamed."""
    if not name or len(name) > LONGEST:
        raise Unnamed(f"the name has {len(name)} characters; right would be 1 to {LONGEST}")
    if _CONTROL.search(name):
        raise Unnamed(f"the name {name[:80]!r} holds control characters")
    return name


def _literal(text: str, whole: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError(f"{whole!r} has a brace without its partner; {RIGHT}")
    return text


def _hole(text: str, whole: str) -> Part:
    if text == "topic":
        return WHOLE
    if text == "key":
        return KEY
    if found := _LEVEL.fullmatch(text):
        return Level(int(found[1]))
    if text.startswith("$"):
        return paths.parse(text)
    raise ValueError(f"{whole!r}: {{{text}}} is not known; {RIGHT}")


def _text(part: Part, topic: str, levels: list[str], document: Any, indices: Indices, key: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Level):
        return levels[part.index]
    if isinstance(part, Path):
        return _scalar(part, paths.at(document, part, indices))
    return key if part is KEY else topic


def _scalar(path: Path, value: Any) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise Unnamed(f"{path.text} gives no name: {value!r:.80}")
