"""What every configuration model is: strict, frozen, and with cross-checks that are told even where another field is wrong.

A cross-check is a method marked `@together` that yields the place and the sentence of each thing that does not fit. A validated model has passed all of
them. For a file with mistakes they run once more over what is right of it (`partial`): a field that is wrong is absent there, and a check that
reaches for it ends without a word. So a verdict holds whatever will stand in the wrong field, and no mistake is told as a consequence of another.
Only what one field can know of itself belongs in a validator of that field.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from schemas.mistakes import Mistakes, Where, closest

Unfit = Iterator[tuple[Where, str]]
"""What a cross-check yields: the way from its model to what does not fit, and the whole sentence about it."""
Check = TypeVar("Check", bound=Callable[[Any], Unfit])
T = TypeVar("T")
R = TypeVar("R")


class Unknown(Exception):
    """A field was asked for whose value in the file is wrong."""


class CrossMistakes(Mistakes):
    """What the cross-checks of one model found."""


def together(check: Check) -> Check:
    """Marks a cross-check: a method that yields `Unfit`. One idea each, since it ends at the first field that is wrong."""
    setattr(check, "checks_together", True)  # noqa: B010 - functions declare no attributes
    return check


class Model(BaseModel):
    """Strict: unknown fields are errors, values never change after validation, infinity and NaN are no settings, and no error repeats a secret."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @classmethod
    def spread(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What was written, with what stands there once for several put to each of them."""
        return given

    @model_validator(mode="before")
    @classmethod
    def _spread_out(cls, given: Any) -> Any:
        return cls.spread(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if found := list(_unfit_here(self)):
            raise CrossMistakes(found)
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise Unknown(name)
            return super().__getattr__(name)


def known(items: Iterable[T], read: Callable[[T], R]) -> Iterator[tuple[int, R]]:
    """Number and `read(item)` of each item that is right as far as `read` looks."""
    for number, item in enumerate(items):
        try:
            value = read(item)
        except Unknown:
            continue
        yield number, value


def unfit(model: BaseModel, place: Where = ()) -> Unfit:
    """All that does not fit together in a model and the models inside it."""
    if isinstance(model, Model):
        yield from (((*place, *where), text) for where, text in _unfit_here(model))
    for name, value in vars(model).items():
        inside = enumerate(value) if isinstance(value, list | tuple) else [((), value)]
        for at, one in inside:
            if isinstance(one, BaseModel):
                yield from unfit(one, (*place, name, at) if isinstance(at, int) else (*place, name))


def _unfit_here(model: Model) -> Unfit:
    for name in _checks(type(model)):
        with suppress(Unknown):
            yield from getattr(model, name)()


@functools.cache
def _checks(model: type[Model]) -> tuple[str, ...]:
    """The names of its cross-checks, its bases' first."""
    names = (
        name for of in reversed(model.__mro__) for name, each in vars(of).items() if hasattr(each, "checks_together")
    )
    return tuple(dict.fromkeys(names))


def partial(model: type[BaseModel], data: dict[str, Any], wrong: Collection[Where]) -> BaseModel:
    """What is right of `data`, defaults included; the fields at and around the places in `wrong` are absent as far as they are wrong."""
    given = model.spread(data) if issubclass(model, Model) else data
    values, absent = {}, _misspelt(model, given)
    for name, field in model.model_fields.items():
        if name in given:
            inside = {place[1:] for place in wrong if place[:1] == (name,)}
            try:
                values[name] = _right(_Part.of(model, name), given[name], inside)
            except Unknown:
                absent.add(name)
        elif field.is_required():
            absent.add(name)
    made = model.model_construct(set(given), **values)
    for name in absent:
        made.__dict__.pop(name, None)
    return made


def _misspelt(model: type[BaseModel], given: dict[str, Any]) -> set[str]:
    """The fields that keys which are not known were probably meant to be."""
    fields = model.model_fields
    return {name for key in given if key not in fields for name in closest(str(key), fields) if name not in given}


class _Part:
    """One field, or one item of a field that is a list."""

    def __init__(self, whole: Any, plain: Any) -> None:
        self.sections = sections(plain)
        own = isinstance(plain, type) and issubclass(plain, BaseModel)
        self.adapter: TypeAdapter[Any] = TypeAdapter(whole, config=None if own else ConfigDict(allow_inf_nan=False))
        self.item = _Part(*[get_args(plain)[0]] * 2) if get_origin(plain) is list else None

    @staticmethod
    @functools.cache
    def of(model: type[BaseModel], name: str) -> _Part:
        field = model.model_fields[name]
        return _Part(field.rebuild_annotation(), field.annotation)


def _right(part: _Part, data: Any, wrong: Collection[Where]) -> Any:
    """The value, as far as it is right. Raises Unknown where nothing is."""
    if not wrong:
        with suppress(ValidationError):
            return part.adapter.validate_python(data)
    if part.item is not None and isinstance(data, list):
        return [
            _item(part.item, one, {place[1:] for place in wrong if place[:1] == (n,)}) for n, one in enumerate(data)
        ]
    fitting = _meant_section(part.sections, data)
    if fitting is None or () in wrong:
        raise Unknown
    return partial(fitting, data, wrong)


def _item(part: _Part, data: Any, wrong: Collection[Where]) -> Any:
    """One that is wrong keeps its place: as a section without any field, or as something that is equal to nothing."""
    try:
        return _right(part, data, wrong)
    except Unknown:
        return _blank(part.sections[0]) if part.sections else object()


def _blank(model: type[BaseModel]) -> BaseModel:
    """A section of which nothing is known."""
    made = model.model_construct(set(model.model_fields))
    made.__dict__.clear()
    return made


def _meant_section(models: tuple[type[BaseModel], ...], data: Any) -> type[BaseModel] | None:
    """The one model a section can be of: the only one, or the one whose word it says."""
    if not isinstance(data, dict):
        return None
    fitting = [
        m
        for m in models
        if len(models) == 1 or any(get_args(f.annotation) == (data.get(n),) for n, f in m.model_fields.items())
    ]
    return fitting[0] if len(fitting) == 1 else None


def sections(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The models inside `list[Model]`, `Model | None`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(found for part in get_args(annotation) for found in sections(part))
