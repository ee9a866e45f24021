"""Cross-checks run over what is right, and keep silent about what is not known."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import AfterValidator, Field, ValidationError

from schemas.model import Model, Unfit, Unknown, known, partial, together, unfit
from schemas.validation import validate


def _even(given: int) -> int:
    if given % 2:
        raise ValueError("is odd; right would be 2")
    return given


class Leaf(Model):
    low: int
    high: int = 10
    step: Annotated[int, AfterValidator(_even)] = 2

    @together
    def _in_order(self) -> Unfit:
        if self.low > self.high:
            yield ("low",), f"{self.low} is above high, {self.high}; right would be at most that"


class Tree(Model):
    leaves: Annotated[list[Leaf], Field(min_length=1)]
    most: int = 100

    @together
    def _not_too_much(self) -> Unfit:
        for number, high in known(self.leaves, lambda leaf: leaf.high):
            if high > self.most:
                yield ("leaves", number, "high"), f"{high} is above most, {self.most}; right would be less"


def places(data: object) -> list[tuple[str | int, ...]]:
    return [mistake.place for mistake in validate(Tree, data)[1]]


def test_a_validated_model_has_passed_its_cross_checks():
    with pytest.raises(ValidationError, match="is above high"):
        Tree.model_validate({"leaves": [{"low": 11}]})
    made, mistakes = validate(Tree, {"leaves": [{"low": 1}]})
    assert (made, mistakes) == (Tree(leaves=[Leaf(low=1)]), [])


def test_a_check_that_reaches_for_a_wrong_field_ends_without_a_word():
    assert places({"leaves": [{"low": 11, "high": "x"}]}) == [("leaves", 0, "high")]
    assert places({"leaves": [{"low": 11, "step": 3}]}) == [("leaves", 0, "step"), ("leaves", 0, "low")]
    assert places({"leaves": [{"low": 11}, {"high": 200}, "x"], "most": 50}) == [
        ("leaves", 1, "low"), ("leaves", 2), ("leaves", 1, "high"), ("leaves", 0, "low"),
    ]  # fmt: skip
    assert places({"leaves": [{"low": 1, "high": 200}], "most": "x"}) == [("most",)]


def test_a_misspelt_field_is_not_taken_for_one_that_was_left_out():
    """Neither as missing, nor with its default."""
    assert places({"leaves": [{"lowe": 1}]}) == [("leaves", 0, "lowe")]
    assert places({"leaves": [{"low": 11, "hihg": 20}]}) == [("leaves", 0, "hihg")]


def test_a_partial_model_refuses_only_what_is_wrong():
    made = partial(Tree, {"leaves": [{"low": "x", "step": "4"}, 5]}, {("leaves", 0, "low"), ("leaves", 1)})
    assert isinstance(made, Tree)
    assert (made.most, made.leaves[0].high, made.leaves[0].step) == (100, 10, 4)
    with pytest.raises(Unknown):
        _ = made.leaves[0].low
    assert list(known(made.leaves, lambda leaf: leaf.step)) == [(0, 4)]
    assert list(unfit(made)) == []
