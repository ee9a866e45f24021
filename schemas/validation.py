"""One model and what was written for it: the validated value, or every mistake in the words of the plant.

Cross-checks (model.py) are told beside mistakes of single fields. A validator's text follows one rule: it is a sentence without its subject
("is not ...; right would be ..."). One that knows several places raises Mistakes. Files and lines are no business of this module.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from schemas.mistakes import SECRET_KEYS, Mistake, Mistakes, Where, closest, meant, shown, unknown_key
from schemas.model import CrossMistakes, Model, partial, sections, unfit
from schemas.units import as_limit

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
M = TypeVar("M", bound=BaseModel)


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


def validate(model: type[M], data: Any) -> tuple[M | None, list[Mistake]]:
    """The value, or None; and every mistake once."""
    found, made = _switches(model, data), None
    try:
        made = model.model_validate(data)
    except ValidationError as error:
        found += _of_fields(error, model, data)
    if made is not None and not found:
        return made, []
    if isinstance(data, dict):
        found += _together(model, data, {mistake.place for mistake in found})
    return None, found


def _together(model: type[BaseModel], data: dict[str, Any], wrong: set[Where]) -> list[Mistake]:
    """What does not fit together of what is right by itself."""
    given = model.spread(data) if issubclass(model, Model) else data
    return [Mistake(place, text, _shown_at(given, place)) for place, text in unfit(partial(model, data, wrong))]


def _shown_at(data: Any, place: Where) -> str | None:
    for step in place:
        inside = isinstance(data, list) and isinstance(step, int) and step < len(data)
        data = data[step] if inside or (isinstance(data, dict) and step in data) else None
    return None if data is None or isinstance(data, dict) else shown(data, place)


def _of_fields(error: ValidationError, model: type[BaseModel], data: Any) -> list[Mistake]:
    """Every mistake that one field can know of itself."""
    found = [_located(model, data, detail) for detail in error.errors(include_url=False)]
    found = [one for one in found if not isinstance(one.detail.get("ctx", {}).get("error"), CrossMistakes)]
    misspelt = Counter((*one.steps[:-1], name) for one in found for name in _probably(one))
    groups: dict[Where, list[_Found]] = {}
    for one in found:
        deeper = any(len(o.steps) > len(one.steps) and o.steps[: len(one.steps)] == one.steps for o in found)
        named_otherwise = one.detail["type"] == "missing" and misspelt[one.steps] == 1
        if not (one.in_branch and deeper) and not named_otherwise:
            groups.setdefault(one.steps, []).append(one)
    return [mistake for group in groups.values() for mistake in _of_one_place(group)]


def _probably(one: _Found) -> list[str]:
    """The fields that a key which is not known was probably meant to be."""
    return closest(str(one.steps[-1]), _fields(one)) if one.detail["type"] == "extra_forbidden" else []


def _fields(one: _Found) -> list[str]:
    return sorted({name for m in one.holders for name in m.model_fields})


def _switches(model: type[BaseModel], data: Any, place: Where = ()) -> list[Mistake]:
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
                found += _switches(inner, one, (*place, name, *at))
    return found


@functools.cache
def _kind_of(model: type[BaseModel], name: str) -> tuple[bool, type[BaseModel] | None]:
    """Whether a field takes numbers and no switches, and the model of the sections in it."""
    field = model.model_fields.get(name)
    if field is None:
        return False, None
    kinds = set(_kinds(field.annotation))
    return bool(kinds & {int, float}) and bool not in kinds, next(iter(sections(field.annotation)), None)


def _kinds(annotation: Any) -> list[Any]:
    """The plain types inside `list[int]`, `float | None`, `Annotated[...]`."""
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]


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
            models = tuple(
                i for m in models if step in m.model_fields for i in sections(m.model_fields[step].annotation)
            )
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
        fields = [(name, field) for m in one.models[-1:] for name, field in m.model_fields.items()]
        needed = [name for name, field in fields if field.is_required()] or [name for name, _ in fields[:1]]
        return f"a section, as {{{', '.join(f'{name}: ...' for name in needed)}}}"
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
        return [Mistake(place, unknown_key(str(place[-1]), _fields(one)))]
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
        return [_of_tag(one), *_inside_untold(one)]
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


def _inside_untold(one: _Found) -> list[Mistake]:
    """What else is wrong in a section that does not say its kind: by the kind it fits best, if there is one."""
    word, given = one.detail["ctx"]["discriminator"].strip("'"), one.detail["input"]
    kinds = {get_args(m.model_fields[word].annotation)[0]: m for m in one.models if word in m.model_fields}
    if not isinstance(given, dict):
        return []
    found = sorted((validate(model, {**given, word: kind})[1] for kind, model in kinds.items()), key=len)
    if len(found) > 1 and len(found[0]) == len(found[1]):
        return []
    return [Mistake((*one.steps, *m.place), m.message, m.given) for each in found[:1] for m in each]


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
    given, text, place = one.detail["input"], str(error), one.steps
    if isinstance(error, Mistakes):
        return [Mistake((*place, *inside), words, _shown_at(given, inside)) for inside, words in error.found]
    if given is None and text.startswith("is not"):
        return [Mistake(place, f"has no value; right would be {text.rpartition('right would be ')[2]}")]
    known = shown(given, place)
    if text.startswith(("is ", "has ", "does ", "holds ", "contains ", "would ", "of ")) and not isinstance(
        given, dict
    ):
        return [Mistake(place, f"{known} {text}", known)]
    return [Mistake(place, text, None if isinstance(given, dict) else known)]
