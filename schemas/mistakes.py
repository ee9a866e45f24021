"""What pydantic found wrong, in the words of the plant: where, what was given, what would be right.

A validator's text follows one rule: it is a sentence without its subject ("is not ...; right would be ..."), or begins with the name of the
field it is about ("range: ..."). One that knows several places raises Mistakes. Files and lines are no business of this module.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from schemas.units import as_limit

Where = tuple[str | int, ...]
"""The way to a value: ("adapters", 0, "points", 3, "address")."""

SHOWN_MAX = 60
SECRET_KEYS = ("password", "secret", "token")

WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of sensible size",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "two numbers, as [0, 100]",
    "dict_type": "a section, as {key: value}",
}
BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
OTHER_WORDS = {
    "interval": "every", "period": "every", "poll_interval": "every", "scan_rate": "every", "rate": "every",
    "name": "parameter", "tag": "parameter", "ip": "host", "hostname": "host", "server": "host", "url": "endpoint",
    "slave": "unit", "slave_id": "unit", "datatype": "type", "data_type": "type", "username": "user", "register": "address",
    "factor": "scale", "device": "asset", "nodeid": "node", "node_id": "node", "tags": "points", "kind": "type",
    "connection": "dsn", "uri": "dsn", "topic": "topics",
}  # fmt: skip
"""What people of other tools write, and what it is called here."""


class Mistakes(ValueError):
    """Raised by a validator for several mistakes, or for one below its own place: (way from here, sentence)."""

    def __init__(self, found: list[tuple[Where, str]]) -> None:
        super().__init__("; ".join(f"{as_text(place)}: {text}" for place, text in found))
        self.found = found


@dataclass(frozen=True)
class Mistake:
    """`given` is None where nothing was; it is never shown for a secret."""

    place: Where
    message: str
    given: str | None = None


@dataclass(frozen=True)
class _Found:
    detail: ErrorDetails
    steps: Where
    holders: tuple[type[BaseModel], ...]
    """Of which one the last step is, or should be, a field."""
    models: tuple[type[BaseModel], ...]
    """What may stand at the last step, where that is a section."""
    in_branch: bool
    """One of several things that were possible there."""


def told(error: ValidationError, model: type[BaseModel], data: Any) -> list[Mistake]:
    """Every mistake once; `data` is what was validated as `model`."""
    found = [_located(model, data, detail) for detail in error.errors(include_url=False)]
    groups: dict[Where, list[_Found]] = {}
    for one in found:
        deeper = any(len(o.steps) > len(one.steps) and o.steps[: len(one.steps)] == one.steps for o in found)
        if not (one.in_branch and deeper):
            groups.setdefault(one.steps, []).append(one)
    return [mistake for group in groups.values() for mistake in _of_one_place(group)]


def switches(model: type[BaseModel], data: Any, place: Where = ()) -> list[Mistake]:
    """`true` where a number is wanted, which pydantic takes as 1."""
    if not isinstance(data, dict):
        return []
    found = []
    for name, given in data.items():
        numbers_only, inner = _kind_of(model, name)
        if not isinstance(given, bool | list | dict):
            continue
        inside = enumerate(given) if isinstance(given, list) else ()
        for at, one in [((), given), *(((i,), each) for i, each in inside)]:
            if numbers_only and isinstance(one, bool):
                found.append(Mistake((*place, name, *at), f"{shown(one)} is not a number", shown(one)))
            if inner is not None and isinstance(one, dict):
                found += switches(inner, one, (*place, name, *at))
    return found


@functools.cache
def _kind_of(model: type[BaseModel], name: str) -> tuple[bool, type[BaseModel] | None]:
    """Whether a field takes numbers and no switches, and the model of the sections in it."""
    field = model.model_fields.get(name)
    if field is None:
        return False, None
    kinds = set(_kinds(field.annotation))
    return bool(kinds & {int, float}) and bool not in kinds, next(iter(_inner(field.annotation)), None)


def _kinds(annotation: Any) -> list[Any]:
    """The plain types inside `list[int]`, `float | None`, `Annotated[...]`."""
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]


def as_text(where: Where) -> str:
    """`adapters[0].points[3].address`"""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def meant(given: str, known: Iterable[str]) -> str:
    """The question after a word that is not known, or nothing."""
    names = {name.lower(): name for name in known}
    others = {other: names[ours] for other, ours in OTHER_WORDS.items() if ours in names}
    for words in (names, others):
        close = difflib.get_close_matches(given.lower().replace("-", "_"), words, n=1)
        if close:
            return f"; did you mean `{words[close[0]]}`?"
    return ""


def shown(given: Any, where: Where = ()) -> str:
    """A value as it may stand in a message."""
    if any(str(step).lower() in SECRET_KEYS for step in where[-1:]):
        return "what is given"
    if isinstance(given, float) and not math.isfinite(given):
        return ".nan" if math.isnan(given) else ".inf" if given > 0 else "-.inf"
    text = json.dumps(given, default=str, ensure_ascii=False)
    text = re.sub(r":(?!//)[^:@\s]+@", ":***@", text)
    text = re.sub(r"(?i)(password|token)(\s*=\s*)[^\s\"&]+", r"\1\2***", text)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def _located(model: type[BaseModel], data: Any, detail: ErrorDetails) -> _Found:
    """Pydantic's own way, without the names of union members and validators that it puts in: nobody wrote those."""
    models: tuple[type[BaseModel], ...] = (model,)
    holders, steps, current = models, list[str | int](), data
    last = len(detail["loc"]) - 1 if detail["type"] in {"extra_forbidden", "missing"} else None
    for number, step in enumerate(detail["loc"]):
        if isinstance(step, int):
            steps.append(step)
            current = current[step] if isinstance(current, list) and step < len(current) else None
        elif number == last or step in _keys(current) or any(step in m.model_fields for m in models):
            steps.append(step)
            holders = models
            models = tuple(i for m in models if step in m.model_fields for i in _inner(m.model_fields[step].annotation))
            current = current.get(step) if isinstance(current, dict) else None
        else:
            models = tuple(m for m in models if _is_called(m, step)) or models
    return _Found(detail, tuple(steps), holders, models, len(steps) < len(detail["loc"]))


def _keys(data: Any) -> Iterable[Any]:
    return data if isinstance(data, dict) else ()


def _is_called(model: type[BaseModel], tag: str) -> bool:
    """Whether a union's tag means this member: its name, or the word that tells it from the others."""
    words = [get_args(field.annotation) for field in model.model_fields.values()]
    return model.__name__ == tag or (tag,) in words


def _inner(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The models inside `list[Model]`, `Model | None`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(found for part in get_args(annotation) for found in _inner(part))


def _of_one_place(group: list[_Found]) -> list[Mistake]:
    first = group[0]
    given, place = first.detail["input"], first.steps
    wanted = [_wanted(one) for one in group]
    if all(wanted):
        return [Mistake(place, _not_wanted(given, place, [w for w in wanted if w], group), shown(given, place))]
    return list(dict.fromkeys(mistake for one in group for mistake in _sentences(one)))


def _wanted(one: _Found) -> str | None:
    """What a value of another kind should have been; None for all other mistakes."""
    kind, detail = one.detail["type"], one.detail
    if kind == "list_type":
        name = next((str(step) for step in reversed(one.steps) if isinstance(step, str)), "values")
        return f"a list of {name}; right would be lines that begin with `- `"
    if kind == "tuple_type" and not _is_pair(one):
        return "a list; right would be [..., ...]"
    if kind in {"literal_error", "enum"}:
        names = _names(detail)
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if kind in {"model_type", "model_attributes_type"}:
        needed = [name for m in one.models[-1:] for name, field in m.model_fields.items() if field.is_required()]
        return f"a section, as {{{', '.join(f'{name}: ...' for name in needed) or 'key: value'}}}"
    return WANTED.get(kind)


def _is_pair(one: _Found) -> bool:
    """Whether exactly two values belong here."""
    fields = [m.model_fields[str(s)] for m in one.holders for s in one.steps[-1:] if s in m.model_fields]
    return any(
        len(get_args(kind)) == 2 and ... not in get_args(kind)
        for f in fields
        for kind in _kinds(f.annotation)
        if get_origin(kind) is tuple
    )


def _names(detail: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", detail.get("ctx", {}).get("expected", ""))


def _not_wanted(given: Any, place: Where, wanted: list[str], group: list[_Found]) -> str:
    right = " or ".join(dict.fromkeys(wanted))
    if given is None:
        return f"has no value; right would be {right.partition('; right')[0]}"
    guess = meant(given, [n for one in group for n in _names(one.detail)]) if isinstance(given, str) else ""
    if right == "text" and isinstance(given, int | float):
        quoted = '"${secret:name}"' if place and place[-1] in SECRET_KEYS else "quotes around it"
        return f"{shown(given, place)} is not text; right would be {quoted}"
    return f"{shown(given, place)} is not {right}{guess}"


def _sentences(one: _Found) -> list[Mistake]:
    detail, place, given = one.detail, one.steps, one.detail["input"]
    kind, ctx = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return [Mistake(place, f"is missing{_described(one)}")]
    if kind == "extra_forbidden":
        known = sorted({name for m in one.holders for name in m.model_fields})
        name = str(place[-1])
        guess = meant(name, known)
        return [Mistake(place, f"unknown key `{name}`{guess} {'Known' if guess else '- known'} are {', '.join(known)}")]
    if kind in BOUNDS:
        key, words = BOUNDS[kind]
        size = "small" if kind.startswith("greater") else "large"
        return [
            Mistake(
                place,
                f"{shown(given, place)} is too {size}; right would be {words} {as_limit(ctx[key], given)}",
                shown(given, place),
            )
        ]
    if kind == "value_error":
        return _from_validator(one, ctx["error"])
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        return [_of_tag(one)]
    return [Mistake(place, _short_or_long(one), shown(given, place))]


def _described(one: _Found) -> str:
    """The first sentence of the missing field's own description."""
    field = next((m.model_fields[str(one.steps[-1])] for m in one.holders if one.steps[-1] in m.model_fields), None)
    text = (field.description or "") if field else ""
    return f" ({re.split(r'(?<=[a-z0-9])[.;] ', text)[0].rstrip('.')})" if text else ""


def _of_tag(one: _Found) -> Mistake:
    """Several kinds of section are possible here, and one word should say which."""
    word = one.detail["ctx"]["discriminator"].strip("'")
    kinds = re.findall(r"'([^']*)'", one.detail["ctx"].get("expected_tags", ""))
    kinds = kinds or sorted(
        {str(get_args(m.model_fields[word].annotation)[0]) for m in one.models if word in m.model_fields}
    )
    given = one.detail["input"].get(word) if isinstance(one.detail["input"], dict) else None
    right = f"one of {', '.join(kinds)}"
    if given is None:
        return Mistake((*one.steps, word), f"is missing; right would be {right}")
    return Mistake((*one.steps, word), f"{shown(given)} is not {right}{meant(str(given), kinds)}", shown(given))


def _short_or_long(one: _Found) -> str:
    kind, ctx, given = one.detail["type"], one.detail.get("ctx", {}), shown(one.detail["input"], one.steps)
    name = next((str(step) for step in reversed(one.steps) if isinstance(step, str)), "values")
    if kind in {"string_too_short", "too_short"} and not one.detail["input"]:
        return f"is empty; right would be {'a text' if kind.startswith('string') else f'at least one of the {name}'}"
    if kind in {"too_short", "too_long"} and _is_pair(one):
        return f"has {ctx['actual_length']} numbers; right would be two, as [0, 100]"
    if kind in {"too_short", "too_long"}:
        least, most = ctx.get("min_length"), ctx.get("max_length")
        limit = f"at least {least}" if kind == "too_short" else f"at most {most}"
        return f"has {ctx['actual_length']} {name}; right would be {limit}"
    if kind == "string_too_long":
        return f"{given} is too long; right would be at most {ctx['max_length']} characters"
    if kind == "string_too_short":
        return f"{given} is too short; right would be at least {ctx['min_length']} characters"
    if kind == "string_pattern_mismatch":
        return f"{given} does not have the form {ctx['pattern']}"
    return f"{given} does not fit here"


def _from_validator(one: _Found, error: Exception) -> list[Mistake]:
    given = one.detail["input"]
    if isinstance(error, Mistakes):
        return [Mistake((*one.steps, *place), text) for place, text in error.found]
    text, place = str(error), one.steps
    first = re.match(r"(\w+)(:? )", text)
    if first and any(first[1] in m.model_fields for m in one.models):
        place = (*place, first[1])
        rest = text[first.end() :]
        text = rest if first[2] == ": " or rest.startswith(("is ", "has ")) else text
        return [Mistake(place, text)]
    if given is None and text.startswith("is not"):
        return [Mistake(place, f"has no value; right would be {text.rpartition('right would be ')[2]}")]
    known = shown(given, place)
    if text.startswith(("is ", "has ", "does ", "holds ", "contains ")) and not isinstance(given, dict):
        return [Mistake(place, f"{known} {text}", known)]
    return [Mistake(place, text, None if isinstance(given, dict) else known)]
